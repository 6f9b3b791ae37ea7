"""CTR-GCN (Chen et al., ICCV 2021), and DKE-GCN (TCSVT 2024), which is the same network with fewer blocks.

Depth 10 is the teacher (CTR-GCN), 9 the student (DKE-GCN), 7 the light student (light-DKE-GCN).
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, NestedIOFunction, once_differentiable

from fewdistill.students.skeletons import SKELETONS
from fewdistill.students.skeletons.base import SkeletonNetwork, residual_branch
from fewdistill.students.skeletons.graph import JointGraph

_SMALL_GAMMA = 1e-6  # a graph convolution begins as its shortcut alone


class SkeletonGCN(SkeletonNetwork):
    """The first ``depth`` (1 to 10) blocks of CTR-GCN; see SkeletonNetwork for shapes and StudentError."""

    def __init__(self, graph: JointGraph, classes: int, *, depth: int = 10, bodies: int = 2, channels: int = 3) -> None:
        super().__init__(graph, classes, depth=depth, bodies=bodies, channels=channels, shared_norm=False)
        nn.init.normal_(self.classifier.weight, 0, (2 / classes) ** 0.5)

    def block(self, channels: int, width: int, stride: int, *, residual: bool) -> nn.Module:
        return CTRGCNBlock(channels, width, self.graph.directed(), stride, residual=residual)


class CTRGCNBlock(nn.Module):
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
        rows = maps.permute(0, 2, 3, 1)  # (n, V, T, channels), a view of channels-last maps
        by_subset = self.value.weight.flatten(1).unflatten(0, (-1, self.subsets)).transpose(0, 1).flatten(0, 1)
        assert self.value.bias is not None
        bias = self.value.bias.unflatten(0, (-1, self.subsets)).T.reshape(-1, 1)
        values = torch.addmm(bias, by_subset, rows.flatten(0, 2).T).view(self.subsets, -1, *rows.shape[:3])
        mixed: Tensor = GraphProduct.apply(self.graphs(rows), values)
        return mixed.permute(0, 3, 1, 2)

    def graphs(self, rows: Tensor) -> Tensor:
        """Q of every subset, (K, width, n, V, V) by (u, v), for rows (n, V, T, channels).

        The bias of W4 and the learnt graph ride along in the product as two more rows, one of ones and one of edges:
        adding them afterwards would cost as much as the product. So does the mean over time as a product with ones.
        """
        count, joints, frames = rows.shape[:3]
        mean = (rows.new_full((1, frames), 1 / frames) @ rows)[:, :, 0].transpose(1, 2)  # (n, channels, V)
        related = self.relate(mean).unflatten(1, (2, self.subsets, -1)).permute(1, 2, 3, 0, 4)
        to, of = related.unbind(0)  # each (K, r, n, V)
        relation = torch.tanh(to[..., None] - of[..., None, :]).flatten(2)  # (K, r, n u v)
        edges = self.graph.flatten(1)[:, None].to(relation.dtype).repeat(1, 1, count)
        relation = torch.cat([relation, torch.ones_like(edges), edges], 1)
        refine = self.strength * torch.cat([self.refine, self.refine_bias[..., None]], 2)
        refine = torch.cat([refine, torch.ones_like(refine[..., :1])], 2)
        return (refine @ relation).unflatten(2, (count, joints, joints))


class GraphProduct(torch.autograd.Function):
    """y[n,u,t,c] = sum over k and v of graphs[k,c,n,u,v] values[k,c,n,v,t], the sum of CTR-GCN's subsets.

    graphs (K, width, n, V, V), values (K, width, n, V, T) -> (n, V, T, width), contiguous, all of one float dtype.
    Written out, with its gradient, because torch would pad the gradient of every k with zeros and add them up, and
    copy what lies channel by channel to frame by frame an element at a time.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, graphs: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(graphs, values)
        (_, width, *sizes), by_map = values.shape, values.flatten(1, 2)
        product = torch.bmm(graphs[0].flatten(0, 1), by_map[0])
        for graph, value in zip(graphs[1:].flatten(1, 2), by_map[1:], strict=True):
            product.baddbmm_(graph, value)
        return product.view(width, -1).T.contiguous().view(*sizes, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: NestedIOFunction, grad: Tensor) -> tuple[Tensor, Tensor]:
        graphs, values = ctx.saved_tensors
        by_map = grad.flatten(0, 2).T.contiguous().view(-1, *values.shape[3:])
        of_graphs, of_values = torch.empty_like(graphs), torch.empty_like(values)
        for k in range(len(graphs)):
            torch.bmm(by_map, values[k].flatten(0, 1).mT, out=of_graphs[k].flatten(0, 1))
            torch.bmm(graphs[k].flatten(0, 1).mT, by_map, out=of_values[k].flatten(0, 1))
        return of_graphs, of_values


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
