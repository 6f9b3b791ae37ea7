"""Probes of the machine: what they decide is kept, and nothing of a training's randomness is spent on them."""

import json
from pathlib import Path

import pytest
import torch

from fewdistill.benchmark.runtime.compile_trunk import compile_trunk, try_compiling
from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.runtime.probe import Precision, bfloat16_slowdown, largest_worthwhile, training_precision
from fewdistill.benchmark.suite.load import load_suite
from fewdistill.benchmark.training.precision import probes, settled
from fewdistill.students.backbones import TokenEncoder

CPU = torch.device("cpu")
SMALL = "mobilenetv3_small"


def processor_flags() -> set[str]:
    """What Linux says that the processor can do; empty elsewhere."""
    told = Path("/proc/cpuinfo")
    return set(told.read_text().split()) if told.exists() else set()


def test_training_precision_is_measured_on_the_network_itself() -> None:
    before = torch.random.get_rng_state()
    measured = training_precision(SMALL, 32, CPU)
    assert measured.float32 > 0 and measured.bfloat16 > 0
    assert measured.bf16 == (measured.bfloat16 > 1.05 * measured.float32)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_bfloat16_must_gain_more_than_noise() -> None:
    assert not Precision(100.0, 104.0).bf16
    assert Precision(100.0, 106.0).bf16


def test_emulated_bfloat16_is_told_from_bfloat16_that_is_there() -> None:
    slowdown = bfloat16_slowdown(CPU)
    assert slowdown == 0 or slowdown > 4
    if {"amx_bf16", "avx512_bf16"} & processor_flags():
        assert slowdown == 0


def test_the_embedding_batch_is_one_of_those_tried() -> None:
    assert largest_worthwhile(SMALL, 32, CPU, 2, 8) in (2, 4, 8)


def test_auto_becomes_names_once_a_run_folder(tmp_path: Path) -> None:
    suite = load_suite(
        "demo", ('bf16="auto"', f'students=["{SMALL}"]', f'teacher.encoder="{SMALL}"', "data.image_size=32")
    )
    first = settled(suite, tmp_path, CPU)
    assert isinstance(first.bf16, tuple) and set(first.bf16) <= {SMALL}
    (probe,) = tmp_path.glob("*.json")
    content = json.loads(probe.read_text())
    assert content["bf16"] == (SMALL in first.bf16)
    probe.write_text(json.dumps(content | {"bf16": not content["bf16"]}))  # kept: a resumed run goes on as it began
    assert (SMALL in settled(suite, tmp_path, CPU).bf16) != (SMALL in first.bf16)
    assert probes(tmp_path)[probe.stem]["float32_frames_per_second"] == content["float32_frames_per_second"]
    probe.write_text("{")
    with pytest.raises(RunError, match="delete it"):
        settled(suite, tmp_path, CPU)


def test_names_stay_as_they_are(tmp_path: Path) -> None:
    suite = load_suite("demo", ('bf16=["resnet18"]',))
    assert settled(suite, tmp_path / "none", CPU).bf16 == ("resnet18",)
    assert not (tmp_path / "none").exists()


def test_compiling_is_for_cuda_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert not compile_trunk(TokenEncoder(SMALL, 8), CPU, 32)
    assert "CUDA" in capsys.readouterr().err


@torch.no_grad()
def test_a_compiled_trunk_gives_the_same_tokens() -> None:
    encoder, frames = TokenEncoder(SMALL, 8).eval(), torch.rand(2, 3, 32, 32)
    plain, names = encoder(frames), list(encoder.state_dict())
    assert try_compiling(encoder, CPU, 32, "aot_eager")
    assert list(encoder.state_dict()) == names and not encoder.training
    for branch, tokens in encoder(frames).items():
        torch.testing.assert_close(tokens, plain[branch], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_compiler_that_fails_is_named_and_done_without(capsys: pytest.CaptureFixture[str]) -> None:
    encoder, frames = TokenEncoder(SMALL, 8).eval(), torch.rand(2, 3, 32, 32)
    plain = encoder(frames)
    assert not try_compiling(encoder, CPU, 32, "no such backend")
    assert "torch.compile failed on mobilenetv3_small" in capsys.readouterr().err
    for branch, tokens in encoder(frames).items():
        assert torch.equal(tokens, plain[branch])
