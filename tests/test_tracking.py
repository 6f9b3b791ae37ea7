"""Trackers: what the real libraries hold after a run, after an interruption, and what a broken one does to a run."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from wandb.proto.wandb_internal_pb2 import Record as Saved

from fewdistill.benchmark.cli.list import LISTED
from fewdistill.benchmark.graph.watch import track_row
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.suite.registry import CATALOGUES
from fewdistill.benchmark.suite.sections import TrainConfig
from fewdistill.benchmark.tracking import TRACKERS, Run, Tracker, Trackers, guard
from fewdistill.benchmark.training.loop import Plan, TrainState, fit
from fewdistill.benchmark.training.watch import Curve
from fewdistill.results.records.record import Record, key_of
from fewdistill.results.records.store import RecordStore
from fewdistill.students.registry import UnknownNameError
from tests.command import COMMAND, PICO, environment
from tests.curves import Points, drawn, in_float32, scalars
from tests.skeleton_suites import run_here
from tests.video_suites import opened

SUITE = """
name = "watched"
plugins = ["PICO"]
seeds = [0]
students = ["pico"]
distillation = ["none"]
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
episodic = {way = 3, shot = 1, query = 1}
fusion = {way = 3, shot = 1, query = 1}

[base]
epochs = 2
batch = 8

[episodic]
way = 3
shot = 2
query = 1
adapt_episodes = 4
episodes = 6
validate_every = 3

[evaluate]
way = 3
shots = [1]
episodes = 100
val_shot = 2
val_episodes = 50
""".replace("PICO", str(PICO))
ROW = "pico/none/s0"
BROKEN = """
import time
from fewdistill.benchmark.tracking import TRACKERS, Tracker

def broken(name, where, act):
    calls = {call: (lambda *_: None) for call in ("open", "log", "close")} | {where: act}
    TRACKERS.register(name)(type(name, (Tracker,), calls))

def fail(*_):
    raise ConnectionError("no such\\nhost")

def leave(*_):
    raise SystemExit

for where in ("open", "log", "close"):
    broken(f"fails_at_{where}", where, fail)
broken("leaves", "log", leave)
broken("sleeps", "open", lambda *_: time.sleep(3600))
"""
BROKEN_NAMES = ["fails_at_open", "fails_at_log", "fails_at_close", "leaves"]
# the command, but with less patience
IMPATIENT = """
from fewdistill.benchmark.tracking import guard
guard.PATIENCE_S = 0.2
from fewdistill.benchmark.cli.main import main
main()
"""


@dataclass(frozen=True)
class Runs:
    """The row once without a tracker, and once with all there are and all that are broken; what the second said."""

    plain: Path
    tracked: Path
    said: str

    def stages(self) -> dict[str, dict[str, Any]]:
        """What the tracked run's stages stored, by folder."""
        return {p.parent.name: json.loads(p.read_text()) for p in (self.tracked / "stages").glob("*/done.json")}


def tracked(command: list[str | Path], cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The row, with the broken trackers installed; a process that a thread kept alive would run into the time limit."""
    path = os.pathsep.join([str(cwd / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [*command, "run", "watched.toml", "--no-report", "--only", ROW, *options],
        cwd=cwd, capture_output=True, text=True,
        env=environment() | {"WANDB_MODE": "offline", "PYTHONPATH": path}, timeout=200,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    cwd = tmp_path_factory.mktemp("tracked")
    (cwd / "watched.toml").write_text(SUITE)
    run_here(opened(cwd / "watched.toml", runs="plain"), [ROW])
    info = cwd / "site" / "broken_trackers-1.0.dist-info"
    info.mkdir(parents=True)
    (cwd / "site" / "broken_trackers.py").write_text(BROKEN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-trackers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fewdistill.plugins]\nbroken = broken_trackers\n")
    options = [option for name in ["tensorboard", "wandb", "mlflow", *BROKEN_NAMES] for option in ("--track", name)]
    ended = tracked([COMMAND], cwd, *options)
    assert ended.returncode == 0, ended.stderr
    return Runs(cwd / "plain" / "watched", cwd / "runs" / "watched", ended.stderr)


def saved(file: Path) -> Iterator[Saved]:
    """What W&B saved in a file: messages in a log of LevelDB's form, blocks of 32 KiB after a header of 7 bytes."""
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Saved.FromString(whole)
            whole = b""


def history(file: Path) -> Points:
    """(step, value) by name of the points that W&B saved."""
    found: Points = {}
    for record in saved(file):
        if record.WhichOneof("record_type") == "history":
            values = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
            }
            for name, value in values.items():
                if not name.startswith("_"):
                    found.setdefault(name, []).append((values["_step"], value))
    return found


def curves(runs: Runs) -> dict[str, Points]:
    """The curves of the tracked run's trainings, by the name they are tracked under."""
    found = {}
    for name, stage in runs.stages().items():
        parts = {"base": "curve"} if name.startswith("base") else {"adapt": "base_curve", "episodic": "curve"}
        found |= {f"{name}/{part}": drawn(stage[curve]) for part, curve in parts.items()}
    assert len(found) == 3 and all(points["train/loss"] for points in found.values())
    return found


def the_record(runs: Runs) -> Record:
    [record] = RecordStore(runs.tracked / "records").all()
    return record


@pytest.mark.slow
def test_no_result_depends_on_a_tracker(runs: Runs) -> None:
    plain, tracked = RecordStore(runs.plain / "records"), RecordStore(runs.tracked / "records")
    measured = {"provenance": True, "cost": {"latency_ms_p50", "latency_load", "peak_memory_mib", "training_seconds"}}
    assert len(plain.all()) == 1
    for record in plain.all():
        other = tracked.read(record.key)
        assert other.model_dump_json(exclude=measured) == record.model_dump_json(exclude=measured)
        assert "track" not in json.dumps(other.identity)
        for name, array in plain.arrays(record.key).items():
            assert tracked.arrays(record.key)[name].tobytes() == array.tobytes()
    stored = {p.parent.name: p.read_bytes() for p in (runs.plain / "stages").glob("*/weights.safetensors")}
    assert len(stored) == 2
    assert {p.parent.name: p.read_bytes() for p in (runs.tracked / "stages").glob("*/weights.safetensors")} == stored


@pytest.mark.slow
def test_a_broken_tracker_is_told_of_and_the_run_goes_on(runs: Runs) -> None:
    [student] = [name for name in runs.stages() if name.startswith("student")]
    for where in ("open", "log", "close"):
        line = f"[fails_at_{where}: ConnectionError: no such host; {student}/episodic goes on without it]"
        assert runs.said.splitlines().count(line) == 1
    assert runs.said.count("[leaves: SystemExit: no reason given; ") == 3  # base, adapt, episodes; the row has no step
    assert "Traceback" not in runs.said


@pytest.mark.slow
def test_a_run_ends_although_its_tracker_sleeps(runs: Runs) -> None:
    before = the_record(runs)
    ended = tracked([sys.executable, "-c", IMPATIENT], runs.tracked.parents[1], "--overwrite", "--track", "sleeps")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("[sleeps does not answer for 0.2 s: this process goes on without it]") == 1
    assert the_record(runs).metrics == before.metrics and the_record(runs).provenance != before.provenance


@pytest.mark.slow
def test_tensorboard_shows_the_curve_and_the_record(runs: Runs) -> None:
    folder = runs.tracked / "tracking" / "tensorboard"
    for name, curve in curves(runs).items():
        shown = scalars(folder / name)
        assert {tag for tag in shown if tag.startswith("train/")} == {*curve, "train/lr"} - {"val/accuracy"}
        assert {tag: shown[tag] for tag in curve} == in_float32(curve)
        assert all(value > 0 for _, value in shown["train/lr"])
        [speed] = [points for tag, points in shown.items() if tag.startswith("speed/")]
        assert len(speed) == len(shown["train/loss"]) and all(value > 0 for _, value in speed)
    [row] = folder.glob("row-*")
    shown, record = scalars(row), the_record(runs)
    assert record.metrics is not None and record.cost is not None
    for name in ("accuracy", "closed_low", "closed_high", "nll"):
        assert shown[f"test/1-shot/{name}"] == [(0, np.float32(getattr(record.metrics, name)))]
    assert shown["cost/1-shot/parameters"] == [(0, record.cost.parameters)]
    parameters = EventAccumulator(str(row)).Reload().SummaryMetadata("_hparams_/session_start_info")
    assert b"trained.episodic.lr" in parameters.plugin_data.content
    assert b"pico" in parameters.plugin_data.content


@pytest.mark.slow
def test_wandb_saves_the_curve_and_the_record(runs: Runs) -> None:
    found = {}
    for file in (runs.tracked / "tracking" / "wandb").glob("offline-run-*/*.wandb"):
        records = list(saved(file))
        [about] = [r.run for r in records if r.WhichOneof("record_type") == "run"][:1]
        assert about.run_group == "watched" and about.project == "fewdistill" and file.stem == f"run-{about.run_id}"
        config = {item.key: json.loads(item.value_json) for item in about.config.update}
        found[about.display_name] = (file, config)
    for name, curve in curves(runs).items():
        file, config = found.pop(name)
        assert {tag: points for tag, points in history(file).items() if tag in curve} == curve
        identity = runs.stages()[name.split("/")[0]]["identity"]
        assert {key: config[key] for key in identity} == identity
    [(name, (file, config))] = found.items()
    assert name.startswith("row-pico-none-s0-") and config["model"] == "pico"
    summary: dict[str, Any] = {}
    for record in saved(file):
        if record.WhichOneof("record_type") == "summary":
            summary |= {item.key: json.loads(item.value_json) for item in record.summary.update}
    scored = the_record(runs)
    assert scored.metrics is not None and summary["status"] == "done"
    assert summary["test/1-shot/accuracy"] == scored.metrics.accuracy
    assert summary["record/1-shot"] == scored.key


@pytest.mark.slow
def test_mlflow_holds_the_curve_and_the_record(runs: Runs) -> None:
    client = MlflowClient(f"sqlite:///{runs.tracked / 'tracking' / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("watched")
    assert experiment is not None
    found = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    for name, curve in curves(runs).items():
        tracked = found.pop(name)
        assert tracked.info.status == "FINISHED"
        for tag, points in curve.items():
            assert sorted((m.step, m.value) for m in client.get_metric_history(tracked.info.run_id, tag)) == points
    [(_, row)] = found.items()
    record = the_record(runs)
    assert record.metrics is not None
    assert row.data.metrics["test/1-shot/closed_high"] == record.metrics.closed_high
    assert row.data.params["trained.episodic.validate_every"] == "3" and row.data.params["dataset"] == "embedded"
    assert row.data.tags["record/1-shot"] == record.key


class Stop(Exception):
    pass


def a_training(tmp_path: Path, names: list[str], stop: int = 0) -> tuple[Run, list[dict[str, float]]]:
    """A training of 12 steps that is tracked, broken off after a step, or not; its run, and its curve if it ended."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Linear(4, 2)

    def loss(step: int, micro: int) -> dict[str, torch.Tensor]:
        return {"loss": net(torch.randn(8, 4)).square().mean()}

    def tick(done: int, total: int) -> None:
        if done == stop:
            raise Stop

    plan = Plan(
        TrainConfig(lr=0.01), 12, 3, "net", loss, validate=lambda: float(net.weight.detach().square().mean()),
        validate_every=4, save_seconds=0,
    )  # fmt: skip
    watched = Run(key_of({"net": 1}), "net/one", "tests", "student", {"lr": 0.01, "none": None}, tmp_path / "tracking")
    curve = []
    with Trackers(names).follow(watched) as followed:
        curve = fit(
            net, plan, tmp_path / "net.pt", torch.device("cpu"), tick, Curve(followed, plan, {"clips": 8})
        ).curve
    return watched, curve


@pytest.mark.slow
def test_an_interrupted_training_goes_on_with_the_same_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    names = ["tensorboard", "wandb", "mlflow"]
    for stop in (5, 9):
        with pytest.raises(Stop):
            a_training(tmp_path, names, stop)
    client = MlflowClient(f"sqlite:///{tmp_path / 'tracking' / 'mlflow' / 'mlflow.db'}")
    [experiment] = [e.experiment_id for e in client.search_experiments() if e.name == "tests"]
    [broken_off] = client.search_runs([experiment])
    assert broken_off.info.status == "FAILED"
    watched, curve = a_training(tmp_path, names)
    assert len(curve) == 12 + 4
    a_training(tmp_path, names)  # what was trained, but not finished: there is no step to follow
    expected = drawn(curve)
    assert {tag: scalars(watched.folder / "tensorboard" / watched.name)[tag] for tag in expected} == in_float32(
        expected
    )
    [kept] = (watched.folder / "wandb").glob("offline-run-*/*.wandb")
    assert {tag: points for tag, points in history(kept).items() if tag in expected} == expected
    [tracked] = client.search_runs([experiment])
    assert tracked.info.status == "FINISHED"
    for tag, points in expected.items():
        assert sorted((m.step, m.value) for m in client.get_metric_history(tracked.info.run_id, tag)) == points


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, list[Any]]:
    """A tracker "held" that waits for the event; the steps that it got, and the end."""
    release, got = threading.Event(), list[Any]()

    class Held(Tracker):
        def open(self, run: Run) -> None:
            release.wait(60)

        def log(self, step: int, values: Mapping[str, float]) -> None:
            got.append(step)

        def close(self, status: str, summary: Mapping[str, object]) -> None:
            got.append((status, dict(summary)))

    monkeypatch.setattr(TRACKERS, "_entries", {**TRACKERS._entries, "held": Held})
    return release, got


def test_points_that_nobody_takes_are_dropped_and_told_of_once(
    tmp_path: Path, held: tuple[threading.Event, list[Any]], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    release, got = held
    monkeypatch.setattr(guard, "_WAITING", 10)
    with Trackers(["held"]).follow(Run("k", "slow", "tests", "base", {}, tmp_path)) as followed:
        for step in range(20):
            followed.log(step, {"train/loss": 0.0})
        release.set()
    assert got == [*range(10), ("done", {})]
    assert capsys.readouterr().err.count("points are left out from step 10 on") == 1


def test_a_long_training_is_thinned(tmp_path: Path, held: tuple[threading.Event, list[Any]]) -> None:
    release, got = held
    release.set()
    plan = Plan(TrainConfig(lr=0.01), 3001, 3, "long", lambda step, micro: {}, validate_every=7)
    state = TrainState(best_score=0.5)
    with Trackers(["held"]).follow(Run("k", "long", "tests", "base", {}, tmp_path)) as followed:
        track = Curve(followed, plan, {})
        for step in range(1, plan.steps + 1):
            state.step = step
            state.curve.append({"step": step, "loss": 1.0})
            if step % plan.validate_every == 0:
                state.curve.append({"step": step, "val_accuracy": 0.5})
            track(state)
    losses, validations = range(3, 3001, 3), range(7, 3001, 7)
    assert got[:-1] == sorted([*losses, *validations, 3001])
    assert got[-1][0] == "done" and got[-1][1]["steps"] == 3001 and got[-1][1]["val/best_accuracy"] == 0.5


@pytest.mark.slow
def test_a_row_that_failed_is_tracked_as_failed(runs: Runs, held: tuple[threading.Event, list[Any]]) -> None:
    release, got = held
    release.set()
    cwd = runs.plain.parents[1]
    suite = opened(cwd / "watched.toml", runs="plain", track=("held",))
    track_row(suite.context, suite.rows()[1], [], "no memory")
    with pytest.raises(Stop), suite.context.trackers.follow(Run("k", "broken off", "watched", "base", {}, cwd)):
        raise Stop("no space")
    assert got == [("failed", {"reason": "no memory"}), ("failed", {"reason": "no space"})]


def test_a_tracker_that_hangs_is_waited_for_once(
    tmp_path: Path, held: tuple[threading.Event, list[Any]], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    release, got = held
    monkeypatch.setattr(guard, "PATIENCE_S", 0.2)
    trackers, started = Trackers(["held"]), time.monotonic()
    for _ in range(50):
        with trackers.follow(Run("k", "hung", "tests", "base", {}, tmp_path)) as followed:
            followed.log(1, {"train/loss": 0.0})
    assert time.monotonic() - started < 5 and got == []
    assert capsys.readouterr().err.count("held does not answer for 0.2 s") == 1
    release.set()


@pytest.mark.slow
def test_a_tracker_that_cannot_be_used_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "watched.toml"
    path.write_text(SUITE)
    for name in ("wandb", "mlflow"):
        with monkeypatch.context() as absent:
            absent.setitem(sys.modules, name, None)
            with pytest.raises(UserError, match=rf"^--track {name} needs {name}: pip install 'fewdistill\[{name}\]'$"):
                opened(path, track=("tensorboard", name))
    with pytest.raises(UnknownNameError, match="unknown tracker 'tensorbord': did you mean tensorboard"):
        opened(path, track=("tensorbord",))
    keyless = {"WANDB_MODE": "online", "HOME": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path)}
    code = "from fewdistill.benchmark.tracking import Trackers; Trackers(['wandb'])"
    asked = {name: value for name, value in environment().items() if name not in ("WANDB_API_KEY", "NETRC")}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=asked | keyless, cwd=tmp_path, capture_output=True, text=True
    )
    assert "UserError: --track wandb has no key here: run `wandb login`" in ended.stderr
    assert not (tmp_path / "runs").exists() and not (tmp_path / "data").exists()


def test_trackers_are_listed() -> None:
    assert list(CATALOGUES["trackers"]) == ["mlflow", "tensorboard", "wandb"] and "trackers" in LISTED
