"""The networks of the TinyNet family, against the figures of the paper and timm's layout."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.core.errors import UsageError
from edgeml.models.complexity import count
from edgeml.models.tinynet.blocks import DropPath
from edgeml.models.tinynet.config import TinyNetConfig, round_channels
from edgeml.models.tinynet.cost import stage_costs
from edgeml.models.tinynet.family import CONFIGS
from edgeml.models.tinynet.network import TinyNet

pytestmark = pytest.mark.torch

# Parameters and the paper's MACs; (repeats, channels) a stage.
PUBLISHED = {
    "tinynet-a": (6_187_972, 339e6, [(1, 16), (2, 24), (2, 40), (4, 80), (4, 112), (5, 192), (1, 320)]),
    "tinynet-b": (3_730_562, 202e6, [(1, 16), (2, 24), (2, 32), (3, 64), (3, 88), (4, 144), (1, 240)]),
    "tinynet-c": (2_457_234, 100e6, [(1, 8), (2, 16), (2, 24), (3, 40), (3, 64), (3, 104), (1, 176)]),
    "tinynet-d": (2_338_446, 52e6, [(1, 8), (1, 16), (1, 24), (2, 40), (2, 64), (3, 104), (1, 176)]),
    "tinynet-e": (2_042_972, 24.4e6, [(1, 8), (1, 16), (1, 24), (2, 40), (2, 56), (2, 96), (1, 160)]),
    "efficientnet-b0": (5_288_548, 385.8e6, [(1, 16), (2, 24), (2, 40), (3, 80), (3, 112), (4, 192), (1, 320)]),
}


def build(config: TinyNetConfig, **task: int) -> TinyNet:
    with torch.device("meta"):
        return TinyNet(config, **task)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_macs_and_stages_are_the_published_ones(name: str) -> None:
    params, macs, stages = PUBLISHED[name]
    config = CONFIGS[name]
    complexity = count(build(config), (3, config.resolution, config.resolution))
    assert complexity.params == params
    assert complexity.macs == pytest.approx(macs, rel=0.01)
    assert [(stage.repeats, stage.channels) for stage in config.stages] == stages
    assert config.head_channels == 1280


configs = st.builds(
    TinyNetConfig,
    resolution=st.integers(16, 256),
    width=st.floats(0.1, 2).map(lambda value: round(value, 3)),
    depth=st.floats(0.1, 2),
    small=st.booleans(),
)


@settings(deadline=None)  # a busy machine is no failure
@given(configs)
def test_a_name_and_its_configuration_are_inverses(config: TinyNetConfig) -> None:
    assert TinyNetConfig.parse(str(config)) == config


@pytest.mark.parametrize("name", ["tinynet-r28-w0.35-d0.5-small", "tinynet-r224-w1-d1"])
def test_a_name_is_written_as_it_was_read(name: str) -> None:
    assert str(TinyNetConfig.parse(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "tinynet-r28-w0.35",
        "tinynet-r28-w0.35-d0.5-tiny",
        "tinynet-r-w1-d1",
        "tinynet-r28-w1e9-d1",
        "tinynet-r28-wnan-d1",
    ],
)
def test_a_name_of_another_form_is_refused_with_the_form(name: str) -> None:
    with pytest.raises(UsageError, match="tinynet-rPIXELS-wWIDTH-dDEPTH"):
        TinyNetConfig.parse(name)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("tinynet-r4-w1-d1", "resolution 4 "),
        ("tinynet-r99999-w1-d1", "resolution 99999 "),
        ("tinynet-r28-w0-d1", "width 0"),
        ("tinynet-r28-w1-d99", "depth 99"),
    ],
)
def test_a_number_out_of_range_is_refused_with_the_range(name: str, word: str) -> None:
    with pytest.raises(UsageError, match=rf"{word}.*allowed: .* to "):
        TinyNetConfig.parse(name)


@pytest.mark.parametrize("resolution", [28, 32, 48, 64])
def test_the_small_form_ends_with_a_sixteenth_of_the_image(resolution: int) -> None:
    config = CONFIGS["tinynet-e"].at_resolution(resolution)
    assert config.small
    seen: list[torch.Size] = []
    network = build(config, classes=10, in_channels=1)
    network.conv_head.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    network(torch.empty(1, 1, resolution, resolution, device="meta"))
    assert seen[0][2] >= resolution / 16 > 1


def test_both_forms_have_the_same_weights() -> None:
    large = build(TinyNetConfig(64, 0.5, 0.6))
    small = build(TinyNetConfig(64, 0.5, 0.6, small=True))
    assert {name: value.shape for name, value in large.state_dict().items()} == {
        name: value.shape for name, value in small.state_dict().items()
    }


def test_a_network_is_not_changed_by_naming_its_own_resolution() -> None:
    explicit = TinyNetConfig.parse("tinynet-r64-w0.5-d0.6")
    assert explicit.at_resolution(64) == explicit
    assert not explicit.at_resolution(128).small


@pytest.mark.parametrize("channels", [1, 8, 8.64, 20.4, 43.2, 60.48, 99.99, 172.8, 1000.5])
def test_channels_are_multiples_of_eight_and_lose_at_most_a_tenth(channels: float) -> None:
    rounded = round_channels(channels)
    assert rounded % 8 == 0
    assert rounded >= max(8, 0.9 * channels)


@pytest.mark.parametrize("name", ["tinynet-r61-w0.47-d1.3", "tinynet-r28-w0.35-d0.5-small", "tinynet-r111-w1.7-d0.2"])
def test_the_table_of_stages_adds_up_to_what_the_counter_finds(name: str) -> None:
    config = TinyNetConfig.parse(name)
    lines = stage_costs(config, classes=37, in_channels=2)
    complexity = count(build(config, classes=37, in_channels=2), (2, config.resolution, config.resolution))
    assert sum(line.params for line in lines) == complexity.params
    assert sum(line.macs for line in lines) == complexity.macs


def test_a_fresh_network_keeps_the_scale_of_its_signal() -> None:
    torch.manual_seed(0)
    network = TinyNet(TinyNetConfig.parse("tinynet-r64-w0.5-d0.6"), classes=10)
    with torch.no_grad():
        logits = network(torch.randn(16, 3, 64, 64))
    assert torch.isfinite(logits).all()
    assert 0.01 < float(logits.std()) < 2


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small tensors on one thread: on a busy machine, threads that wait for each other take minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_a_small_network_learns_to_tell_two_patterns() -> None:
    torch.manual_seed(0)
    network = TinyNet(TinyNetConfig.parse("tinynet-r28-w0.1-d0.1-small"), classes=2, in_channels=1)
    labels = torch.arange(32) % 2
    images = torch.randn(32, 1, 28, 28) * 0.3
    images[labels == 1, :, ::2] += 1  # stripes across
    images[labels == 0, :, :, ::2] += 1  # stripes down
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.item() < 0.1


def test_dropped_paths_leave_the_mean_and_evaluation_alone() -> None:
    torch.manual_seed(0)
    path = DropPath(0.25)
    kept = path(torch.ones(4000, 1, 1, 1))
    assert float(kept.mean()) == pytest.approx(1, abs=0.05)
    assert float(kept.max()) == pytest.approx(1 / 0.75)
    path.eval()
    assert float(path(torch.ones(8, 1, 1, 1)).min()) == 1


def test_regularization_is_set_for_the_classifier_and_rises_along_the_blocks() -> None:
    network = build(CONFIGS["tinynet-e"])
    network.regularize(dropout=0.2, drop_path=0.1)
    rates = [module.rate for module in network.modules() if isinstance(module, DropPath)]
    assert network.dropout.p == 0.2
    assert rates == sorted(rates)
    assert rates[0] == 0
    assert 0 < rates[-1] < 0.1
    with pytest.raises(UsageError, match=r"dropout 1\.0"):
        network.regularize(dropout=1.0)
