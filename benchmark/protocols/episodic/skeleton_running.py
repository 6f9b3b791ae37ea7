"""A suite of episodes on skeleton clips opened, and the rules by which it is run; see ``benchmark.skeletons.rules``."""

from collections.abc import Sequence
from pathlib import Path

import torch

from fewdistill.benchmark.graph.rules import Rules
from fewdistill.benchmark.graph.runner import device_named
from fewdistill.benchmark.protocols.episodic.arena import Arena, read_material
from fewdistill.benchmark.protocols.episodic.skeleton_rows import cell_of, lessons, record_identity
from fewdistill.benchmark.protocols.episodic.skeleton_scoring import work
from fewdistill.benchmark.protocols.episodic.skeleton_stages import Lesson, identity
from fewdistill.benchmark.protocols.episodic.skeleton_suite import FewShotSuite
from fewdistill.benchmark.protocols.supervised.precision import settled
from fewdistill.benchmark.tracking import Trackers

EPISODES: Rules[Arena, Lesson] = Rules(
    rows=lessons,
    shots=lambda arena: arena.suite.evaluate.shots,
    trained=identity,
    identity=record_identity,
    cell=cell_of,
    work=work,
)


def open_arena(suite: FewShotSuite, runs: Path, data: Path, device: str = "auto", track: Sequence[str] = ()) -> Arena:
    """The suite's clips, read and divided, and its run folder below ``runs``; caches are below ``data``.

    device: auto, cpu or cuda. UserError for what does not fit the data, DataError with what to download where there
    are none.
    """
    trackers, on = Trackers(track), torch.device(device_named(device))
    arena = Arena(suite, read_material(suite), runs / suite.name, data / "cache", on, trackers=trackers)
    for _, version in suite.versions():
        stages = {"episodic": version.episodic, "teacher_episodic": version.teacher_episodic}
        arena.check_sizes(
            (where, stage.way, stage.shot + stage.query) for where, stage in stages.items() if stage.episodes
        )
    return settled(arena, suite.stream) if suite.bf16 == "auto" else arena
