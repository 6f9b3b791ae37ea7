"""Multiply-accumulates of single operators against counts by hand, and the bytes of weights."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save
from torch import Tensor, nn

from fewdistill.benchmark.cost.macs import count_macs, weight_bytes

either_device = pytest.mark.parametrize("device", ["cpu", "meta"])


class Computing(nn.Module):
    """A network of a function and the modules that it is given after its input."""

    def __init__(self, function: Callable[..., Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.function, self.used = function, nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.used)


@either_device
def test_convolution_linear_and_einsum_by_hand(device: str) -> None:
    def mixed(x: Tensor, conv: nn.Module, linear: nn.Module) -> Tensor:
        y = linear(conv(x).mean((2, 3)))
        return torch.einsum("nd,md->nm", y, y)

    network = Computing(mixed, nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5))
    expected = 2 * 16 * 16 * 8 * 3 * 9 + 2 * 8 * 5 + 2 * 2 * 5
    assert count_macs(network, torch.zeros(2, 3, 16, 16, device=device)) == expected


@either_device
def test_a_product_added_in_place_is_counted(device: str) -> None:
    added = Computing(lambda x: torch.bmm(x, x.mT).baddbmm_(x[..., :5], x[..., :5].mT))
    assert count_macs(added, torch.zeros(2, 4, 6, device=device)) == 2 * 4 * 4 * (6 + 5)


@pytest.mark.parametrize(
    ("product", "name"), [(lambda x: x.addmm_(x, x), "addmm_"), (lambda x: torch.addbmm(x, x[None], x[None]), "addbmm")]
)
def test_a_product_without_a_formula_is_named(product: Callable[[Tensor], Tensor], name: str) -> None:
    with pytest.raises(RuntimeError, match=rf"aten.{name}: add one"):
        count_macs(Computing(product), torch.zeros(4, 4))


@either_device
def test_attention_is_counted(device: str) -> None:
    width, length, heads, batch, hidden = 32, 6, 4, 2, 48
    maps = 4 * batch * length * width * width
    attention = 2 * batch * length * length * width
    x = torch.zeros(batch, length, width, device=device)
    module = nn.MultiheadAttention(width, heads, batch_first=True).eval()
    without_weights = Computing(lambda x, attend: attend(x, x, x, need_weights=False)[0], module)  # flash on the CPU

    def plain(x: Tensor) -> Tensor:
        split = x.unflatten(-1, (heads, -1)).transpose(1, 2)
        return F.scaled_dot_product_attention(split, split, split)

    layer = nn.TransformerEncoderLayer(width, heads, hidden, batch_first=True).eval()
    assert count_macs(module, x, x, x) == maps + attention
    assert count_macs(without_weights, x) == maps + attention
    assert count_macs(Computing(plain), x) == attention
    assert count_macs(layer, x) == maps + attention + 2 * batch * length * width * hidden


def test_networks_of_known_size() -> None:
    def macs(build: Callable[[], nn.Module]) -> int:
        with torch.device("meta"):
            return count_macs(build(), torch.zeros(1, 3, 224, 224))

    per_frame = macs(torchvision.models.resnet18) / 1e6
    assert per_frame == pytest.approx(1814.1, abs=0.05)
    per_frame = macs(torchvision.models.mobilenet_v3_large) / 1e6
    assert per_frame == pytest.approx(216.6, abs=0.05)


def test_bytes_are_those_of_a_weights_file_in_float32() -> None:
    network = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    network.register_buffer("scratch", torch.zeros(100), persistent=False)
    network.tied = network[0]
    floats, counter = 3 * 5 + 5 + 4 * 5, 8
    assert weight_bytes(network) == 4 * floats + counter == weight_bytes(copy.deepcopy(network).half())
    stored = save({name: tensor.clone() for name, tensor in network.state_dict().items() if "tied" not in name})
    header = 8 + int.from_bytes(stored[:8], "little")
    assert weight_bytes(network) == len(stored) - header
