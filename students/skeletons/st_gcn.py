"""ST-GCN (Yan et al., AAAI 2018): a fixed graph in three partitions, with a learnt weight for each edge and block."""

import torch
from torch import Tensor, nn

from fewdistill.students.skeletons import SKELETONS
from fewdistill.students.skeletons.base import SkeletonNetwork, residual_branch
from fewdistill.students.skeletons.graph import JointGraph

_TAPS = 9


@SKELETONS.register("st_gcn")
class STGCN(SkeletonNetwork):
    """The ten published blocks; see SkeletonNetwork for shapes and StudentError."""

    def __init__(self, graph: JointGraph, classes: int, *, bodies: int = 2, channels: int = 3) -> None:
        super().__init__(graph, classes, depth=10, bodies=bodies, channels=channels, shared_norm=True)

    def block(self, channels: int, width: int, stride: int, *, residual: bool) -> nn.Module:
        return STGCNBlock(channels, width, self.graph.partitioned(), stride, residual=residual)


class STGCNBlock(nn.Module):
    """Graph convolution, then nine taps over time: (n, channels, V, T) -> (n, width, V, ceil(T / stride))."""

    def __init__(self, channels: int, width: int, graph: Tensor, stride: int, *, residual: bool) -> None:
        super().__init__()
        self.spatial = GraphConvolution(channels, width, graph)
        self.spatial_norm = nn.BatchNorm2d(width)
        self.temporal = nn.Conv2d(width, width, (1, _TAPS), stride=(1, stride), padding=(0, _TAPS // 2))
        self.norm = nn.BatchNorm2d(width)
        self.residual = residual_branch(channels, width, stride) if residual else None

    def forward(self, maps: Tensor) -> Tensor:
        out = self.norm(self.temporal(torch.relu(self.spatial_norm(self.spatial(maps)))))
        return torch.relu(out if self.residual is None else out + self.residual(maps))


class GraphConvolution(nn.Module):
    """y[.,w,t] = sum over partitions k and joints v of (W_k x + b_k)[.,v,t] (graph_k * importance_k)[v,w].

    W_k and the sum over joints commute: joints are gathered first, in one matrix product for all partitions, on the
    narrower side of the map. graph: float32 (K, V, V).
    """

    def __init__(self, channels: int, width: int, graph: Tensor) -> None:
        super().__init__()
        self.graph: Tensor
        self.register_buffer("graph", graph.clone())
        self.importance = nn.Parameter(torch.ones_like(graph))
        self.value = nn.Conv2d(channels * graph.shape[0], width, 1, bias=False)  # all partitions of a channel adjoin
        self.value_bias = nn.Parameter(torch.empty(graph.shape[0], width))
        bound = channels**-0.5  # a map of ``channels`` inputs for each partition, as torch draws one by default
        nn.init.uniform_(self.value.weight, -bound, bound)
        nn.init.uniform_(self.value_bias, -bound, bound)

    def forward(self, maps: Tensor) -> Tensor:
        graph = self.graph * self.importance
        gathered = graph.transpose(1, 2).flatten(0, 1) @ maps  # (n, channels, K * W, T)
        by_partition = gathered.unflatten(2, graph.shape[:2]).flatten(1, 2)  # (n, channels * K, W, T)
        bias = self.value_bias.T @ graph.sum(1)  # (width, W)
        return self.value(by_partition) + bias[..., None]
