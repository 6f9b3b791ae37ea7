"""Attention transfer (Zagoruyko & Komodakis, ICLR 2017), over frames."""

from dataclasses import dataclass

from torch import Tensor

from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import Terms, TokenDistiller
from fewdistill.students.distill.measures import unit
from fewdistill.students.output import EpisodeOutput


@DISTILLERS.register("attention")
@dataclass(frozen=True, kw_only=True)
class AttentionTransfer(TokenDistiller):
    """Squared distance between attention maps, mean over videos and frames.

    Restated: the paper's map is the channel energy at each position of a feature map. Cached tokens have frames for
    positions: a video's map is the energy sum_d x_td^2 of its T tokens, scaled to length 1. With tokens of equal
    length, such as layer-normalised ones, it says nothing; use token_norm = false.
    """

    def relations(self, tokens: Tensor, taught: Tensor, student: EpisodeOutput, labels: Tensor) -> Terms:
        """ "attention"."""
        ours, theirs = (unit(side.square().sum(-1)) for side in (tokens, taught))
        return {"attention": (1.0, (ours - theirs).square().mean())}
