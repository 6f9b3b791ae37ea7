"""OTAM: ordered temporal alignment (Cao et al., CVPR 2020, equations 6-8), by soft dynamic programming.

A zero column on either side of the distance matrix lets an alignment leave out frames at both ends. The paper's
recurrence moves down in those columns only; the one in common use also moves down in the first real column. Both
directions, query to support and back, are added; a class scores the negative mean over its support videos.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fewdistill.students.heads import HEADS
from fewdistill.students.heads.frame_distances import FrameDistanceHead
from fewdistill.students.heads.matched import Rule


def alignment_cost(distances: Tensor, smoothing: float, *, down_in_first: bool) -> Tensor:
    """Soft alignment cost of (..., L, M) frame distances -> (...,): rows advance or stay, columns always advance.

    smoothing: lambda of the soft minimum -lambda log sum exp(-x / lambda). down_in_first: whether the first real
    column may be stayed in over several rows, as in the released recurrence.
    """
    padded = F.pad(distances, (1, 1))
    rows, columns = padded.shape[-2:]
    start = torch.zeros_like(padded[..., 0, 0])

    def soft_minimum(*costs: Tensor) -> Tensor:
        return -smoothing * torch.logsumexp(torch.stack(costs) / -smoothing, dim=0)

    above = [start]
    for column in range(1, columns):
        above.append(above[-1] + padded[..., 0, column])
    for row in range(1, rows):
        current = [start]
        for column in range(1, columns):
            ways = [above[column - 1], current[-1]]
            if column == columns - 1 or (down_in_first and column == 1):
                ways.append(above[column])
            current.append(padded[..., row, column] + soft_minimum(*ways))
        above = current
    return above[-1]


class _OTAM(FrameDistanceHead):
    rule: Rule = "alignment"
    down_in_first: bool

    def __init__(self, width: int, frames: int = 8, *, smoothing: float = 0.1, logit_scale: float = 1.0) -> None:
        super().__init__(width, frames, logit_scale=logit_scale)
        self.smoothing = smoothing

    def cost(self, distances: Tensor) -> Tensor:
        """Both directions' alignment costs, added: (..., L, M) -> (...,)."""
        distances = distances.to(torch.promote_types(distances.dtype, torch.float32))  # sums of exponentials
        both = torch.stack([distances, distances.transpose(-1, -2)])
        return alignment_cost(both, self.smoothing, down_in_first=self.down_in_first).sum(0)


@HEADS.register("otam")
class OTAM(_OTAM):
    """OTAM by the paper's recurrence."""

    down_in_first = False


@HEADS.register("otam_released")
class OTAMReleased(_OTAM):
    """OTAM by the recurrence in common use. The released teacher returns softmax(logits); no loss here expects that."""

    down_in_first = True
