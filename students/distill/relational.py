"""Relations between the videos of an episode: RKD, similarity-preserving and correlation congruence."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import Terms, TokenDistiller, Weight
from fewdistill.students.distill.measures import EPS, off_diagonal, squared_distances, unit, video_embeddings
from fewdistill.students.output import EpisodeOutput


def _scaled_distances(embeddings: Tensor) -> Tensor:
    """Pairwise distances of videos over their mean: (N, D) -> (N, N - 1)."""
    distances = (off_diagonal(squared_distances(embeddings, embeddings)) + EPS).sqrt()
    return distances / distances.mean()


def _angles(embeddings: Tensor) -> Tensor:
    """Cosine of the angle at video j between videos i and k: (N, D) -> (N, N, N), entry (j, i, k)."""
    towards = unit(embeddings[None] - embeddings[:, None])
    return towards @ towards.transpose(1, 2)


@DISTILLERS.register("rkd")
@dataclass(frozen=True, kw_only=True)
class RKD(TokenDistiller):
    """Relational KD (Park et al., CVPR 2019): Huber losses on scaled distances and on angles among all videos.

    distance 25 and angle 50 are the paper's weights. Memory grows with the cube of the episode's videos.
    """

    distance: Weight = 25.0
    angle: Weight = 50.0

    def relations(self, tokens: Tensor, taught: Tensor, student: EpisodeOutput, labels: Tensor) -> Terms:
        """ "distance" and "angle"."""
        ours, theirs = video_embeddings(tokens), video_embeddings(taught)
        return {
            "distance": (self.distance, F.smooth_l1_loss(_scaled_distances(ours), _scaled_distances(theirs))),
            "angle": (self.angle, F.smooth_l1_loss(_angles(ours), _angles(theirs))),
        }


def _similarity(embeddings: Tensor) -> Tensor:
    """Inner products of all videos, each row scaled to length 1: (N, D) -> (N, N)."""
    return unit(embeddings @ embeddings.T)


@DISTILLERS.register("similarity")
@dataclass(frozen=True, kw_only=True)
class SimilarityPreserving(TokenDistiller):
    """SP (Tung & Mori, ICCV 2019): squared difference of row-normalised Gram matrices, mean over the N^2 entries."""

    weight: Weight = 100.0

    def relations(self, tokens: Tensor, taught: Tensor, student: EpisodeOutput, labels: Tensor) -> Terms:
        """ "similarity"."""
        ours, theirs = (_similarity(video_embeddings(side)) for side in (tokens, taught))
        return {"similarity": (1.0, F.mse_loss(ours, theirs))}


@DISTILLERS.register("correlation")
@dataclass(frozen=True, kw_only=True)
class CorrelationCongruence(TokenDistiller):
    """CC (Peng et al., ICCV 2019): squared difference of Gaussian kernels exp(-gamma d^2), mean over the N^2 pairs.

    d: distance of unit embeddings. The paper expands the kernel to second order for speed; here it is exact.
    """

    weight: Weight = 10.0
    gamma: Weight = 0.4

    def relations(self, tokens: Tensor, taught: Tensor, student: EpisodeOutput, labels: Tensor) -> Terms:
        """ "correlation"."""
        ours, theirs = (self._kernel(unit(video_embeddings(side))) for side in (tokens, taught))
        return {"correlation": (1.0, F.mse_loss(ours, theirs))}

    def _kernel(self, embeddings: Tensor) -> Tensor:
        return torch.exp(-self.gamma * squared_distances(embeddings, embeddings))
