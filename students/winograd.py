"""3x3 convolutions with fewer multiplications (Lavin and Gray, CVPR 2016, F(4x4, 3x3)), for embedding on CPUs."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

_OUT = 4  # outputs a tile and axis
_IN = _OUT + 2  # inputs that they read
_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)  # and infinity; rounded nearly twice as finely as with 0, 1, -1, 2, -2
_FEWEST_CHANNELS = 128  # with fewer, moving the tiles takes what the spared multiplications would have


def toom_cook(points: tuple[float, ...], outputs: int) -> tuple[NDArray[np.float64], ...]:
    """The transforms of filter (n, 3), input (n, n) and output (outputs, n) for one axis, n = outputs + 2.

    Polynomials are evaluated at n - 1 points and at infinity, multiplied there, and interpolated.
    """
    at = np.array(points)
    size = outputs + 2
    filters, inputs, outward = np.zeros((size, 3)), np.zeros((size, size)), np.zeros((outputs, size))
    for row, point in enumerate(at):
        others = np.delete(at, row)
        filters[row] = point ** np.arange(3) / np.prod(point - others)
        inputs[row, :-1] = np.poly(others)[::-1]
        outward[:, row] = point ** np.arange(outputs)
    filters[-1, -1] = outward[-1, -1] = 1
    inputs[-1] = np.poly(at)[::-1]
    return filters, inputs, outward


_FILTER, _INPUT, _OUTPUT = (torch.from_numpy(matrix).float() for matrix in toom_cook(_POINTS, _OUT))


def _both_axes(transform: Tensor, values: Tensor) -> Tensor:
    """``transform`` (m, k) along the first two axes of values (k, k, ...): (m, m, size of the rest)."""
    size = len(values)
    return transform @ (transform @ values.reshape(size, -1)).view(-1, size, values[0, 0].numel())


class Winograd(nn.Module):
    """A 3x3 convolution of stride 1 and padding 1: maps float32 (N, C, H, W) -> (N, C', H, W), channels last.

    Each 4x4 of outputs takes 36 products a pair of channels in place of 144, and the filters four times the memory of
    the convolution's. Rounding is about that of products added in order, some 1e-6 of the largest output;
    kernels that add in blocks round up to four times as finely.
    Weights are those the convolution had; inference only.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        taps = convolution.weight.detach().permute(2, 3, 1, 0)  # (3, 3, C, C')
        self.register_buffer("filters", _both_axes(_FILTER, taps).view(-1, *taps.shape[2:]))
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach())
        self.filters: Tensor
        self.bias: Tensor | None

    def forward(self, maps: Tensor) -> Tensor:
        """See the class."""
        count, channels, height, width = maps.shape
        down, across = -(-height // _OUT), -(-width // _OUT)
        below, right = (1 + tiles * _OUT - side for tiles, side in ((down, height), (across, width)))
        rows = F.pad(maps, (1, right, 1, below)).permute(0, 2, 3, 1)
        n, y, x, c = rows.stride()
        overlapping = rows.as_strided((_IN, _IN, count, down, across, channels), (y, x, n, _OUT * y, _OUT * x, c))
        tiles = _both_axes(_INPUT, overlapping).view(_IN**2, -1, channels)
        products = torch.bmm(tiles, self.filters).unflatten(0, (_IN, _IN))
        out = _both_axes(_OUTPUT, products).view(_OUT, _OUT, count, down, across, -1)
        out = out.permute(2, 3, 0, 4, 1, 5).reshape(count, down * _OUT, across * _OUT, -1)[:, :height, :width]
        return (out if self.bias is None else out.add_(self.bias)).permute(0, 3, 1, 2)


def worth_it(convolution: nn.Module) -> bool:
    """Whether ``Winograd`` computes the same, and faster."""
    return (
        isinstance(convolution, nn.Conv2d)
        and (convolution.kernel_size, convolution.stride, convolution.dilation) == ((3, 3), (1, 1), (1, 1))
        and (convolution.padding, convolution.padding_mode, convolution.groups) == ((1, 1), "zeros", 1)
        and min(convolution.in_channels, convolution.out_channels) >= _FEWEST_CHANNELS
        and (convolution.weight.device.type, convolution.weight.dtype) == ("cpu", torch.float32)
    )
