"""CTR-GCN (Chen et al., ICCV 2021), and DKE-GCN (TCSVT 2024), which is the same network with fewer blocks.

Depth 10 is the teacher (CTR-GCN), 9 the student (DKE-GCN), 7 the light student (light-DKE-GCN).
"""

from functools import partial

import torch
from torch import Tensor, nn

from students.skeletons import SKELETONS
from students.skeletons.base import SkeletonNetwork, residual_branch
from students.skeletons.graph import JointGraph

_SMALL_GAMMA = 1e-6  # a graph convolution begins as its shortcut alone


class SkeletonGCN(SkeletonNetwork):
    """The first ``depth`` (1 to 10) blocks of CTR-GCN; see SkeletonNetwork for shapes and StudentError."""

    def __init__(self, graph: JointGraph, classes: int, *, depth: int = 10, bodies: int = 2, channels: int = 3) -> None:
        super().__init__(graph, classes, depth=depth, bodies=bodies, channels=channels, shared_norm=False)
        nn.init.normal_(self.classifier.weight, 0, (2 / classes) ** 0.5)

    def block(self, channels: int, width: int, stride: int, *, residual: bool) -> nn.Module:
        return Block(channels, width, self.graph.directed(), stride, residual=residual)


class Block(nn.Module):
    """ReLU( temporal(spatial(x)) + residual(x) ): maps (n, channels, V, T) -> (n, width, V, ceil(T / stride))."""

    def __init__(self, channels: int, width: int, graph: Tensor, stride: int, *, residual: bool) -> None:
        super().__init__()
        self.spatial = ChannelwiseGraphConvolution(channels, width, graph)
        self.temporal = TemporalConvolution(width, stride)
        self.residual = residual_branch(channels, width, stride) if residual else None
        if isinstance(self.residual, nn.Sequential):
            _draw(self.residual[0])  # type: ignore[arg-type]

    def forward(self, maps: Tensor) -> Tensor:
        out = self.temporal(self.spatial(maps))
        return torch.relu(out if self.residual is None else out + self.residual(maps))


class ChannelwiseGraphConvolution(nn.Module):
    """A graph for every channel: y[c,u,t] = sum over subsets k and joints v of Q_k[c,u,v] (W3_k x)[c,v,t].

    Q_k = strength * W4_k tanh(W1_k mean_t x[.,u] - W2_k mean_t x[.,v]) + graph_k, then batch norm, the shortcut and
    ReLU. All subsets pass together. W1 and W2 see the mean over time, which equals the mean of what they would make
    of every frame, at T times less work.

    graph: float32 (K, V, V), which the learnt graphs start from.
    """

    def __init__(self, channels: int, width: int, graph: Tensor) -> None:
        super().__init__()
        self.subsets = graph.shape[0]
        reduced = channels // 8 if channels >= 8 and channels != 9 else 8  # raw coordinates are not reduced
        self.graph = nn.Parameter(graph.clone())
        self.strength = nn.Parameter(torch.zeros(1))
        self.relate = nn.Conv1d(channels, 2 * self.subsets * reduced, 1)  # W1 of all subsets, then W2
        self.value = nn.Conv2d(channels, width * self.subsets, 1)  # W3; all subsets of a channel side by side
        self.refine = nn.Parameter(torch.empty(self.subsets, width, reduced))  # W4
        self.refine_bias = nn.Parameter(torch.zeros(self.subsets, width))
        self.norm = nn.BatchNorm2d(width)
        self.shortcut = residual_branch(channels, width, 1)
        for weight, fan_out in ((self.relate.weight, reduced), (self.value.weight, width), (self.refine, width)):
            nn.init.normal_(weight, 0, (2 / fan_out) ** 0.5)  # Kaiming, each subset's map by itself
        for bias in (self.relate.bias, self.value.bias):
            nn.init.zeros_(bias)  # type: ignore[arg-type]
        nn.init.constant_(self.norm.weight, _SMALL_GAMMA)
        if isinstance(self.shortcut, nn.Sequential):
            _draw(self.shortcut[0])  # type: ignore[arg-type]

    def forward(self, maps: Tensor) -> Tensor:
        """maps (n, channels, V, T) -> (n, width, V, T)."""
        return torch.relu(self.norm(self.mixed(maps)) + self.shortcut(maps))

    def mixed(self, maps: Tensor) -> Tensor:
        """The graph product alone, before its batch norm."""
        graphs = self.graphs(maps)
        value = self.value(maps).unflatten(1, (-1, self.subsets)).flatten(2, 3)  # (n, width, K * V, T)
        return (graphs.flatten(0, 1) @ value.flatten(0, 1)).unflatten(0, graphs.shape[:2])

    def graphs(self, maps: Tensor) -> Tensor:
        """Q of all subsets side by side, (n, width, V, K * V) by (u, (k, v))."""
        to, of = self.relate(maps.mean(3)).unflatten(1, (2, self.subsets, -1)).unbind(1)  # each (n, K, r, V)
        relation = torch.tanh(to[..., None] - of[..., None, :])  # (n, K, r, u, v)
        refined = (self.strength * self.refine) @ relation.flatten(3)  # (n, K, width, u v)
        offset = (self.strength * self.refine_bias).T[:, None, :, None] + self.graph.transpose(0, 1)
        by_channel = refined.unflatten(3, self.graph.shape[1:]).permute(0, 2, 3, 1, 4)  # (n, width, u, k, v)
        return (by_channel + offset).flatten(3)


class TemporalConvolution(nn.Module):
    """Four branches of width / 4 over time, each after a 1x1 convolution: five taps at dilation 1 and 2, the largest of
    three frames, the frame itself. maps (n, width, V, T) -> (n, width, V, ceil(T / stride)).

    A batch norm acts on every channel by itself, so one serves the branches together.
    """

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        quarter, step = width // 4, (1, stride)
        self.reduce = nn.Conv2d(width, 3 * quarter, 1)
        self.reduce_norm = nn.BatchNorm2d(3 * quarter)
        self.near = nn.Conv2d(quarter, quarter, (1, 5), stride=step, padding=(0, 2))
        self.far = nn.Conv2d(quarter, quarter, (1, 5), stride=step, padding=(0, 4), dilation=(1, 2))
        self.peak = nn.MaxPool2d((1, 3), stride=step, padding=(0, 1))
        self.same = nn.Conv2d(width, quarter, 1, stride=step)
        self.norm = nn.BatchNorm2d(width)
        for convolution in (self.reduce, self.near, self.far, self.same):
            _draw(convolution, quarter)
        for norm in (self.reduce_norm, self.norm):
            nn.init.normal_(norm.weight, 1, 0.02)

    def forward(self, maps: Tensor) -> Tensor:
        near, far, peak = torch.relu(self.reduce_norm(self.reduce(maps))).chunk(3, 1)
        return self.norm(torch.cat([self.near(near), self.far(far), self.peak(peak), self.same(maps)], 1))


def _draw(convolution: nn.Conv2d, width: int = 0) -> None:
    """Kaiming-normal by fan-out, no bias. width: output channels of one branch where several share a convolution."""
    fan_out = (width or convolution.out_channels) * convolution.kernel_size[0] * convolution.kernel_size[1]
    nn.init.normal_(convolution.weight, 0, (2 / fan_out) ** 0.5)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]


SKELETONS.register("ctr_gcn")(partial(SkeletonGCN, depth=10))
SKELETONS.register("dke_gcn")(partial(SkeletonGCN, depth=9))
SKELETONS.register("light_dke_gcn")(partial(SkeletonGCN, depth=7))
