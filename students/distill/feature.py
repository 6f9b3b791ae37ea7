"""Feature distillation through a learnt projector: FitNets (Romero et al., ICLR 2015) and SRD (Miles & Mikolajczyk,
AAAI 2024, "Understanding the role of the projector"). Features are tokens, one a frame.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewdistill.students import StudentError
from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import NoBaseTerms, Weight, label_loss, label_tokens, summed, teacher_tokens
from fewdistill.students.output import EpisodeOutput


class _Projected(NoBaseTerms, nn.Module):
    """Labels and one term between projected student tokens and teacher tokens, both (N, T, width).

    The projector is square and starts as the identity: what it does to a token is learnt, not drawn.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"tokens"})
    vanishes: ClassVar[bool] = True

    def __init__(self, width: int, weight: Weight = 1.0, ce_weight: Weight = 1.0) -> None:
        super().__init__()
        self.weight = weight
        self.ce_weight = ce_weight
        self.projector = nn.Linear(width, width)
        nn.init.eye_(self.projector.weight)
        nn.init.zeros_(self.projector.bias)

    def forward(self, student: EpisodeOutput, teacher: EpisodeOutput | None, labels: Tensor) -> dict[str, Tensor]:
        """See Distiller."""
        if teacher is None:
            raise StudentError(f"{type(self).__name__} distils from a teacher: give its output")
        tokens, taught = label_tokens(student), teacher_tokens(teacher)
        with torch.autocast(tokens.device.type, enabled=False):
            term = self.distance(self.projector(tokens), taught)
        ce = label_loss(student, labels, tuple(student.logits))
        return summed(self.ce_weight, ce, {"feature": (self.weight, term)})

    @abstractmethod
    def distance(self, projected: Tensor, taught: Tensor) -> Tensor:
        """Projected student tokens and the teacher's -> scalar."""


@DISTILLERS.register("fitnet")
class FitNet(_Projected):
    """Mean squared error between projected student tokens and the teacher's tokens."""

    def distance(self, projected: Tensor, taught: Tensor) -> Tensor:
        """Mean over all entries."""
        return F.mse_loss(projected, taught)


@DISTILLERS.register("srd")
class SRD(_Projected):
    """Both sides batch-normalised without weights, then log sum |difference|^alpha; projector and norm as in the paper.

    alpha 4 as published. The logarithm keeps it from being 0 at the teacher; 1e-4 under it keeps it finite there.
    """

    vanishes: ClassVar[bool] = False

    def __init__(self, width: int, weight: Weight = 1.0, ce_weight: Weight = 1.0, alpha: Weight = 4.0) -> None:
        super().__init__(width, weight, ce_weight)
        self.alpha = alpha

    def distance(self, projected: Tensor, taught: Tensor) -> Tensor:
        """Statistics over all frames of the episode; in training and scoring alike they are the batch's own."""
        ours, theirs = (F.batch_norm(side.flatten(0, 1), None, None, training=True) for side in (projected, taught))
        return ((ours - theirs).abs().pow(self.alpha).sum() + 1e-4).log()
