"""The training loop: exact resumption, selection, divergence, scoring."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fewdistill.benchmark.episodes import ClassIndex, draw
from fewdistill.benchmark.evaluation.matching import no_tick, score
from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.suite.sections import TrainConfig, one_cycle
from fewdistill.benchmark.training import loop as train
from fewdistill.benchmark.training.loop import Diverged, Plan, fit, read_torch, write_torch

CPU = torch.device("cpu")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 3))


def a_plan(net: Net, scores: list[float] | None = None, **changes: object) -> Plan:
    def loss(step: int, micro: int) -> dict[str, torch.Tensor]:
        x = torch.randn(8, 6)  # from torch's generator, as dropout: both belong to the step
        return {"loss": net.layers(x).square().mean()}

    values = iter(scores or [])
    plan = {
        "config": TrainConfig(lr=0.01),
        "steps": 12,
        "seed": 3,
        "name": "test",
        "loss": loss,
        "validate": (lambda: next(values)) if scores else None,
        "validate_every": 4,
        "save_seconds": 0,
    }
    return Plan(**(plan | changes))  # type: ignore[arg-type]


def a_net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, broken = a_net(), a_net()
    fit(whole, a_plan(whole), tmp_path / "whole.pt", CPU, no_tick)

    class Stop(Exception):
        pass

    def stop_at_eight(done: int, total: int) -> None:
        if done == 8:
            raise Stop

    with pytest.raises(Stop):
        fit(broken, a_plan(broken), tmp_path / "broken.pt", CPU, stop_at_eight)
    torch.manual_seed(1234)  # the global generator must not matter
    resumed = a_net()
    progress = fit(resumed, a_plan(resumed), tmp_path / "broken.pt", CPU, no_tick)
    assert progress.step == 12
    assert [point["step"] for point in progress.curve if "loss" in point] == list(range(1, 13))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize("slowdown", [0.0, 300.0])
def test_bfloat16_on_a_processor_that_emulates_it_is_said_once(
    slowdown: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "bfloat16_slowdown", lambda device: slowdown)
    train._warn_of_emulation.cache_clear()
    for name in ("first", "second"):
        fit(net := a_net(), a_plan(net, bf16=True, steps=1), tmp_path / name, CPU, no_tick)
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("only emulates (300 times") == told.count("--set 'bf16=[]'") == (slowdown > 0)
    train._warn_of_emulation.cache_clear()


def test_a_checkpoint_is_written_once_its_time_has_come_and_at_the_end(tmp_path: Path) -> None:
    path, written = tmp_path / "net.pt", []
    fit(net := a_net(), a_plan(net, save_seconds=60), path, CPU, lambda done, total: written.append(path.exists()))
    assert written == [False] * 11 + [True]
    path, written = tmp_path / "often.pt", []
    fit(net := a_net(), a_plan(net, save_seconds=0), path, CPU, lambda done, total: written.append(path.exists()))
    assert written == [True] * 12


def test_the_best_validated_weights_are_kept(tmp_path: Path) -> None:
    net = a_net()
    seen: list[dict[str, torch.Tensor]] = []
    scores = iter([0.2, 0.7, 0.9, 0.4])

    def validate() -> float:
        seen.append({k: v.clone() for k, v in net.state_dict().items()})
        return next(scores)

    progress = fit(net, a_plan(net, validate=validate), tmp_path / "a.pt", CPU, no_tick)
    assert progress.best_step == 8 and progress.best_score == 0.9
    for name, value in net.state_dict().items():
        assert torch.equal(value, seen[2][name])


def test_a_module_without_weights_is_scored_and_left_as_it_is(tmp_path: Path) -> None:
    progress = fit(nn.Identity(), a_plan(a_net(), scores=[0.4]), tmp_path / "x.pt", torch.device("cpu"), no_tick)
    assert (progress.step, progress.best_score, progress.best_step) == (0, 0.4, 0)
    assert progress.best == {} and not (tmp_path / "x.pt").exists()


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path) -> None:
    net = a_net()
    plan = a_plan(net, loss=lambda step, micro: {"loss": net.layers[0].weight.sum() * float("nan")})
    with pytest.raises(Diverged, match="at step 1"):
        fit(net, plan, tmp_path / "a.pt", CPU, no_tick)


def test_a_damaged_checkpoint_is_named_and_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_torch(path, {"x": torch.ones(3)})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=r"checkpoint\.pt"):
        read_torch(path)
    torch.save({"code": Path}, path)
    with pytest.raises(RunError, match=r"checkpoint\.pt"):
        read_torch(path)


def test_a_checkpoint_for_which_there_is_no_room_is_one_error_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_torch(path, {"x": torch.ones(3)})
    script = (
        "import resource, sys, torch; from pathlib import Path\n"
        "from fewdistill.benchmark.training.loop import write_torch\n"
        "from fewdistill.feature_cache import CacheError\n"
        "for room in (100, 1_000_000):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (room, -1))\n"
        "    try: write_torch(Path(sys.argv[1]), {'x': torch.ones(500_000)})\n"
        "    except CacheError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no room") == 2
    assert read_torch(path)["x"].tolist() == [1, 1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_writing_checkpoints_takes_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def slow(path: Path, content: dict[str, object]) -> None:
        written.append(content["step"])
        time.sleep(0.05)

    monkeypatch.setattr(train, "write_torch", slow)
    fit(a_net(), a_plan(a_net(), save_seconds=0), tmp_path / "a.pt", CPU, no_tick)
    assert len(written) <= 3  # the first, the last, and hardly one between: the steps take milliseconds


def test_learning_rate_rises_then_falls() -> None:
    rates = [one_cycle(step, 100, 0.2) for step in range(100)]
    assert max(rates) == pytest.approx(1.0) and int(np.argmax(rates)) == 19
    assert rates[-1] == pytest.approx(0.01) and rates[0] == pytest.approx(0.05)
    assert all(np.isfinite(one_cycle(s, 10, w)) for s in range(10) for w in (0.0, 1.0))


def test_scores_by_hand_and_ties_count_as_wrong() -> None:
    episodes = draw(
        ClassIndex.of([np.arange(3), np.arange(3, 6)]), way=2, shot=1, query=1, episodes=2, rng=np.random.default_rng(0)
    )
    logits = torch.tensor([[[2.0, 1.0], [3.0, 1.0]], [[0.0, 0.0], [-1.0, 5.0]]])
    scores = score(logits, episodes)
    assert scores.correct.tolist() == [[1, 0], [0, 1]]
    assert scores.accuracy == 0.5
    assert (scores.query_class == episodes.classes).all()
    expected = -torch.tensor([logits[e, q].log_softmax(0)[q] for e in range(2) for q in range(2)]).mean()
    assert scores.nll == pytest.approx(float(expected))
