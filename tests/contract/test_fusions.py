"""What every registered fusion must do."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.teachers.fusions import FUSIONS
from fewdistill.teachers.fusions.base import Fusion

WIDTH, FRAMES, VIDEOS, MODALITIES = 8, 4, 3, 3
OPTIONS: dict[str, dict[str, Any]] = {"released": {"released": "ThreeTRXShiftLoopTime"}}
each_fusion = pytest.mark.parametrize("name", list(FUSIONS))


def fusion_of(name: str) -> Fusion:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FUSIONS[name](MODALITIES, WIDTH, FRAMES, **OPTIONS.get(name, {})).double().eval()


def streams() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(MODALITIES, VIDEOS, FRAMES, WIDTH, generator=generator, dtype=torch.float64)


@each_fusion
def test_shape_is_as_declared(name: str) -> None:
    fusion = fusion_of(name)
    for part in ("support", "query", "cached"):
        assert fusion(streams(), part).shape == (VIDEOS, FRAMES, fusion.out_width)


@each_fusion
def test_videos_are_fused_apart(name: str) -> None:
    fusion, tokens = fusion_of(name), streams()
    alone = torch.cat([fusion(tokens[:, index : index + 1]) for index in range(VIDEOS)])
    torch.testing.assert_close(fusion(tokens), alone)


@each_fusion
@pytest.mark.parametrize("modality", range(MODALITIES))
def test_every_modality_is_heard(name: str, modality: int) -> None:
    tokens = streams()
    changed = tokens.clone()
    changed[modality] += torch.arange(WIDTH)
    fusion = fusion_of(name)
    assert not torch.allclose(fusion(tokens), fusion(changed))


@each_fusion
def test_gradients_are_finite_and_reach_every_weight(name: str) -> None:
    fusion, tokens = fusion_of(name).train(), streams().requires_grad_()
    fusion(tokens).mul(torch.arange(1.0, fusion.out_width + 1)).square().sum().backward()
    for what, value in [("streams", tokens), *fusion.named_parameters()]:
        assert value.grad is not None and value.grad.isfinite().all() and (value.grad != 0).any(), what


@each_fusion
def test_gradients_agree_with_differences(name: str) -> None:
    assert torch.autograd.gradcheck(fusion_of(name), (streams().requires_grad_(),), fast_mode=True)


@each_fusion
def test_constant_and_huge_tokens_are_finite(name: str) -> None:
    fusion = fusion_of(name).float()
    for tokens in (torch.zeros_like(streams()), torch.ones_like(streams()), 1e4 * streams()):
        assert fusion(tokens.float()).isfinite().all()


@each_fusion
def test_another_number_of_streams_is_refused(name: str) -> None:
    with pytest.raises(StudentError, match="built for 3 modalities, got 2"):
        fusion_of(name)(streams()[:2])
