"""DKD (Zhao et al., CVPR 2022) and NKD (Yang et al., ICCV 2023): the true class and the others taught apart.

Both are restated on episode logits: the target is the query's class in its episode, the others the remaining ways.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import LogitDistiller, Temperature, Terms, Weight
from fewdistill.students.distill.measures import non_target, softened_kl


def _target_log_odds(logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Two logits a row whose softmax is (p, 1 - p), p the softened probability of the true class: (Q, 2)."""
    scaled = logits / temperature
    target = scaled.gather(1, labels[:, None])
    others = non_target(scaled, labels).logsumexp(1, keepdim=True)
    return torch.cat([target, others], 1)


@DISTILLERS.register("dkd")
@dataclass(frozen=True, kw_only=True)
class DKD(LogitDistiller):
    """alpha TCKD + beta NCKD. TCKD: T^2 KL of (p_target, 1 - p_target); NCKD: T^2 KL among the other classes.

    alpha 1, beta 8, T 4 are the public defaults for CIFAR-100; beta was tuned by hand for each pair of networks.
    """

    temperature: Temperature = 4.0
    alpha: Weight = 1.0
    beta: Weight = 8.0

    def levels(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Terms:
        """ "target" and "non_target"."""
        t = self.temperature
        ours, theirs = (_target_log_odds(logits, labels, t) for logits in (student, teacher))
        target = softened_kl(ours, theirs, 1.0) * t**2
        others = softened_kl(non_target(student, labels), non_target(teacher, labels), t)
        return {"target": (self.alpha, target), "non_target": (self.beta, others)}


@DISTILLERS.register("nkd")
@dataclass(frozen=True, kw_only=True)
class NKD(LogitDistiller):
    """-p_target log q_target, and gamma T^2 times the cross entropy among the other classes, normalised.

    p, q: probabilities of teacher and student, at T = 1 for the target. Cross entropies: not 0 at the teacher.
    """

    temperature: Temperature = 1.0
    gamma: Weight = 1.5

    vanishes: ClassVar[bool] = False

    def levels(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Terms:
        """ "target" and "non_target"."""
        chosen = labels[:, None]
        target = -(teacher.softmax(1).gather(1, chosen) * student.log_softmax(1).gather(1, chosen)).mean()
        t = self.temperature
        theirs = F.softmax(non_target(teacher, labels) / t, 1)
        ours = F.log_softmax(non_target(student, labels) / t, 1)
        return {"target": (1.0, target), "non_target": (self.gamma, -(theirs * ours).sum(1).mean() * t**2)}
