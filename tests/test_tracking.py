"""Trackers in a run: what the real libraries hold after it, and what broken ones do to it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewdistill.results.records.record import Record
from fewdistill.results.records.store import RecordStore
from tests.command import COMMAND, environment
from tests.curves import Points, drawn, in_float32, scalars
from tests.shared_runs import SUITE as SMALL
from tests.shared_runs import stages, weights
from tests.skeleton_suites import run_here
from tests.tracked import history, in_mlflow, saved
from tests.video_suites import opened

SUITE = SMALL.replace('"small"', '"watched"').replace('"none", "d2m"', '"none"')
SUITE = SUITE.replace("episodes = 24\naccumulate = 4\nvalidate_every = 8", "episodes = 6\nvalidate_every = 3")
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


def tracked(command: list[str | Path], cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The row, with the broken trackers installed; a process that a thread kept alive would run into the time limit."""
    path = os.pathsep.join([str(cwd / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    alone = {name: value for name, value in environment().items() if name != "WANDB_SERVICE"}  # not W&B of this process
    return subprocess.run(
        [*command, "run", "watched.toml", "--no-report", "--only", ROW, *options],
        cwd=cwd, capture_output=True, text=True,
        env=alone | {"WANDB_MODE": "offline", "PYTHONPATH": path}, timeout=200,
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


def curves(runs: Runs) -> dict[str, Points]:
    """The curves of the tracked run's trainings, by the name they are tracked under."""
    found = {}
    for name, stage in stages(runs.tracked).items():
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
    assert weights(runs.tracked) == weights(runs.plain) and len(weights(runs.plain)) == 2


@pytest.mark.slow
def test_a_broken_tracker_is_told_of_and_the_run_goes_on(runs: Runs) -> None:
    [student] = [name for name in stages(runs.tracked) if name.startswith("student")]
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
        identity = stages(runs.tracked)[name.split("/")[0]]["identity"]
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
            assert in_mlflow(client, tracked, tag) == points
    [(_, row)] = found.items()
    record = the_record(runs)
    assert record.metrics is not None
    assert row.data.metrics["test/1-shot/closed_high"] == record.metrics.closed_high
    assert row.data.params["trained.episodic.validate_every"] == "3" and row.data.params["dataset"] == "embedded"
    assert row.data.tags["record/1-shot"] == record.key
