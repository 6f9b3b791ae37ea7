"""Base class of networks on joints: the plan of their ten blocks, input normalisation, tokens and classifier."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from fewdistill.students import StudentError
from fewdistill.students.skeletons.graph import JointGraph

PLAN = ((64, 1), (64, 1), (64, 1), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))
"""Width and temporal stride of each block, the same in ST-GCN and CTR-GCN."""


class SkeletonNetwork(nn.Module):
    """joints float32 (N, C, T, V, M) -> class logits (N, classes), by way of tokens (N, T', width).

    Maps between the blocks are (N * M, width, V, T), channels last in memory, as 1x1 convolutions, pooling and batch
    norm like them best. A network gives its blocks and says whether both bodies share the input normalisation.
    """

    def __init__(
        self, graph: JointGraph, classes: int, *, depth: int, bodies: int, channels: int, shared_norm: bool
    ) -> None:
        super().__init__()
        for name, value, most in (("depth", depth, len(PLAN)), ("classes", classes, None), ("bodies", bodies, None)):
            if value < 1 or (most and value > most):
                raise StudentError(
                    f"a skeleton network with {name} {value}: use 1{f' to {most}' if most else ' or more'}"
                )
        self.graph = graph
        self.bodies = bodies
        self.channels = channels
        self.width = PLAN[depth - 1][0]
        self.norm = nn.BatchNorm1d((1 if shared_norm else bodies) * graph.joints * channels)
        before = [channels, *(width for width, _ in PLAN)]
        self.blocks = nn.ModuleList(
            self.block(before[place], width, stride, residual=place > 0)
            for place, (width, stride) in enumerate(PLAN[:depth])
        )
        self.classifier = nn.Linear(self.width, classes)

    @abstractmethod
    def block(self, channels: int, width: int, stride: int, *, residual: bool) -> nn.Module:
        """One block: maps (n, channels, V, T) -> (n, width, V, ceil(T / stride))."""

    def token_frames(self, frames: int) -> int:
        """T' of clips of so many frames: halved, rounded up, at every stride."""
        for _, stride in PLAN[: len(self.blocks)]:
            frames = -(-frames // stride)
        return frames

    def tokens(self, joints: Tensor) -> Tensor:
        """joints (N, C, T, V, M) -> (N, T', width), the last map averaged over joints and bodies.

        Absent bodies are zeros and count, as published. Raises StudentError for joints of another shape.
        """
        wanted = (self.channels, self.graph.joints, self.bodies)
        if joints.ndim != 5 or (joints.shape[1], *joints.shape[3:]) != wanted or not joints.shape[2]:
            raise StudentError(
                "the network was built for joints (N, {}, T, {}, {}), got {}".format(*wanted, tuple(joints.shape))
            )
        frames = joints.shape[2]
        rows = joints.permute(0, 4, 3, 1, 2).reshape(-1, self.norm.num_features, frames)  # by body, joint, channel
        maps = self.norm(rows).view(-1, self.graph.joints, self.channels, frames).transpose(1, 2)
        maps = maps.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            maps = block(maps)
        return maps.mean(2).unflatten(0, (-1, self.bodies)).mean(1).transpose(1, 2)

    def forward(self, joints: Tensor) -> Tensor:
        """See the class."""
        return self.classifier(self.tokens(joints).mean(1))


def residual_branch(channels: int, width: int, stride: int) -> nn.Module:
    """The identity, or where the shape changes a 1x1 convolution and batch norm."""
    if (channels, stride) == (width, 1):
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride=(1, stride)), nn.BatchNorm2d(width))
