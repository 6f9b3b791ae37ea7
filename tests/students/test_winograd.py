"""Winograd's convolution: the same function at any size, no more coarsely rounded, and only where it is faster."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from students.backbones import TokenEncoder
from students.folding import fold_batch_norm
from students.winograd import Winograd, worth_it


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


def test_it_is_rounded_no_more_coarsely_than_a_sum_of_products() -> None:
    torch.manual_seed(0)
    convolution, maps = nn.Conv2d(256, 256, 3, padding=1), torch.randn(2, 256, 14, 14)
    with torch.no_grad():
        exact = F.conv2d(maps.double(), convolution.weight.double(), convolution.bias.double(), padding=1)  # type: ignore[union-attr]
        unfolded = F.unfold(maps, 3, padding=1)
        product = convolution.weight.flatten(1) @ unfolded + convolution.bias[:, None]  # type: ignore[index]
        ours = (Winograd(convolution)(maps) - exact).abs().max()
    assert ours <= 2 * (product.view_as(exact) - exact).abs().max()


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
        nn.Conv2d(256, 255, 3, padding=1),
        nn.Conv2d(256, 256, 3, padding=1).double(),
        nn.Linear(256, 256),
    ],
    ids=str,
)
def test_other_layers_stay_as_they_are(other: nn.Module) -> None:
    assert worth_it(nn.Conv2d(256, 256, 3, padding=1))
    assert not worth_it(other)


@pytest.mark.parametrize(("backbone", "count"), [("resnet18", 6), ("resnet50", 7), ("mobilenetv3_small", 0)])
def test_which_convolutions_of_a_trunk_are_replaced(backbone: str, count: int) -> None:
    found = fold_batch_norm(TokenEncoder(backbone, 8).trunk.eval())
    assert found is not None
    assert sum(isinstance(part, Winograd) for part in found.modules()) == count
