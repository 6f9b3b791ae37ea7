"""Probes of the machine: what they decide is kept, and nothing of a training's randomness is spent on them."""

import json
from pathlib import Path

import pytest
import torch

from fewdistill.benchmark.evaluation.provenance import provenance
from fewdistill.benchmark.runtime.compile_trunk import compile_trunk, try_compiling
from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.runtime.probe import Precision, bfloat16_slowdown, largest_worthwhile, training_precision
from fewdistill.benchmark.training.precision import resolve_bf16
from fewdistill.students.backbones import TokenEncoder
from tests.video_suites import opened

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


TOML = f"""
name = "probed"
bf16 = "auto"
students = ["{SMALL}"]
data = {{image_size = 32, frames = 2, clips_per_class = 3, train_classes = 3, val_classes = 3, test_classes = 3}}
teacher.encoder = "{SMALL}"
teacher.episodic = {{way = 3, shot = 1, query = 1}}
teacher.fusion = {{way = 3, shot = 1, query = 1}}
episodic = {{way = 3, shot = 1, query = 1}}
evaluate = {{way = 3, shots = [1], val_shot = 1}}
"""


def test_auto_becomes_names_once_a_run_folder(tmp_path: Path) -> None:
    path = tmp_path / "probed.toml"
    path.write_text(TOML)
    first = opened(path)
    assert isinstance(first.suite.bf16, tuple) and set(first.suite.bf16) <= {SMALL}
    (probe,) = (tmp_path / "runs" / "probed" / "precision").glob("*.json")
    content = json.loads(probe.read_text())
    assert content["bf16"] == (SMALL in first.suite.bf16)
    probe.write_text(json.dumps(content | {"bf16": not content["bf16"]}))  # kept: a resumed run goes on as it began
    assert (SMALL in opened(path).suite.bf16) != (SMALL in first.suite.bf16)
    told = provenance(first.context, "a row")["bf16_probes"]
    assert told[probe.stem]["float32_frames_per_second"] == content["float32_frames_per_second"]
    probe.write_text("{")
    with pytest.raises(RunError, match="delete it"):
        opened(path)


def test_names_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "probed.toml"
    path.write_text(TOML)
    assert opened(path, 'bf16=["resnet18"]').suite.bf16 == ("resnet18",)
    assert not (tmp_path / "runs" / "probed" / "precision").exists()
    assert resolve_bf16({}, tmp_path / "none", CPU) == () and not (tmp_path / "none").exists()


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
