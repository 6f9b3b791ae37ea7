"""Two losses that only an episode has: its own distance matrices, and its labels as contrast."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import Temperature, Terms, TokenDistiller, Weight, all_labels, support_labels
from fewdistill.students.distill.measures import (
    EPS,
    off_diagonal,
    softened_kl,
    squared_distances,
    unit,
    video_embeddings,
)
from fewdistill.students.output import EpisodeOutput


@DISTILLERS.register("episode")
@dataclass(frozen=True, kw_only=True)
class EpisodeRelational(TokenDistiller):
    """Matches distances between videos: softened rows of the support-support and the query-support distances.

    A distance is the squared one of ordered frame tokens; each matrix is divided by its mean, so that only shape
    counts, and rows are compared by T^2 KL(teacher || student). Generalises D2M's support level from class
    prototypes to videos.
    """

    temperature: Temperature = 0.5
    support: Weight = 1.0
    query: Weight = 1.0

    def relations(self, tokens: Tensor, taught: Tensor, student: EpisodeOutput, labels: Tensor) -> Terms:
        """ "support" and "query"."""
        shot = len(support_labels(student))
        matrices = []
        for side in (tokens, taught):
            flat = side.flatten(1)
            distances = squared_distances(flat, flat[:shot])
            matrices.append((self._rows(off_diagonal(distances[:shot])), self._rows(distances[shot:])))
        (support, query), (support_taught, query_taught) = matrices
        return {
            "support": (self.support, softened_kl(support, support_taught, self.temperature)),
            "query": (self.query, softened_kl(query, query_taught, self.temperature)),
        }

    def _rows(self, distances: Tensor) -> Tensor:
        return -distances / (distances.mean() + EPS)


@DISTILLERS.register("contrastive")
@dataclass(frozen=True, kw_only=True)
class SupervisedContrastive(TokenDistiller):
    """Supervised contrast (Khosla et al., NeurIPS 2020) between the student's videos and the teacher's.

    Anchors are the student's unit embeddings, keys the teacher's; the keys of the anchor's class are its positives,
    so that no memory bank is needed. Mean over anchors of the mean negative log probability of their positives.
    """

    temperature: Temperature = 0.1

    vanishes: ClassVar[bool] = False

    def relations(self, tokens: Tensor, taught: Tensor, student: EpisodeOutput, labels: Tensor) -> Terms:
        """ "contrast"."""
        every = all_labels(student, labels)
        anchors, keys = (unit(video_embeddings(side)) for side in (tokens, taught))
        log_probability = torch.log_softmax(anchors @ keys.T / self.temperature, 1)
        positive = (every[:, None] == every).to(log_probability.dtype)
        return {"contrast": (1.0, -((positive * log_probability).sum(1) / positive.sum(1)).mean())}
