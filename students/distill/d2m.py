"""D2M, Lite-MKD's dual distillation (Zhang et al., ACM MM 2023): query level and support level.

Query level: T^2 KL(teacher || student) between softened episode logits of the query branch.
Support level: one minus the Pearson correlation, row by row, of student and teacher class-to-class distances.
Labels: cross entropy on the branches named by ``ce_branches``.

As released: temperature 4, query_weight 1, support_weight 0.5, support_temperature 1, ce_weight 1/16 (the
accumulation factor reached the cross entropy alone), ce_branches ["ce"], standardise off. At those values a trained
teacher's soft labels are nearly hard and its softmaxed support rows nearly one-hot; ``standardise`` (z-scored
logits, Sun et al., CVPR 2024) and ``support_temperature = None`` (plain distances) keep what the teacher knows.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from students import StudentError
from students.backbones import LABEL_BRANCH, QUERY_BRANCH
from students.distill import DISTILLERS
from students.output import EpisodeOutput, query_logits

_EPS = 1e-8


def softened_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), mean over rows; logits (Q, way) -> scalar."""
    log_student = F.log_softmax(student / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher / temperature, dim=-1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2


def pearson_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - mean over rows of the Pearson correlation; (R, C) each -> scalar in [0, 2]."""
    student = student - student.mean(-1, keepdim=True)
    teacher = teacher - teacher.mean(-1, keepdim=True)
    norm = student.norm(dim=-1) * teacher.norm(dim=-1)
    return 1 - ((student * teacher).sum(-1) / (norm + _EPS)).mean()


def standardised(logits: Tensor) -> Tensor:
    """Each row with mean 0 and standard deviation 1 over the classes."""
    centred = logits - logits.mean(-1, keepdim=True)
    return centred / (logits.std(-1, keepdim=True, unbiased=False) + _EPS)


@DISTILLERS.register("d2m")
@dataclass(frozen=True)
class D2M:
    """The loss of the file's title. Reads logits and support distances of student and teacher."""

    temperature: float = 4.0
    query_weight: float = 1.0
    support_weight: float = 0.5
    support_temperature: float | None = None
    standardise: bool = True
    ce_weight: float = 1.0
    ce_branches: tuple[str, ...] = (QUERY_BRANCH, LABEL_BRANCH)

    def __call__(self, student: EpisodeOutput, teacher: EpisodeOutput | None, labels: Tensor) -> dict[str, Tensor]:
        """Parts "query", "support", "ce" (unweighted) and their weighted sum "loss"; labels int64 (Q,).

        teacher may be None only when both distillation weights are zero.
        """
        parts = {"ce": torch.stack([F.cross_entropy(student.logits[b], labels) for b in self.ce_branches]).sum()}
        loss = self.ce_weight * parts["ce"]
        if self.query_weight or self.support_weight:
            if teacher is None:
                raise StudentError("D2M distils from a teacher; give its output or set both weights to 0")
            parts["query"] = self._query(student.logits[QUERY_BRANCH], query_logits(teacher.logits).detach())
            parts["support"] = self._support(student.support_distances, teacher.support_distances.detach())
            loss = loss + self.query_weight * parts["query"] + self.support_weight * parts["support"]
        return {"loss": loss, **parts}

    def _query(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.standardise:
            student, teacher = standardised(student), standardised(teacher)
        return softened_kl(student, teacher, self.temperature)

    def _support(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.support_temperature is not None:
            student = F.softmax(student / self.support_temperature, dim=-1)
            teacher = F.softmax(teacher / self.support_temperature, dim=-1)
        return pearson_distance(student, teacher)


AS_RELEASED = D2M(
    temperature=4.0,
    query_weight=1.0,
    support_weight=0.5,
    support_temperature=1.0,
    standardise=False,
    ce_weight=1 / 16,
    ce_branches=(LABEL_BRANCH,),
)
"""The released ``fc_2_sup_dist``; with ``ce_branches`` on both branches it is what the paper's figure draws."""
