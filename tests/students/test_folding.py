"""Batch norm folded into convolutions: the same tokens, and left alone where that would be another function."""

import pytest
import torch
from torch import Tensor, nn

from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.folding import fold_batch_norm, folded

TORCHVISION = ["resnet18", "resnet50", "mobilenetv3_large", "mobilenetv3_small"]


def _unlike_the_start(module: nn.Module) -> None:
    """Batch norms as training leaves them: none of their numbers is 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, least in (
                (norm.weight, 0.5),
                (norm.bias, -0.5),
                (norm.running_mean, -0.5),
                (norm.running_var, 0.5),
            ):
                assert tensor is not None
                tensor.data = least + torch.rand(tensor.shape, generator=generator)


def _norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize("backbone", [*TORCHVISION, "timm/resnet18", "timm/convnext_atto"])
def test_the_tokens_of_a_folded_trunk_are_the_same(backbone: str) -> None:
    torch.manual_seed(0)
    encoder = TokenEncoder(backbone, 32, token_norm=True).eval()
    _unlike_the_start(encoder)
    trunk, frames = encoder.trunk, torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        plain = encoder(frames)
        with folded(encoder):
            found = encoder(frames)
    for branch, tokens in plain.items():
        torch.testing.assert_close(found[branch], tokens, rtol=1e-5, atol=1e-5 * float(tokens.abs().max()))
    assert encoder.trunk is trunk


@pytest.mark.parametrize("backbone", TORCHVISION)
def test_no_batch_norm_of_a_torchvision_trunk_is_left(backbone: str) -> None:
    trunk = TokenEncoder(backbone, 8).trunk.eval()
    found = fold_batch_norm(trunk)
    assert found is not None
    assert _norms(trunk) > 0
    assert _norms(found) == 0


class _ReadTwice(nn.Module):
    """One convolution whose result two others read, one batch norm in two places, one that reads no convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.norm, self.shared, self.alone = (nn.BatchNorm2d(3) for _ in range(3))
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, frames: Tensor) -> Tensor:
        read_twice = self.first(frames)
        other = self.shared(self.second(frames)) + self.shared(self.third(frames))
        return self.norm(read_twice) + read_twice + other + self.alone(frames) * self.scale


def test_a_batch_norm_is_kept_where_folding_would_change_the_function() -> None:
    torch.manual_seed(0)
    trunk = _ReadTwice().eval()
    _unlike_the_start(trunk)
    found, frames = fold_batch_norm(trunk), torch.rand(2, 3, 8, 8)
    assert found is not None
    assert _norms(found) == 3
    torch.testing.assert_close(found(frames), trunk(frames))


class _LooksAtItsInput(nn.Module):
    def forward(self, frames: Tensor) -> Tensor:
        return frames * 2 if frames.mean() > 0 else frames


def test_a_trunk_that_looks_at_its_input_stays_as_it_is() -> None:
    assert fold_batch_norm(_LooksAtItsInput().eval()) is None


def test_the_trunk_is_put_back_when_embedding_fails() -> None:
    encoder = TokenEncoder("mobilenetv3_small", 8).eval()
    trunk = encoder.trunk
    with pytest.raises(RuntimeError), folded(encoder):
        encoder(torch.rand(1, 4, 64, 64))
    assert encoder.trunk is trunk
