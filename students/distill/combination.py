"""Any weighted sum of parts, and the released losses written in it.

Lite-MKD's released trainer offers 24 losses; they are sums of four parts over named outputs, so they are data here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH
from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import NoBaseTerms, Temperature, label_tokens, teacher_tokens
from fewdistill.students.distill.measures import EPS, pearson_distance, softened_kl
from fewdistill.students.output import EpisodeOutput, query_logits
from fewdistill.students.registry import nearest

SUPPORT, TOKENS, TEACHER = "support", "tokens", "teacher"


@dataclass(frozen=True)
class Part:
    """weight x loss(of), and with a gate (slope x g(first, second) + weight) x loss(of).

    loss: "ce" (cross entropy on the labels), "kd" (T^2 KL), "pc" (1 - Pearson of softmaxed rows), "mse". of: a branch
    of the logits, "support" (support distances) or "tokens". gate: two branches, or a branch and "teacher";
    g(a, b) = 1 - exp(-CE_a / CE_b), in [0, 1), without gradient.
    """

    loss: Literal["ce", "kd", "pc", "mse"]
    of: str
    weight: float = 1.0
    slope: float = 0.0
    gate: tuple[str, str] | None = None


@DISTILLERS.register("combination")
@dataclass(frozen=True, kw_only=True)
class Combination(NoBaseTerms):
    """The sum of ``parts``, or of the released loss that ``released`` names (see RELEASED), D2M where neither is given.

    StudentError when both are given, or no loss has that name.
    """

    released: str | None = None
    parts: tuple[Part, ...] = ()
    temperature: Temperature = 4.0

    vanishes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.parts and self.released:
            raise StudentError("a combination takes parts, or the name of a released loss, not both")
        if not self.parts:
            name = self.released or "fc_2_sup_dist"
            if name not in RELEASED:
                raise StudentError(f"no released loss {name!r}: {nearest(name, RELEASED)}")
            object.__setattr__(self, "parts", RELEASED[name])

    @property
    def reads(self) -> frozenset[str]:
        """What its parts need."""
        fields = {SUPPORT: "support_distances", TOKENS: "tokens"}
        taught = {fields.get(part.of, "logits") for part in self.parts if part.loss != "ce"}
        return frozenset(taught | {"logits" for part in self.parts if part.gate and TEACHER in part.gate})

    def __call__(self, student: EpisodeOutput, teacher: EpisodeOutput | None, labels: Tensor) -> dict[str, Tensor]:
        """See Distiller; parts are named loss_of, for example "kd_kl", and "ce" is their label part, weighted."""
        if teacher is None and self.reads:
            raise StudentError("this combination distils from a teacher: give its output")
        teacher = teacher or student
        total = student.support_distances.new_zeros(())
        loss, found = total, {"ce": total}
        for part in self.parts:
            value = self._value(part, student, teacher, labels)
            weighted = self._weight(part, student, teacher, labels) * value
            loss = loss + weighted
            if part.loss == "ce":
                found["ce"] = found["ce"] + weighted
            else:
                found[f"{part.loss}_{part.of}"] = value
        return {"loss": loss, **found}

    def _value(self, part: Part, student: EpisodeOutput, teacher: EpisodeOutput, labels: Tensor) -> Tensor:
        ours = _of(student, part.of)
        if part.loss == "ce":
            return F.cross_entropy(ours, labels)
        theirs = teacher_tokens(teacher) if part.of == TOKENS else _taught(teacher, part.of)
        if part.loss == "mse":
            return F.mse_loss(ours, theirs)
        if part.loss == "kd":
            return softened_kl(ours, theirs, self.temperature)
        return pearson_distance(ours.softmax(-1), theirs.softmax(-1))

    def _weight(self, part: Part, student: EpisodeOutput, teacher: EpisodeOutput, labels: Tensor) -> Tensor | float:
        if part.gate is None:
            return part.weight
        with torch.no_grad():
            first, second = (
                F.cross_entropy(query_logits(teacher.logits) if name == TEACHER else _of(student, name), labels)
                for name in part.gate
            )
            return part.slope * (1 - torch.exp(-first / (second + EPS))) + part.weight


def _of(output: EpisodeOutput, name: str) -> Tensor:
    if name == SUPPORT:
        return output.support_distances
    if name == TOKENS:
        return label_tokens(output)
    if name not in output.logits:
        raise StudentError(f"no branch {name!r}: this network has {', '.join(output.logits)}")
    return output.logits[name]


def _taught(teacher: EpisodeOutput, name: str) -> Tensor:
    """What the teacher says to a student's output: under its name, else its summed logits."""
    known = name == SUPPORT or name in teacher.logits
    return (_of(teacher, name) if known else query_logits(teacher.logits)).detach()


def _released() -> Mapping[str, tuple[Part, ...]]:
    """Spec: the trainer's table. Names of outputs are ours where we have them: "kl" and "ce" for the two branches."""
    kl, label = QUERY_BRANCH, LABEL_BRANCH
    few = 1 / 16  # gradient accumulation reached the cross entropy alone
    ce, ce_kl = Part("ce", label, few), Part("ce", kl, few)
    kd, kd_kl = Part("kd", label, 2.0), Part("kd", kl)
    pc_kl, pc, kd_support = Part("pc", kl), Part("pc", SUPPORT, 0.5), Part("kd", SUPPORT, 0.5)
    gate = (label, kl)
    strm = Part("ce", "pat", 0.1 * few), Part("ce", "fr", few)
    one = ce_kl, kd_kl, pc

    def enriched(first: str, second: str) -> tuple[Part, ...]:
        return Part("kd", first), pc, Part("ce", second, few), Part("kd", "pat", 0.1), strm[0]

    return {
        "ce": (ce,),
        "KD": (ce, kd),
        "Dist_KD": (ce, Part("pc", label, 2.0)),
        "wsl": (ce, Part("kd", label, 0.0, 2.0, (label, TEACHER))),
        "KL_feature": (ce, kd, Part("mse", TOKENS)),
        "support_sim": (ce, Part("kd", "sim"), Part("kd", label)),
        "fc_2": (ce, Part("kd", kl, 2.0)),
        "fc_2_wsl": (Part("kd", kl, 1.0, 1.0, gate), Part("ce", label, 2 * few, -few, gate)),
        "fc_2_sup": (
            Part("kd", kl, 1.0, 1.0, gate),
            Part("kd", SUPPORT, 0.2 * few, -0.1 * few, gate),
            Part("ce", label, 2 * few, -few, gate),
        ),
        "fc_2_sup_dist": (kd_kl, pc, ce),
        "fc_2_sup_dist_cece": (kd_kl, ce_kl, pc, ce),
        "fc_2_sup_kl": (kd_kl, kd_support, ce),
        "fc_2_sup_klklcece": (kd_kl, ce_kl, kd_support, ce),
        "fc_2_sup_distdistcece": (pc_kl, ce_kl, pc, ce),
        "fc_2_sup_disver": (pc_kl, kd_support, ce_kl, ce),
        "fc_2_sup_dist_wsl": (
            Part("kd", kl, 0.5, 1.0, gate),
            Part("pc", SUPPORT, 0.75, -0.5, gate),
            Part("ce", label, 1.5 * few, -few, gate),
        ),
        "fc_2_sup_2": (kd_kl, Part("pc", "sup_kl"), ce, Part("pc", "sup_ce")),
        "fc_1_sup": one,
        "e_dist_1fc_sup": one,
        "fc_sup": (ce_kl, pc),
        "strm": strm,
        "strm_KD": (*strm, Part("kd", "fr", 2.0)),
        "strm_fc_2_sup_dist": enriched("fr1", "fr2"),
        "strm_1fc_sup": enriched("fr", "fr"),
    }


RELEASED = MappingProxyType(_released())
"""The released losses by their released names. Those over "pat", "fr", "sim", "sup_kl" and "sup_ce" need networks that
give these outputs; the students here give "kl", "ce", the support distances and tokens.
"""
