"""D2M, Lite-MKD's dual distillation (Zhang et al., ACM MM 2023): query level and support level.

Query level: T^2 KL(teacher || student) between softened episode logits of the query branch.
Support level: one minus the Pearson correlation, row by row, of student and teacher class-to-class distances.
Labels: cross entropy on the branches named by ``ce_branches``.

As released (``fc_2_sup_dist``): temperature 4, query_weight 1, support_weight 0.5, support_temperature 1, ce_weight
1/16 (the accumulation factor reached the cross entropy alone), ce_branches ["ce"], standardise off; with ce_branches on
both branches it is what the paper's figure draws. At those values a trained
teacher's soft labels are nearly hard and its softmaxed support rows nearly one-hot; ``standardise`` (z-scored
logits, Sun et al., CVPR 2024) and ``support_temperature = None`` (plain distances) keep what the teacher knows.

Base training has no episodes. There the term "relation" is the support level, over the frames of a batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import Labelled, Temperature, Terms, Weight, at_least_float32, distilled_logits
from fewdistill.students.distill.measures import pearson_distance, softened_kl, squared_distances, standardised
from fewdistill.students.output import EpisodeOutput, query_logits


@DISTILLERS.register("d2m")
@dataclass(frozen=True, kw_only=True)
class D2M(Labelled):
    """Dual distillation; reads logits and support distances of student and teacher."""

    temperature: Temperature = 4.0
    query_weight: Weight = 1.0
    support_weight: Weight = 0.5
    support_temperature: Temperature | None = None
    standardise: bool = True

    reads: ClassVar[frozenset[str]] = frozenset({"logits", "support_distances"})
    base_reads: ClassVar[frozenset[str]] = frozenset({"tokens"})

    def terms(self, student: EpisodeOutput, teacher: EpisodeOutput, labels: Tensor) -> Terms:
        """ "query" and "support"."""
        query = self._query(distilled_logits(student), query_logits(teacher.logits).detach())
        support = self._support(student.support_distances, teacher.support_distances.detach())
        return {"query": (self.query_weight, query), "support": (self.support_weight, support)}

    def base_terms(self, tokens: Mapping[str, Tensor], teacher_tokens: Tensor) -> Terms:
        """ "relation": see ``frame_relation``."""
        return {"relation": (1.0, frame_relation(tokens, teacher_tokens))}

    def _query(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.standardise:
            student, teacher = standardised(student), standardised(teacher)
        return softened_kl(student, teacher, self.temperature)

    def _support(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.support_temperature is not None:
            student = F.softmax(student / self.support_temperature, dim=-1)
            teacher = F.softmax(teacher / self.support_temperature, dim=-1)
        return pearson_distance(student, teacher)


def frame_relation(student: Mapping[str, Tensor], teacher: Tensor) -> Tensor:
    """The support level over a batch without episodes: every frame is a class of its own, as in a 1-shot support set.

    One minus the correlation, row by row, of student and teacher distances from a frame to the frames of all other
    videos. Those of its own video are left out: they look alike, so a student can bring them nearest by looks alone.
    Tokens by branch and teacher tokens, each (N, T, D), N >= 2 -> scalar in [0, 2], mean over branches.
    """
    with torch.autocast(teacher.device.type, enabled=False):
        target = _distances_between_videos(teacher.detach())
        return torch.stack([pearson_distance(_distances_between_videos(t), target) for t in student.values()]).mean()


def _distances_between_videos(tokens: Tensor) -> Tensor:
    """Squared distances between layer-normalised frame tokens (N, T, D) of different videos: (N T, (N - 1) T)."""
    videos, frames, width = tokens.shape
    flat = F.layer_norm(at_least_float32(tokens).flatten(0, 1), (width,))
    video = torch.arange(videos, device=tokens.device).repeat_interleave(frames)
    return squared_distances(flat, flat)[video[:, None] != video].view(videos * frames, (videos - 1) * frames)
