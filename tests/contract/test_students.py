"""What every registered student promises of its trunk."""

import pytest
import torch
from torch import Tensor, nn

from fewdistill.students.trunks import BACKBONES

each_student = pytest.mark.parametrize("name", list(BACKBONES))


def trunk_of(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BACKBONES[name].build()


def frames(count: int = 3, size: int = 32) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@each_student
@pytest.mark.parametrize("size", [32, 64])
@torch.no_grad()
def test_maps_are_as_declared(name: str, size: int) -> None:
    maps = trunk_of(name).eval()(frames(2, size))
    assert maps.shape[:2] == (2, BACKBONES[name].channels)
    assert maps.ndim == 4 and maps.shape[2] == maps.shape[3] and maps.isfinite().all()


@each_student
@torch.no_grad()
def test_frames_do_not_see_each_other(name: str) -> None:
    trunk, clip = trunk_of(name).eval(), frames()
    torch.testing.assert_close(trunk(clip), torch.cat([trunk(frame[None]) for frame in clip]), rtol=1e-4, atol=1e-4)


@each_student
def test_every_weight_learns(name: str) -> None:
    trunk = trunk_of(name).train()
    trunk(frames(4, 64)).square().mean().backward()
    for what, weight in trunk.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), what


@each_student
def test_the_trunk_is_part_of_its_classifier(name: str) -> None:
    trunk = BACKBONES[name]
    trunk.strip(trunk.classifier()).load_state_dict(trunk_of(name).state_dict())
    assert len(trunk.mean) == len(trunk.std) == 3
