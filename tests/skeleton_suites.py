"""Tiny data sets in NW-UCLA's and MSR-Action3D's layouts, and suites of skeleton networks on them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewdistill.benchmark.api import load_suite
from fewdistill.benchmark.data.skeletons.topology import topology
from fewdistill.benchmark.graph.execute import InThisProcess, run
from fewdistill.benchmark.graph.protocol import OpenedSuite, RunOptions
from fewdistill.benchmark.graph.record_index import RowStatus
from fewdistill.benchmark.protocols.episodic.opening import OpenedSkeletons, open_skeletons
from fewdistill.benchmark.protocols.episodic.skeleton_suite import SkeletonEpisodicSuite
from fewdistill.benchmark.protocols.supervised.cells import OpenedSupervised, open_supervised
from fewdistill.benchmark.protocols.supervised.suite import SkeletonSuite
from fewdistill.benchmark.stage import Stage, needed
from fewdistill.benchmark.training import train_stage
from fewdistill.benchmark.training.loop import Plan, fit
from tests.data.skeleton_files import body, write_msr, write_nw_ucla

ACTIONS, SUBJECTS, VIEWS = (1, 2), (1, 2, 3), (1, 2, 3)
SUITE = """
name = "tiny"
protocol = "supervised"
seeds = [0]
streams = ["joint", "bone"]

[students.dke_gcn]
dkd = "teacher"
self = "dke_gcn/dkd"

[students.light_dke_gcn]
assistant = "dke_gcn/dkd"

[ensembles]
two = {joint = 1.0, bone = 0.5}

[data]
layout = "nw_ucla"
root = "data/nw_ucla"
split = "cross_view"
val_subjects = [3]
frames = 6

[recipe]
epochs = 2
warmup = 1
decay = [1]
batch = 4
repeat = 1
lr = 0.05
validate_every = 1

[dkd]
warmup = 2
"""

FEW_SHOT = """
name = "few"
protocol = "episodic"
seeds = [0]

[students.dke_gcn]
dkd = "teacher"

[students.light_dke_gcn]
assistant = "dke_gcn/dkd"

[data]
layout = "msr_action3d"
root = "data/msr_action3d"
classes = {train = ["hammer", "bend"], val = ["jogging", "side kick"], test = ["draw x", "hand clap"]}
frames = 6

[recipe]
epochs = 1
warmup = 0
decay = []
batch = 4
repeat = 1
lr = 0.05

[episodic]
way = 2
shot = 1
query = 2
episodes = 4
accumulate = 2
validate_every = 2

[evaluate]
way = 2
shots = [1, 2]
episodes = 60
val_shot = 1
val_episodes = 20
"""
"""Two classes train, two validate, two are tested."""


def write_clips(root: Path, noise: float = 0.0) -> None:
    """18 clips: two classes, three subjects, three views; a class is a way of moving. noise: in metres, a joint's."""
    skeleton, rng = topology("nw_ucla20"), np.random.default_rng(0)
    for action in ACTIONS:
        for subject in SUBJECTS:
            for view in VIEWS:
                joints = body(skeleton, 7 + subject, seed=action, motion=action) + 0.01 * subject
                joints = joints + noise * rng.standard_normal(joints.shape)
                write_nw_ucla(root, f"a{action:02}_s{subject:02}_e00_v{view:02}", joints, action)


def write_suite(folder: Path, clips: bool = True, text: str = SUITE) -> Path:
    """``tiny.toml`` and, beside it, its clips."""
    folder.mkdir(parents=True, exist_ok=True)
    if clips:
        write_clips(folder / "data" / "nw_ucla")
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def bench_of(
    folder: Path, changes: Sequence[str] = (), runs: str = "runs", save_scores: bool = False
) -> OpenedSupervised:
    """The tiny suite opened."""
    path = folder / "tiny.toml"
    suite = load_suite(
        str(path if path.exists() else write_suite(folder)), (f'data.root="{folder / "data" / "nw_ucla"}"', *changes)
    )
    assert isinstance(suite, SkeletonSuite)
    return open_supervised(suite, RunOptions(folder / runs, folder / "data", "cpu", save_scores=save_scores))


def write_msr_clips(root: Path, noise: float = 0.0) -> None:
    """24 clips of the six classes of the few-shot suite, four subjects each; see ``write_clips``."""
    skeleton, rng = topology("msr20"), np.random.default_rng(0)
    for label, action in enumerate((3, 7, 10, 13, 15, 16)):
        for subject in (1, 2, 3, 4):
            joints = body(skeleton, 7 + subject, seed=action, motion=1 + label) + 0.01 * subject
            joints = joints + noise * rng.standard_normal(joints.shape)
            write_msr(root, f"a{action:02}_s{subject:02}_e01", joints)


def write_few_shot(folder: Path, clips: bool = True) -> Path:
    """``few.toml`` and, beside it, its clips."""
    folder.mkdir(parents=True, exist_ok=True)
    if clips:
        write_msr_clips(folder / "data" / "msr_action3d")
    path = folder / "few.toml"
    path.write_text(FEW_SHOT)
    return path


def arena_of(folder: Path, changes: Sequence[str] = (), runs: str = "runs", cache: str = "data") -> OpenedSkeletons:
    """The few-shot suite opened."""
    path = folder / "few.toml"
    root = f'data.root="{folder / "data" / "msr_action3d"}"'
    suite = load_suite(str(path if path.exists() else write_few_shot(folder)), (root, *changes))
    assert isinstance(suite, SkeletonEpisodicSuite)
    return open_skeletons(suite, RunOptions(folder / runs, folder / cache, "cpu"))


def run_here(opened: OpenedSuite, only: Sequence[str] = (), overwrite: bool = False) -> list[RowStatus]:
    """Run what is missing of a suite in this process."""
    return run(opened, lambda pending: InThisProcess(opened.context), only, overwrite)


def make(stage: Stage) -> None:
    """Run a stage and what it needs in this process, without locks; what a stage raises is the caller's."""
    for missing in needed([stage]):
        assert missing.run is not None
        missing.run(missing)


def make_interrupted(stage: Stage, stops: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """``make`` with an interruption in each training, the n-th of them after stops[n] steps; every step is saved."""
    stopped: set[Path] = set()

    def interrupted(
        module: Any, plan: Plan, checkpoint: Path, device: Any, tick: Callable[[int, int], None], track: Any
    ) -> Any:
        def ticking(done: int, total: int) -> None:
            if checkpoint not in stopped and done == stops[len(stopped)]:
                stopped.add(checkpoint)
                raise KeyboardInterrupt
            tick(done, total)

        return fit(module, replace(plan, save_seconds=0.0), checkpoint, device, ticking, track)

    monkeypatch.setattr(train_stage, "fit", interrupted)
    for number in range(1, len(stops) + 1):
        with pytest.raises(KeyboardInterrupt):
            make(stage)
        assert len(stopped) == number, "each training is interrupted once"
    make(stage)
