"""Tiny suites of every protocol for runs by several processes, and what came of a run."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewdistill.benchmark.api import load_suite, open_loaded
from fewdistill.benchmark.graph.protocol import OpenedSuite, RunOptions
from fewdistill.benchmark.runtime.process_group import Group
from fewdistill.results.records.store import RecordStore
from tests.command import PICO
from tests.skeleton_suites import FEW_SHOT, write_clips, write_msr_clips
from tests.skeleton_suites import SUITE as TINY

SUITE = """
name = "small"
plugins = ["PICO"]
seeds = [0]
students = ["pico"]
distillation = ["none", "d2m"]
width = 16

[data]
clips_per_class = 4
train_classes = 4
val_classes = 3
test_classes = 3
frames = 2
image_size = 32

[head]
width = 8

[teacher]
modalities = ["rgb"]
encoder = "pico"
base = {epochs = 1, batch = 8, lr = 1e-4}
episodic = {way = 3, shot = 1, query = 1, episodes = 8, accumulate = 4, validate_every = 4, lr = 1e-6}
fusion = {way = 3, shot = 1, query = 1, episodes = 40, accumulate = 4, layers = 1, feedforward = 8, validate_every = 20}

[base]
epochs = 2
batch = 8
lr = 1e-4

[episodic]
way = 3
shot = 2
query = 1
adapt_episodes = 4
episodes = 24
accumulate = 4
validate_every = 8

[evaluate]
way = 3
shots = [1]
episodes = 100
val_shot = 2
val_episodes = 50
""".replace("PICO", str(PICO))
STUDENT = "pico"


@dataclass(frozen=True)
class Case:
    """A tiny suite in a file of its own, whose data are beside it.

    row: one that needs most of it; trainings: that it needs; first: title of a stage among them; shared: kinds of
    stages that a killed run had finished; killed: folders of the stages in which a worker dies; undivided: settings
    that two processes cannot divide, and how the error names them.
    """

    name: str
    text: str
    row: str
    trainings: int
    first: str
    shared: tuple[str, ...]
    killed: str
    undivided: dict[str, str]

    @property
    def file(self) -> str:
        return f"{self.name}.toml"

    def write(self, cwd: Path) -> None:
        """The suite's file, and its clips where it does not make them itself."""
        (cwd / self.file).write_text(self.text)
        if self.name == "few":
            write_msr_clips(cwd / "data" / "msr_action3d", NOISE)
        elif self.name == "tiny":
            write_clips(cwd / "data" / "nw_ucla", NOISE)

    def runs(self, cwd: Path) -> Path:
        return cwd / "runs" / self.name


FEW = FEW_SHOT.replace("lr = 0.05", "lr = 1e-5").replace("[episodic]", "[episodic]\nlr = 1e-6")
SUPERVISED = TINY.partition("[ensembles]")[0] + "[data]" + TINY.partition("[data]")[2]
SUPERVISED = SUPERVISED.replace('["joint", "bone"]', '["joint"]').replace("lr = 0.05", "lr = 1e-7")
"""One stream, no sum. Steps are short: rounding errors turn units at their kinks, and what that does grows with them;
tests/test_process_group.py compares gradients in float64.
"""
NOISE = 0.1
"""Of the joints: batch norm magnifies the rounding errors of clips that are all alike."""
CASES = (
    Case(
        "small", SUITE, f"{STUDENT}/d2m/s0", 6, "encoder rgb-s0", ("encoder", "fusion"), "student-*",
        {"episodic.accumulate=3": "episodic.accumulate = 3", "base.batch=5": "base.batch = 5"},
    ),
    Case(
        "few", FEW, "light_dke_gcn/assistant/s0", 6, "skeleton-base dke_gcn-joint-s0", (), "skeleton-episodes-*",
        {"episodic.accumulate=3": "episodic.accumulate = 3", "recipe.batch=3": "recipe.batch = 3"},
    ),
    Case(
        "tiny", SUPERVISED, "light_dke_gcn-joint/assistant/s0", 3, "skeleton ctr_gcn-joint-teacher-s0", (), "-",
        {"recipe.batch=3": "recipe.batch = 3"},
    ),
)  # fmt: skip


def open_suite(case: Case, cwd: Path, *changes: str, group: Group | None = None) -> OpenedSuite:
    root = [f'data.root="{found}"' for found in (cwd / "data").glob("*") if found.name in ("nw_ucla", "msr_action3d")]
    suite = load_suite(str(cwd / case.file), (*root, *changes))
    return open_loaded(suite, RunOptions(cwd / "runs", cwd / "data", "cpu", group=group))


def stages(runs: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in runs.glob("stages/*/done.json")}


def weights(runs: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in runs.glob("stages/*/weights.safetensors")}


def outcome(runs: Path) -> dict[str, tuple[float, bytes]]:
    """Accuracy and per-query correctness of every record, by key."""
    store = RecordStore(runs / "records")
    return {r.key: (r.metrics.accuracy, store.arrays(r.key)["correct"].tobytes()) for r in store.all() if r.metrics}


def until(happened: Callable[[], Any], *processes: subprocess.Popen[str]) -> Any:
    """What ``happened`` gives as soon as it gives something; the processes must not end before."""
    deadline = time.monotonic() + 240
    while not (found := happened()):
        for process in processes:
            assert process.poll() is None, f"ended too early: {process.communicate()[1]}"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return found
