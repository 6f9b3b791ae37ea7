"""Matching rules on frame distances without dynamic programming, each a mean over the support videos of a class.

Hausdorff: HyRSM's bi-directional mean Hausdorff metric (Wang et al., CVPR 2022, equation 7). Chamfer, linear and
max-over-time: the baselines of Bertrand et al. (arXiv 2303.16084, section 3).
"""

import torch
from torch import Tensor

from students.heads import HEADS
from students.heads.base import Keys, class_means, class_shares
from students.heads.frame_distances import FrameDistanceHead, frame_distances


@HEADS.register("hausdorff")
class Hausdorff(FrameDistanceHead):
    """logit_c = -(mean over query frames of the nearest prototype frame's distance + the same the other way).

    The prototype of a class is the frame-wise mean of its support videos, as in HyRSM.
    """

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from tokens and norms (B, S, T, ...), (B, Q, T, ...), labels int64 (B, S)."""
        prototypes = class_means(support[0], labels, way)
        keys = prototypes, torch.linalg.vector_norm(prototypes, dim=-1)
        return -self.logit_scale * both_ways(frame_distances(query, keys))


@HEADS.register("chamfer")
class Chamfer(FrameDistanceHead):
    """As Hausdorff, but to each support video by itself, then averaged over the class."""

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from tokens and norms (B, S, T, ...), (B, Q, T, ...), labels int64 (B, S)."""
        cost = both_ways(frame_distances(query, support))
        return -self.logit_scale * cost @ class_shares(labels, way, cost)


@HEADS.register("linear")
class Linear(FrameDistanceHead):
    """Frame t against frame t: logit_c = -mean over support videos and frames of the distance on the diagonal."""

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from tokens and norms (B, S, T, ...), (B, Q, T, ...), labels int64 (B, S)."""
        cost = frame_distances(query, support).diagonal(dim1=-2, dim2=-1).mean(-1)
        return -self.logit_scale * cost @ class_shares(labels, way, cost)


@HEADS.register("max")
class Max(FrameDistanceHead):
    """The best pair of frames decides: logit_c = -mean over support videos of the smallest frame distance."""

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from tokens and norms (B, S, T, ...), (B, Q, T, ...), labels int64 (B, S)."""
        cost = frame_distances(query, support).flatten(-2).amin(-1)
        return -self.logit_scale * cost @ class_shares(labels, way, cost)


def both_ways(distances: Tensor) -> Tensor:
    """Mean of the row minima plus mean of the column minima: (..., L, M) -> (...,)."""
    return distances.amin(-1).mean(-1) + distances.amin(-2).mean(-1)
