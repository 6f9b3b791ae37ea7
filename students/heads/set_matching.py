"""Matching rules on frame distances without dynamic programming, each a mean over the support videos of a class.

Hausdorff: HyRSM's bi-directional mean Hausdorff metric (Wang et al., CVPR 2022, equation 7). Chamfer, linear and
max-over-time: the baselines of Bertrand et al. (arXiv 2303.16084, section 3).
"""

import torch
from torch import Tensor

from fewdistill.students.heads import HEADS
from fewdistill.students.heads.base import Keys
from fewdistill.students.heads.frame_distances import FrameDistanceHead, frame_distances
from fewdistill.students.heads.matched import Matched, matched_frames, pair_weights
from fewdistill.students.heads.support import class_means


@HEADS.register("hausdorff")
class Hausdorff(FrameDistanceHead):
    """logit_c = -(mean over query frames of the nearest prototype frame's distance + the same the other way).

    The prototype of a class is the frame-wise mean of its support videos, as in HyRSM.
    """

    def cost(self, distances: Tensor) -> Tensor:
        """(..., L, M) -> (...,)."""
        return both_ways(distances)

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from tokens and norms (B, S, T, ...), (B, Q, T, ...), labels int64 (B, S)."""
        return -self.logit_scale * self.cost(_to_prototypes(support, labels, query, way))

    def explain(self, support: Keys, labels: Tensor, query: Keys, way: int) -> tuple[Matched, ...]:
        """The nearest frames of query and prototype."""
        weights = pair_weights(self.cost, _to_prototypes(support, labels, query, way))
        return (matched_frames(self.rule, weights, labels, way),)


@HEADS.register("chamfer")
class Chamfer(FrameDistanceHead):
    """As Hausdorff, but to each support video by itself, then averaged over the class."""

    def cost(self, distances: Tensor) -> Tensor:
        """(..., L, M) -> (...,)."""
        return both_ways(distances)


@HEADS.register("linear")
class Linear(FrameDistanceHead):
    """Frame t against frame t: logit_c = -mean over support videos and frames of the distance on the diagonal."""

    def cost(self, distances: Tensor) -> Tensor:
        """(..., T, T) -> (...,)."""
        return distances.diagonal(dim1=-2, dim2=-1).mean(-1)


@HEADS.register("max")
class Max(FrameDistanceHead):
    """The best pair of frames decides: logit_c = -mean over support videos of the smallest frame distance."""

    def cost(self, distances: Tensor) -> Tensor:
        """(..., L, M) -> (...,)."""
        return distances.flatten(-2).amin(-1)


def both_ways(distances: Tensor) -> Tensor:
    """Mean of the row minima plus mean of the column minima: (..., L, M) -> (...,)."""
    return distances.amin(-1).mean(-1) + distances.amin(-2).mean(-1)


def _to_prototypes(support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
    """Frame distances (B, Q, way, T, T) from tokens and norms."""
    prototypes = class_means(support[0], labels, way)
    return frame_distances(query, (prototypes, torch.linalg.vector_norm(prototypes, dim=-1)))
