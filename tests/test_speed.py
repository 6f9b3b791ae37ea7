"""The speed cases: every side runs, sides agree, and what is said of time is never asserted."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.speed import __main__ as command
from benchmark.speed import plain
from benchmark.speed.cases import CASES, QUICK, Bench, Sizes
from benchmark.speed.machine import trx_gflop
from benchmark.speed.network_cases import film, student


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(QUICK, tmp_path_factory.mktemp("speed"))


@pytest.mark.parametrize("name", list(CASES))
def test_every_side_runs_and_agrees_with_the_plain_one(name: str, bench: Bench) -> None:
    case = CASES[name]
    samples = {side: run(bench) for side, run in case.sides.items()}
    assert case.against in samples and set(case.aims) <= set(samples)
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
        [sys.executable, "-m", "benchmark.speed", *arguments], capture_output=True, text=True, timeout=120, check=False
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


def test_a_file_keeps_its_other_cases_and_refuses_other_sizes(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    assert run("--quick", "--only", "from cached keys", "--out", str(out)).returncode == 0
    first = json.loads(out.read_text())
    assert run("--quick", "--only", "sampling", "--out", str(out)).returncode == 0
    both = json.loads(out.read_text())
    kept = [row for row in both["rows"] if "from cached keys" in row["case"]]
    assert kept == first["rows"]
    assert {row["case"] for row in both["rows"]} > {row["case"] for row in kept}
    assert all(row["run"]["commit"] and row["run"]["copy_gb"] > 0 for row in both["rows"])
    refused = run("--only", "sampling", "--out", str(out))
    assert refused.returncode == 2 and "other sizes" in refused.stderr
    out.write_text("{}")
    assert "not written by this program" in run("--quick", "--only", "sampling", "--out", str(out)).stderr


def test_what_stands_from_this_commit_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "commit", lambda: "abc1234")
    monkeypatch.setattr("benchmark.speed.machine.commit", lambda: "abc1234")
    measured = []
    really = command._in_process

    def counted(side: str, quick: bool, folder: Path) -> dict[str, object]:
        measured.append(side)
        found = really(side, quick, folder)
        if side == "limits::":
            found["environment"] = found["environment"] | {"commit": "abc1234"}  # type: ignore[operator]
        return found

    monkeypatch.setattr(command, "_in_process", counted)
    for _ in range(2):
        command.speed(["sampling"], quick=True, as_json=True, out=tmp_path / "speed.json")
    assert [side for side in measured if "sampling" in side] == [
        f"{name}::{side}" for name in CASES if "sampling" in name for side in CASES[name].sides
    ]


def test_a_case_that_is_not_there_is_one_line() -> None:
    done = run("--only", "nothing like it")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "the cases are" in done.stderr
