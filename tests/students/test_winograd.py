"""Winograd's convolution: the same function at any size, rounded as float32 is, and only where it is faster."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.folding import fold_batch_norm
from fewdistill.students.winograd import Winograd, toom_cook, worth_it


@settings(max_examples=40, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    count=st.integers(1, 3),
    bias=st.booleans(),
    channels_last=st.booleans(),
    seed=st.integers(0, 999),
)
def test_it_is_the_convolution(
    sides: tuple[int, int], channels: tuple[int, int], count: int, bias: bool, channels_last: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    convolution = nn.Conv2d(*channels, 3, padding=1, bias=bias)
    maps = torch.randn(count, channels[0], *sides)
    if channels_last:
        maps = maps.to(memory_format=torch.channels_last)
    with torch.no_grad():
        found, wanted = Winograd(convolution)(maps), convolution.double()(maps.double())
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


def _summed_in_order(convolution: nn.Conv2d, maps: torch.Tensor, channels: int) -> torch.Tensor:
    """The first output channels in float32, product after product: what no processor's kernel rounds otherwise."""
    taps, weights = nn.functional.unfold(maps, 3, padding=1), convolution.weight[:channels].flatten(1)
    total = torch.zeros(len(maps), channels, taps.shape[2])
    for place in range(taps.shape[1]):
        total += weights[:, place, None] * taps[:, None, place]
    assert convolution.bias is not None
    return (total + convolution.bias[:channels, None]).unflatten(2, maps.shape[2:])


@pytest.mark.parametrize("channels", [128, 512])
def test_its_rounding_is_that_of_float32(channels: int) -> None:
    torch.manual_seed(0)
    convolution, maps = nn.Conv2d(channels, channels, 3, padding=1), torch.rand(2, channels, 14, 14)
    with torch.no_grad():
        direct, ours = convolution(maps), Winograd(convolution)(maps)
        in_order = _summed_in_order(convolution, maps, 32)
        exact = convolution.double()(maps.double())
    assert (ours - exact).square().mean() <= (4 * (direct - exact)).square().mean()
    assert (ours - exact).square().mean() <= (1.25 * (in_order - exact[:, :32])).square().mean()
    assert (ours - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_other_points_interpolate_too() -> None:
    filters, inputs, outputs = toom_cook((0, 1, -1), 2)
    taps, line = np.array([2.0, -1, 5]), np.array([1.0, 3, -4, 2])
    wanted = [taps @ line[:3], taps @ line[1:]]
    np.testing.assert_allclose(outputs @ ((filters @ taps) * (inputs @ line)), wanted)


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(256, 256, 3, padding=1, stride=2),
        nn.Conv2d(256, 256, 3, padding=1, groups=2),
        nn.Conv2d(256, 256, 3, padding=2, dilation=2),
        nn.Conv2d(256, 256, 3),
        nn.Conv2d(256, 256, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(256, 256, 3, padding="same"),
        nn.Conv2d(256, 256, 1),
        nn.Conv2d(256, 127, 3, padding=1),
        nn.Conv2d(256, 256, 3, padding=1).double(),
        nn.Linear(256, 256),
    ],
    ids=str,
)
def test_other_layers_stay_as_they_are(other: nn.Module) -> None:
    assert worth_it(nn.Conv2d(256, 256, 3, padding=1))
    assert not worth_it(other)


@pytest.mark.parametrize(("backbone", "count"), [("resnet18", 9), ("resnet50", 10), ("mobilenetv3_small", 0)])
def test_which_convolutions_of_a_trunk_are_replaced(backbone: str, count: int) -> None:
    found = fold_batch_norm(TokenEncoder(backbone, 8).trunk.eval())
    assert found is not None
    assert sum(isinstance(part, Winograd) for part in found.modules()) == count
