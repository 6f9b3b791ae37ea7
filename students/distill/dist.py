"""DIST (Huang et al., NeurIPS 2022): match correlations of predictions, not the predictions; and DIST+-style."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import LogitDistiller, Temperature, Terms, Weight, label_tokens, teacher_tokens
from fewdistill.students.distill.measures import pearson_distance
from fewdistill.students.output import EpisodeOutput


@DISTILLERS.register("dist")
@dataclass(frozen=True, kw_only=True)
class DIST(LogitDistiller):
    """T^2 (beta inter + gamma intra) of softened probabilities.

    inter: 1 - Pearson over the classes of each query; intra: 1 - Pearson over the queries of each class. Restated:
    intra compares the queries of one episode, whose ways keep their meaning within it.
    """

    temperature: Temperature = 1.0
    beta: Weight = 1.0
    gamma: Weight = 1.0

    def levels(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Terms:
        """ "inter" and "intra"."""
        ours, theirs = F.softmax(student / self.temperature, 1), F.softmax(teacher / self.temperature, 1)
        square = self.temperature**2
        return {
            "inter": (self.beta, square * pearson_distance(ours, theirs)),
            "intra": (self.gamma, square * pearson_distance(ours.T, theirs.T)),
        }


@DISTILLERS.register("dist_plus")
@dataclass(frozen=True, kw_only=True)
class DISTPlus(DIST):
    """DIST, and the same two relations between tokens: over the channels of a frame, over the frames of a channel.

    In the manner of DIST's extension to intermediate layers; a token stands for the pooled feature map, so that the
    frames of the episode take the place of positions. Equal token widths of student and teacher are needed.
    """

    token_weight: Weight = 1.0

    reads: ClassVar[frozenset[str]] = frozenset({"logits", "tokens"})

    def terms(self, student: EpisodeOutput, teacher: EpisodeOutput, labels: Tensor) -> Terms:
        """DIST's terms, "token_inter" and "token_intra"."""
        ours, theirs = label_tokens(student).flatten(0, 1), teacher_tokens(teacher).flatten(0, 1)
        return {
            **super().terms(student, teacher, labels),
            "token_inter": (self.token_weight, pearson_distance(ours, theirs)),
            "token_intra": (self.token_weight, pearson_distance(ours.T, theirs.T)),
        }
