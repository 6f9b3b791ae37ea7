"""The speed cases: every side runs, sides agree, and what is said of time is never asserted."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.probe import bfloat16_slowdown
from tools.speed import __main__ as command
from tools.speed import plain
from tools.speed.cases import CASES, QUICK, Bench, Sizes
from tools.speed.machine import environment, trx_gflop
from tools.speed.network_cases import film, student


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(QUICK, tmp_path_factory.mktemp("speed"))


@pytest.mark.parametrize("name", list(CASES))
def test_every_side_runs_and_agrees_with_the_plain_one(name: str, bench: Bench) -> None:
    case = CASES[name]
    emulated = bool(bfloat16_slowdown(torch.device("cpu")))  # and hundreds of times as slow: the command leaves it out
    samples = {side: run(bench) for side, run in case.sides.items() if not (emulated and "bfloat16" in side)}
    assert case.against in samples and set(case.aims) <= set(case.sides)
    base = samples[case.against].values
    for side, sample in samples.items():
        assert sample.rate > 0 and np.isfinite(sample.seconds).all(), side
        if sample.values is not None and base is not None:
            assert sample.values.shape == base.shape
            assert np.abs(sample.values - base).max() <= case.tolerance * np.abs(base).max(), side


def test_the_plain_episode_is_the_student_with_two_passes() -> None:
    network = student(QUICK, "mobilenetv3_small").double().train()
    network.passes = "two"
    clips = list(film(QUICK, QUICK.way * (QUICK.shot + QUICK.query)).values())
    frames = plain.network_input(clips, QUICK.image_size).double()
    at = QUICK.way * QUICK.shot * QUICK.frames
    labels = torch.arange(QUICK.way).repeat_interleave(QUICK.shot)

    def gradients(ours: bool) -> dict[str, torch.Tensor]:
        network.zero_grad()
        if ours:
            output = network(frames, labels, QUICK.way)
        else:
            output = plain.student_output(network, frames[:at], frames[at:], QUICK.way)
        loss = (
            sum(logits.square().mean() for logits in output.logits.values()) + output.support_distances.square().mean()
        )
        loss.backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    ours, theirs = gradients(True), gradients(False)
    assert ours.keys() == theirs.keys()
    scale = max(float(value.abs().max()) for value in theirs.values())
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-8, atol=1e-10 * scale, msg=name)


def test_scanning_draws_an_episode() -> None:
    labels = [0, 1, 2, 1, 0, 2, 1, 0, 2]
    drawn = plain.draw_by_scanning(labels, 2, 2, np.random.default_rng(0))
    assert [len(set(one)) for one in drawn] == [2, 2]
    assert all(len({labels[row] for row in one}) == 1 for one in drawn)


def test_least_work_of_a_published_episode() -> None:
    """By hand, 45 videos of 8 frames, 20 queries, 25 support: maps, Gram matrix, prototypes."""
    pairs = 2 * 45 * 8 * 2 * 2048 * 1152 * 2 + 2 * 320 * 400 * 1152 + 2 * 560 * 400 * 1152
    assert trx_gflop(Sizes(), 2) == pytest.approx(pairs / 1e9)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.speed", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_the_command_prints_ratios_limits_and_conditions(tmp_path: Path) -> None:
    done = run("--quick", "--only", "from cached keys", "--json", "--out", str(tmp_path / "speed.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "speed.json").read_text())
    assert {"processor", "threads", "load", "torch"} <= found["environment"].keys()
    assert found["limits"]["gemm_float32_gflops"] > 0 and found["limits"]["copy_gb"] > 0
    plain_row, ours = found["rows"]
    assert (plain_row["side"], plain_row["ratio"], ours["aim"]) == ("plain", 1, 20)
    assert ours["ratio"] == pytest.approx(ours["per_second"] / plain_row["per_second"])
    assert ours["agrees"] and ours["largest_difference"] <= 1e-5
    command._print(found)  # the table of the same


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sides take no time here, and are told; how one really runs is another test's matter."""
    asked: list[str] = []

    def found(side: str, quick: bool, folder: Path) -> dict[str, object]:
        asked.append(side)
        if side == "limits::":
            where = environment() | {"commit": "abc1234"}
            limits = {"gemm_float32_gflops": 2.0, "gemm_bfloat16_gflops": 1.0, "copy_gb": 1.0}
            return {"limits": limits, "environment": where, "sizes": asdict(QUICK)}
        found = {"seconds": [len(asked)], "items": 6, "memory_mib": len(asked), "values": None}
        return found | {"note": "", "load": len(asked)}

    monkeypatch.setattr(command, "_in_process", found)
    monkeypatch.setattr(command, "commit", lambda: "abc1234")
    return asked


def test_a_file_keeps_its_other_cases_and_refuses_other_sizes(tmp_path: Path, sides: list[str]) -> None:
    out = tmp_path / "speed.json"
    command.speed(["from cached keys"], quick=True, as_json=True, out=out)
    first = json.loads(out.read_text())
    command.speed(["sampling"], quick=True, as_json=True, out=out)
    both = json.loads(out.read_text())
    kept = [row for row in both["rows"] if "from cached keys" in row["case"]]
    assert kept == first["rows"]
    assert {row["case"] for row in both["rows"]} > {row["case"] for row in kept}
    assert all(row["run"]["commit"] == "abc1234" and row["run"]["copy_gb"] == 1 for row in both["rows"])
    older = {**both, "sizes": {name: size for name, size in both["sizes"].items() if name != "skeleton_clips"}}
    out.write_text(json.dumps(older))
    command.speed(["sampling"], quick=True, as_json=True, out=out, overwrite=True)
    assert json.loads(out.read_text())["sizes"] == both["sizes"]
    with pytest.raises(UserError, match="other sizes"):
        command.speed(["sampling"], quick=False, out=out)
    out.write_text("{}")
    with pytest.raises(UserError, match="not written by this program"):
        command.speed(["sampling"], quick=True, out=out)


def test_sides_are_timed_in_turn(tmp_path: Path, sides: list[str]) -> None:
    with_limits = command._measure(["sampling: an episode of 77,500 videos"], [], False, tmp_path, None)
    assert [side.partition("::")[2] for side in sides[1:]] == 3 * ["plain", "ours"]
    plain_row, ours = with_limits["rows"]
    assert (plain_row["milliseconds"], ours["milliseconds"]) == (4e3 / 6, 5e3 / 6)  # the median round of each
    assert ours["ratio"] == pytest.approx(4 / 5) and ours["repetitions"] == 3 and ours["slowest_over_fastest"] == 7 / 3
    assert (ours["memory_mib"], ours["load"]) == (7, 3)  # the largest, the first


def test_emulated_bfloat16_is_not_measured(tmp_path: Path, sides: list[str]) -> None:
    command.speed(["TRX pairs, forward and backward"], quick=True, as_json=True, out=tmp_path / "speed.json")
    assert [side.partition("::")[2] for side in sides[1:]] == ["plain", "ours"]
    case = CASES["head: TRX pairs, forward and backward"]
    present = {"gemm_float32_gflops": 1.0, "gemm_bfloat16_gflops": 2.0}
    assert command._possible(case, present) == list(case.sides) == ["plain", "ours", "ours, bfloat16"]


def test_what_stands_from_this_commit_is_not_measured_again(
    tmp_path: Path, sides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(overwrite: bool = False) -> int:
        sides.clear()
        command.speed(["sampling"], quick=True, as_json=True, out=tmp_path / "speed.json", overwrite=overwrite)
        return sum("sampling" in side for side in sides)

    assert measured() == 2 and measured() == 0 and measured(overwrite=True) == 2
    monkeypatch.setattr(command, "commit", lambda: "abc1234-dirty")
    assert measured() == 2  # changed files may be what is measured


def test_a_case_that_is_not_there_is_one_line() -> None:
    done = run("--only", "nothing like it")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "the cases are" in done.stderr
