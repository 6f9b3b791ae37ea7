"""Skeleton networks in the released formulation: what the published counts are counts of.

Same weights and same logits, more work: CTR-GCN goes subset by subset and relates joints in every frame before it
averages them, ST-GCN widens its maps before it gathers joints.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from fewdistill.students.skeletons import SkeletonNetwork
from fewdistill.students.skeletons.encoder import JointEncoder
from fewdistill.students.skeletons.skeleton_gcn import ChannelwiseGraphConvolution
from fewdistill.students.skeletons.st_gcn import GraphConvolution


def published(network: SkeletonNetwork) -> SkeletonNetwork:
    """A copy of the network whose graph convolutions are the released ones, with the same weights."""
    copied = copy.deepcopy(network)
    for block in copied.blocks:
        ours = cast(nn.Module, getattr(block, "spatial", None))
        if type(ours) in _FORMS:  # other networks count as they are
            block.spatial = _FORMS[type(ours)](ours)
    return copied


def with_published(module: nn.Module) -> nn.Module:
    """The module, or a copy with the skeleton networks of its encoders, if any, in the released formulation."""
    if not any(isinstance(part, JointEncoder) for part in module.modules()):
        return module
    copied = copy.deepcopy(module)
    for part in copied.modules():
        if isinstance(part, JointEncoder):
            part.network = published(part.network)
    return copied


class PublishedChannelwise(nn.Module):
    """ChannelwiseGraphConvolution with four 1x1 convolutions a subset."""

    def __init__(self, ours: ChannelwiseGraphConvolution) -> None:
        super().__init__()
        self.graph, self.strength, self.norm, self.shortcut = ours.graph, ours.strength, ours.norm, ours.shortcut
        to, of = (weight.chunk(ours.subsets) for weight in ours.relate.weight.detach()[..., None].chunk(2))
        to_bias, of_bias = (bias.chunk(ours.subsets) for bias in _bias(ours.relate).chunk(2))
        value = ours.value.weight.detach().unflatten(0, (-1, ours.subsets)).unbind(1)
        value_bias = _bias(ours.value).unflatten(0, (-1, ours.subsets)).unbind(1)
        self.relate_to = nn.ModuleList(map(_convolution, to, to_bias))
        self.relate_of = nn.ModuleList(map(_convolution, of, of_bias))
        self.value = nn.ModuleList(map(_convolution, value, value_bias))
        self.refine = nn.ModuleList(map(_convolution, ours.refine.detach()[..., None, None], ours.refine_bias.detach()))

    def forward(self, maps: Tensor) -> Tensor:
        """maps (n, channels, V, T) -> (n, width, V, T)."""
        parts = (self.relate_to, self.relate_of, self.value, self.refine)
        mixed = []
        for subset, (to, of, value, refine) in enumerate(zip(*parts, strict=True)):
            relation = torch.tanh(to(maps).mean(3)[..., None] - of(maps).mean(3)[..., None, :])
            graph = self.strength * refine(relation) + self.graph[subset]
            mixed.append(torch.einsum("ncuv,ncvt->ncut", graph, value(maps)))
        return torch.relu(self.norm(torch.stack(mixed).sum(0)) + self.shortcut(maps))


class PublishedPartitioned(nn.Module):
    """ST-GCN's GraphConvolution with its 1x1 convolution first."""

    def __init__(self, ours: GraphConvolution) -> None:
        super().__init__()
        self.register_buffer("graph", ours.graph)
        self.graph: Tensor
        self.importance = ours.importance
        by_partition = ours.value.weight.detach().unflatten(1, (-1, ours.graph.shape[0])).movedim(2, 0)
        self.value = _convolution(by_partition.flatten(0, 1), ours.value_bias.detach().flatten())

    def forward(self, maps: Tensor) -> Tensor:
        """maps (n, channels, V, T) -> (n, width, V, T)."""
        widened = self.value(maps).unflatten(1, (self.graph.shape[0], -1))
        return torch.einsum("nkcvt,kvw->ncwt", widened, self.graph * self.importance)


_FORMS = {ChannelwiseGraphConvolution: PublishedChannelwise, GraphConvolution: PublishedPartitioned}


def _bias(convolution: nn.Conv1d | nn.Conv2d) -> Tensor:
    return cast(Tensor, convolution.bias).detach()


def _convolution(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    made = nn.Conv2d(weight.shape[1], weight.shape[0], 1, device=weight.device, dtype=weight.dtype)
    made.weight, made.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
    return made
