"""The interface of distillers and their base classes: cross entropy on the labels plus weighted distillation terms."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, MinLen
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH
from fewdistill.students.distill.measures import standardised
from fewdistill.students.output import EpisodeOutput, query_logits

Weight = Annotated[float, Ge(0)]
Temperature = Annotated[float, Gt(0)]
Terms = Mapping[str, tuple[float, Tensor]]
"""Distillation terms by name: weight and unweighted value."""


class Distiller(Protocol):
    """A loss on one episode, and what it adds to base training, which has no episodes.

    reads: fields of the teacher's EpisodeOutput it needs ("logits", "support_distances", "tokens", "streams"); an
    empty set means that no teacher is needed. base_reads: what it needs of the teacher in base training, {"tokens"} or
    nothing. vanishes: its terms are 0 where the student equals the teacher. Inheriting ``NoBaseTerms`` gives the
    members about base training to a loss that has no part in it.
    """

    @property
    def reads(self) -> frozenset[str]: ...

    @property
    def base_reads(self) -> frozenset[str]: ...

    @property
    def vanishes(self) -> bool: ...

    def __call__(self, student: EpisodeOutput, teacher: EpisodeOutput | None, labels: Tensor) -> dict[str, Tensor]:
        """Query labels int64 (Q,) -> "loss", to be minimised, and its unweighted parts; no gradient for the teacher."""
        ...

    def base_terms(self, tokens: Mapping[str, Tensor], teacher_tokens: Tensor) -> Terms:
        """Distillation terms of a batch of base training, which the suite's base.relation_weight multiplies.

        Tokens of the student by branch and of the teacher, float32 (N, T, D) each, N >= 2 clips. The names and
        number of the terms do not depend on the batch; there are none where ``base_reads`` is empty.
        """
        ...


class NoBaseTerms:
    """The part in base training of a distiller that acts in episodes alone: none."""

    base_reads: ClassVar[frozenset[str]] = frozenset()

    def base_terms(self, tokens: Mapping[str, Tensor], teacher_tokens: Tensor) -> Terms:
        """No terms."""
        return {}


def label_loss(student: EpisodeOutput, labels: Tensor, branches: tuple[str, ...]) -> Tensor:
    """Sum over branches of the mean cross entropy of their episode logits."""
    return torch.stack([F.cross_entropy(student.logits[branch], labels) for branch in branches]).sum()


def summed(ce_weight: float, ce: Tensor, terms: Terms) -> dict[str, Tensor]:
    """The parts and their weighted sum."""
    loss = ce_weight * ce
    for weight, value in terms.values():
        loss = loss + weight * value
    return {"loss": loss, "ce": ce, **{name: value for name, (_, value) in terms.items()}}


@dataclass(frozen=True, kw_only=True)
class Labelled(NoBaseTerms, ABC):
    """Cross entropy on the labels beside a subclass's distillation terms.

    ce_weight: of the cross entropy; ce_branches: the student's branches it is summed over.
    """

    ce_weight: Weight = 1.0
    ce_branches: Annotated[tuple[str, ...], MinLen(1)] = (QUERY_BRANCH, LABEL_BRANCH)

    reads: ClassVar[frozenset[str]] = frozenset({"logits"})
    vanishes: ClassVar[bool] = True

    def __call__(self, student: EpisodeOutput, teacher: EpisodeOutput | None, labels: Tensor) -> dict[str, Tensor]:
        """See Distiller; StudentError when a teacher is needed and none is given."""
        if self.reads and teacher is None:
            raise StudentError(f"{type(self).__name__} distils from a teacher: give its output")
        terms = self.terms(student, teacher or student, labels)
        return summed(self.ce_weight, label_loss(student, labels, self.ce_branches), terms)

    @abstractmethod
    def terms(self, student: EpisodeOutput, teacher: EpisodeOutput, labels: Tensor) -> Terms:
        """The distillation terms; ``teacher`` is the student where ``reads`` is empty."""


@dataclass(frozen=True, kw_only=True)
class LogitDistiller(Labelled):
    """A loss between the student's query branch and the teacher's logits.

    weight: of the sum of its terms. standardise: z-score both rows first (Sun et al., CVPR 2024), the wrapper that
    takes the teacher's scale out of any logit loss.
    """

    weight: Weight = 1.0
    standardise: bool = False

    def terms(self, student: EpisodeOutput, teacher: EpisodeOutput, labels: Tensor) -> Terms:
        """The subclass's levels, each times ``weight``."""
        ours, theirs = (
            at_least_float32(distilled_logits(student)),
            at_least_float32(query_logits(teacher.logits).detach()),
        )
        if self.standardise:
            ours, theirs = standardised(ours), standardised(theirs)
        with torch.autocast(ours.device.type, enabled=False):
            found = self.levels(ours, theirs, labels)
        return {name: (self.weight * share, value) for name, (share, value) in found.items()}

    @abstractmethod
    def levels(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Terms:
        """Logits (Q, way) of both and labels (Q,) -> terms."""


@dataclass(frozen=True, kw_only=True)
class TokenDistiller(Labelled):
    """A loss between the tokens of the student's label branch and the teacher's, both (S + Q, T, D).

    weight: of the sum of its terms.
    """

    weight: Weight = 1.0

    reads: ClassVar[frozenset[str]] = frozenset({"tokens"})

    def terms(self, student: EpisodeOutput, teacher: EpisodeOutput, labels: Tensor) -> Terms:
        """The subclass's relations, each times ``weight``."""
        tokens, taught = label_tokens(student), teacher_tokens(teacher)
        with torch.autocast(tokens.device.type, enabled=False):
            found = self.relations(tokens, taught, student, labels)
        return {name: (self.weight * share, value) for name, (share, value) in found.items()}

    @abstractmethod
    def relations(self, tokens: Tensor, taught: Tensor, student: EpisodeOutput, labels: Tensor) -> Terms:
        """Tokens of student and teacher -> terms; ``student`` for what else an episode says."""


def at_least_float32(value: Tensor) -> Tensor:
    """The value in float32, or float64 as it is: differences of large squares do not survive autocast's bfloat16."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def distilled_logits(student: EpisodeOutput) -> Tensor:
    """The logits that distillation moves: the query branch's, or the sum where there is no such branch."""
    found = student.logits.get(QUERY_BRANCH)
    return query_logits(student.logits) if found is None else found


def label_tokens(student: EpisodeOutput) -> Tensor:
    """The student's tokens (S + Q, T, D) that relations are taken from: the label branch's, else the first branch's."""
    if not student.tokens:
        raise StudentError("this loss reads tokens, and the student's output carries none")
    return at_least_float32(student.tokens.get(LABEL_BRANCH, next(iter(student.tokens.values()))))


def teacher_tokens(teacher: EpisodeOutput) -> Tensor:
    """The teacher's tokens (S + Q, T, D), without gradient."""
    if not teacher.tokens:
        raise StudentError("this loss reads the teacher's tokens, and its output carries none")
    return at_least_float32(next(iter(teacher.tokens.values())).detach())


def all_labels(student: EpisodeOutput, labels: Tensor) -> Tensor:
    """Labels of support, then queries: int64 (S + Q,)."""
    return torch.cat([support_labels(student), labels])


def support_labels(student: EpisodeOutput) -> Tensor:
    """The labels of the support; StudentError when the output does not carry them."""
    if student.support_labels is None:
        raise StudentError("this loss reads the support's labels, and the student's output carries none")
    return student.support_labels
