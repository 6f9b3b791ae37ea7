"""A tracker on its own: after an interruption, slow, hanging, or not to be had; and how long trainings are thinned."""

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from torch import nn

from fewdistill.benchmark.cli.list import LISTED
from fewdistill.benchmark.graph.watch import track_row
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.suite.registry import CATALOGUES
from fewdistill.benchmark.suite.sections import TrainConfig
from fewdistill.benchmark.tracking import TRACKERS, Run, Tracker, Trackers, guard
from fewdistill.benchmark.training.loop import Plan, TrainState, fit
from fewdistill.benchmark.training.watch import Curve
from fewdistill.results.records.record import key_of
from fewdistill.students.registry import UnknownNameError
from tests.command import environment
from tests.curves import drawn, in_float32, scalars
from tests.shared_runs import SUITE
from tests.tracked import history, in_mlflow
from tests.video_suites import opened

Held = tuple[threading.Event, list[Any]]


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
        assert in_mlflow(client, tracked, tag) == points


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """A tracker "held" that waits for the event; the steps that it got, and the end."""
    release, got = threading.Event(), list[Any]()

    class Waiting(Tracker):
        def open(self, run: Run) -> None:
            release.wait(60)

        def log(self, step: int, values: Mapping[str, float]) -> None:
            got.append(step)

        def close(self, status: str, summary: Mapping[str, object]) -> None:
            got.append((status, dict(summary)))

    monkeypatch.setattr(TRACKERS, "_entries", {**TRACKERS._entries, "held": Waiting})
    return release, got


def test_points_that_nobody_takes_are_dropped_and_told_of_once(
    tmp_path: Path, held: Held, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    release, got = held
    monkeypatch.setattr(guard, "_WAITING", 10)
    with Trackers(["held"]).follow(Run("k", "slow", "tests", "base", {}, tmp_path)) as followed:
        for step in range(20):
            followed.log(step, {"train/loss": 0.0})
        release.set()
    assert got == [*range(10), ("done", {})]
    assert capsys.readouterr().err.count("points are left out from step 10 on") == 1


def test_a_long_training_is_thinned(tmp_path: Path, held: Held) -> None:
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
def test_a_row_that_failed_is_tracked_as_failed(tmp_path: Path, held: Held) -> None:
    release, got = held
    release.set()
    (tmp_path / "small.toml").write_text(SUITE)
    suite = opened(tmp_path / "small.toml", track=("held",))
    track_row(suite.context, suite.rows()[1], [], "no memory")
    with pytest.raises(Stop), suite.context.trackers.follow(Run("k", "broken off", "small", "base", {}, tmp_path)):
        raise Stop("no space")
    assert got == [("failed", {"reason": "no memory"}), ("failed", {"reason": "no space"})]


def test_a_tracker_that_hangs_is_waited_for_once(
    tmp_path: Path, held: Held, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
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
    path = tmp_path / "small.toml"
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
