"""3x3 convolutions with fewer multiplications (Lavin and Gray, CVPR 2016, F(2x2, 3x3)), for embedding on CPUs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Section 4.1: transforms of one tile along one axis; their Kronecker squares serve both axes at once.
_INPUT = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_FILTER = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_OUTPUT = torch.tensor([[1.0, 1, 1, 0], [0, 1, -1, -1]])
_FEWEST_CHANNELS = 256  # with fewer, moving the tiles takes longer than the multiplications that are spared


class Winograd(nn.Module):
    """A 3x3 convolution of stride 1 and padding 1: maps float32 (N, C, H, W) -> (N, C', H, W), channels last.

    Each 2x2 of outputs takes 16 products a pair of channels in place of 36. Sums are rounded otherwise than in the
    convolution's own order, no more coarsely. Weights are those the convolution had; inference only.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        taps = convolution.weight.detach().permute(2, 3, 1, 0)  # (3, 3, C, C')
        filters = (torch.kron(_FILTER, _FILTER) @ taps.reshape(9, -1)).view(16, *taps.shape[2:])
        self.register_buffer("filters", filters)
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach())
        self.register_buffer("inward", torch.kron(_INPUT, _INPUT))
        self.register_buffer("outward", torch.kron(_OUTPUT, _OUTPUT))
        self.filters: Tensor
        self.bias: Tensor | None
        self.inward: Tensor
        self.outward: Tensor

    def forward(self, maps: Tensor) -> Tensor:
        """See the class."""
        count, channels, height, width = maps.shape
        down, across = (height + 1) // 2, (width + 1) // 2
        rows = F.pad(maps, (1, 1 + width % 2, 1, 1 + height % 2)).permute(0, 2, 3, 1)
        n, y, x, c = rows.stride()
        overlapping = rows.as_strided((4, 4, count, down, across, channels), (y, x, n, 2 * y, 2 * x, c))
        tiles = (self.inward @ overlapping.reshape(16, -1)).view(16, -1, channels)
        products = torch.bmm(tiles, self.filters)
        out = (self.outward @ products.flatten(1)).view(2, 2, count, down, across, -1)
        out = out.permute(2, 3, 0, 4, 1, 5).reshape(count, 2 * down, 2 * across, -1)[:, :height, :width]
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
