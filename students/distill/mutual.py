"""Several teachers: the student's own branches (mutual learning), and the modalities of a teacher by certainty."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH
from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import Labelled, Temperature, Terms, Weight, distilled_logits
from fewdistill.students.distill.measures import EPS, softened_kl, softened_kl_rows, standardised
from fewdistill.students.output import EpisodeOutput


@DISTILLERS.register("mutual")
@dataclass(frozen=True, kw_only=True)
class Mutual(Labelled):
    """Deep mutual learning (Zhang et al., CVPR 2018) between the student's two branches; no teacher is needed.

    Each branch follows the other's softened logits, held fixed: KL both ways. The paper's peers are networks; here
    they share a trunk.
    """

    weight: Weight = 1.0
    temperature: Temperature = 1.0

    reads: ClassVar[frozenset[str]] = frozenset()

    def terms(self, student: EpisodeOutput, teacher: EpisodeOutput, labels: Tensor) -> Terms:
        """ "mutual"."""
        first, second = student.logits[QUERY_BRANCH], student.logits[LABEL_BRANCH]
        one = softened_kl(first, second.detach(), self.temperature)
        other = softened_kl(second, first.detach(), self.temperature)
        return {"mutual": (self.weight, one + other)}


@DISTILLERS.register("multi_teacher")
@dataclass(frozen=True, kw_only=True)
class MultiTeacher(Labelled):
    """KD from each modality of the teacher, query by query, by those which are surer than the student.

    In the manner of AMFAR (CVPR 2023), where the more certain modality teaches the other: a modality's certainty on
    a query is its largest probability; its weight is that certainty where it exceeds the student's, else 0, and the
    weights of a query sum to at most 1. All logits are standardised, since modalities differ in scale.
    """

    weight: Weight = 1.0
    temperature: Temperature = 1.0

    reads: ClassVar[frozenset[str]] = frozenset({"streams"})

    def terms(self, student: EpisodeOutput, teacher: EpisodeOutput, labels: Tensor) -> Terms:
        """ "streams"; StudentError when the teacher's output has no logits by modality."""
        if not teacher.streams:
            raise StudentError("multi_teacher reads logits by modality, and the teacher's output carries none")
        ours = standardised(distilled_logits(student))
        theirs = standardised(torch.stack(list(teacher.streams.values())).detach())
        with torch.no_grad():
            certainty = theirs.softmax(-1).amax(-1)
            surer = certainty * (certainty > ours.softmax(-1).amax(-1))
            share = surer / (surer.sum(0) + EPS)
        rows = softened_kl_rows(ours.expand_as(theirs), theirs, self.temperature)
        return {"streams": (self.weight, (share * rows).sum(0).mean())}
