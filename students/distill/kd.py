"""KD (Hinton et al., 2015), and its sample-weighted form WSLD (Zhou et al., ICLR 2021), on episode logits."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import LogitDistiller, Temperature, Terms
from fewdistill.students.distill.measures import EPS, softened_kl_rows


@DISTILLERS.register("kd")
@dataclass(frozen=True, kw_only=True)
class KD(LogitDistiller):
    """T^2 KL(teacher || student), mean over queries. The classes are those of the episode, in the teacher as here."""

    temperature: Temperature = 4.0

    def levels(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Terms:
        """ "kd"."""
        return {"kd": (1.0, softened_kl_rows(student, teacher, self.temperature).mean())}


@DISTILLERS.register("wsld")
@dataclass(frozen=True, kw_only=True)
class WSLD(LogitDistiller):
    """KD with each query weighted by 1 - exp(-CE_student / CE_teacher): least where the student leads already.

    Restated: the paper weighs samples of fixed classes; here both cross entropies are of the episode's logits.
    """

    temperature: Temperature = 4.0

    def levels(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Terms:
        """ "wsld"."""
        with torch.no_grad():
            ours, theirs = (F.cross_entropy(logits, labels, reduction="none") for logits in (student, teacher))
            share = 1 - torch.exp(-ours / (theirs + EPS))
        return {"wsld": (1.0, (share * softened_kl_rows(student, teacher, self.temperature)).mean())}
