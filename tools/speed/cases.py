"""What a speed case is, how a side is timed, and the sizes at which cases run."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.students.registry import Registry


@dataclass(frozen=True)
class Sizes:
    """The sizes of all cases. The defaults are those of the published episodes: 8 frames of 224 pixels, width 2048."""

    way: int = 5
    shot: int = 5
    query: int = 4
    frames: int = 8
    image_size: int = 224
    resize: int = 256
    width: int = 2048
    head_width: int = 1152
    batch_frames: int = 240
    test_classes: int = 21
    test_videos: int = 2745
    episodes: int = 10_000
    plain_episodes: int = 20
    train_videos: int = 77_500
    train_classes: int = 126
    cached_videos: int = 1_000
    filmed: int = 84
    packed_videos: int = 300
    derived_videos: int = 800
    skeleton_clips: int = 16
    repeats: int = 7
    seconds: float = 4.0


QUICK = Sizes(
    way=3, shot=2, query=1, frames=4, image_size=32, resize=40, width=64, head_width=32, batch_frames=24,
    test_classes=4, test_videos=16, episodes=20, plain_episodes=2, train_videos=500, train_classes=10,
    cached_videos=60, filmed=8, packed_videos=8, derived_videos=8, skeleton_clips=2, repeats=2, seconds=0.05,
)  # fmt: skip
"""Sizes that only show that every case runs."""


@dataclass(frozen=True)
class Bench:
    """Where a side works and at which sizes. folder: its data, written once and shared by the sides."""

    sizes: Sizes
    folder: Path


@dataclass(frozen=True)
class Sample:
    """What a side measured.

    seconds: of one unit of work, each repetition. items: how many ``unit`` of the case one repetition is. memory_mib:
    peak above the start of the work. values: numbers that both sides must agree on. note: what to know about it.
    load: of the machine, as the side began.
    """

    seconds: tuple[float, ...]
    items: float = 1.0
    memory_mib: float | None = None
    values: NDArray[np.float32] | None = None
    note: str = ""
    load: float = 0.0

    @property
    def rate(self) -> float:
        """Items a second, at the median repetition."""
        return self.items / statistics.median(self.seconds)

    def then(self, later: "Sample") -> "Sample":
        """Both rounds of a side as one: all repetitions, the larger memory, the rest as it was first."""
        memory = None if self.memory_mib is None else max(self.memory_mib, later.memory_mib or 0)
        return replace(self, seconds=self.seconds + later.seconds, memory_mib=memory)


Side = Callable[[Bench], Sample]


@dataclass(frozen=True)
class Case:
    """One comparison: sides by name, each against ``against``.

    unit: what is counted. aims: the ratio aimed at, by side. least_gflop: the work of the smallest exact form, for the
    distance to the machine's GEMM speed. memory_aim: share of the memory of ``against``; memory_limit_mib: the most a
    side may take. tolerance: relative, of ``values`` between sides. rounds: how often the sides are timed in turn, a
    share of the repetitions each, so that a machine that is slower for a minute is slower for all of them.
    """

    unit: str
    sides: Mapping[str, Side]
    against: str = "plain"
    aims: Mapping[str, float] = field(default_factory=dict)
    least_gflop: float | None = None
    memory_aim: float | None = None
    memory_limit_mib: float | None = None
    tolerance: float = 1e-5
    rounds: int = 3


CASES: Registry[Case] = Registry("speed case")


def timed(sizes: Sizes, work: Callable[[], object], warm: bool = False) -> tuple[float, ...]:
    """Wall seconds of each repetition of ``work``, until the sizes' repeats and seconds are full.

    A first one that warms up does not count, unless everything is ``warm`` already.
    """
    if not warm:
        work()
    found: list[float] = []
    while len(found) < sizes.repeats or sum(found) < sizes.seconds:
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return tuple(found)
