"""STRM: TRX on frame-enriched tokens beside a nearest-pair rule on the plain ones (Thatipelli et al., CVPR 2022).

The patch enrichment of the paper belongs to the encoder (students/enrichment.py); a head sees tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewdistill.students import StudentError
from fewdistill.students.enrichment import FrameEnrichment
from fewdistill.students.heads import HEADS
from fewdistill.students.heads.base import Keys, TokenHead
from fewdistill.students.heads.matched import Matched
from fewdistill.students.heads.support import class_shares
from fewdistill.students.heads.trx import TRX, frame_tuples, per_position, tuple_members


class NearestPair(nn.Module):
    """logit_c = -mean over the query's frame pairs of the distance to the nearest frame pair of class c."""

    def __init__(self, width: int, frames: int, pair_width: int = 1024, dropout: float = 0.1) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width, pair_width)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("members", tuple_members(frames, 2), persistent=False)
        self.members: Tensor

    def project(self, tokens: Tensor) -> Tensor:
        """Tokens (N, T, D) -> rectified embeddings of all frame pairs (N, P, pair_width)."""
        frames = per_position(self.dropout(tokens), self.linear, 2)
        return F.relu(self.members.to(frames.dtype) @ frames)

    @staticmethod
    def match(support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
        """Logits (B, Q, way) from pairs (B, S, P, h) and (B, Q, P, h), labels int64 (B, S)."""
        batch, queries, pairs, _ = query.shape
        distance = torch.cdist(query.flatten(1, 2), support.flatten(1, 2), compute_mode="donot_use_mm_for_euclid_dist")
        nearest = distance.unflatten(2, (-1, pairs)).amin(-1)  # (B, Q * P, S): the nearest pair of each support video
        of_class = torch.full((batch, queries * pairs, way), torch.inf, dtype=distance.dtype, device=distance.device)
        column = labels[:, None].expand(-1, queries * pairs, -1)
        nearest = of_class.scatter_reduce(2, column, nearest, "amin", include_self=False)
        return -nearest.unflatten(1, (queries, pairs)).mean(2)

    def explain(self, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Matched:
        """The nearest frame pair of each class for each of the query's."""
        (batch, queries, pairs, _), videos = query.shape, labels.shape[1]
        distance = torch.cdist(query.flatten(1, 2), support.flatten(1, 2), compute_mode="donot_use_mm_for_euclid_dist")
        weights = torch.zeros_like(distance)
        for column in range(way):
            of_others = (labels != column).repeat_interleave(pairs, dim=1)[:, None]
            nearest = distance.masked_fill(of_others, torch.inf).argmin(-1, keepdim=True)
            weights.scatter_(2, nearest, 1 / pairs)
        frames = frame_tuples(self.members.shape[1] // 2, 2).to(labels.device)
        return Matched("nearest", frames, weights.view(batch, queries, pairs, videos, pairs))


@HEADS.register("strm")
class STRM(TokenHead):
    """Logits 0.1 * nearest pair + TRX on enriched tokens, the released inference rule.

    width, frames, head_width, dropout and logit_scale as for TRX, over pairs; pair_width of the nearest-pair rule.
    """

    pair_weight = 0.1

    def __init__(
        self,
        width: int,
        frames: int = 8,
        *,
        head_width: int = 1152,
        pair_width: int = 1024,
        dropout: float = 0.1,
        logit_scale: float = 1.0,
    ) -> None:
        super().__init__(width, frames, logit_scale=logit_scale)
        if frames < 2:
            raise StudentError("STRM compares pairs of frames: clips of one frame have none")
        self.nearest = NearestPair(width, frames, pair_width, dropout)
        self.enrich = FrameEnrichment(width, frames)
        self.trx = TRX(width, frames, head_width=head_width, dropout=dropout)

    def project(self, tokens: Tensor) -> Keys:
        """Tokens float32 (N, T, D) -> pair embeddings (N, P, pair_width), then what TRX needs."""
        tokens = self.check(tokens)
        return self.nearest.project(tokens), *self.trx.project(self.enrich(tokens))

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from keys (B, S, P, ...) and (B, Q, P, ...), labels int64 (B, S)."""
        class_shares(labels, way, support[0])  # a class without support is refused before its distance is infinite
        pairs = self.nearest.match(support[0], labels, query[0], way)
        frames = self.trx.match(support[1:], labels, query[1:], way)
        return self.logit_scale * (self.pair_weight * pairs + frames)

    def explain(self, support: Keys, labels: Tensor, query: Keys, way: int) -> tuple[Matched, ...]:
        """TRX's attention over pairs of enriched frames, and the nearest pairs of plain ones."""
        pairs = self.nearest.explain(support[0], labels, query[0], way)
        return *self.trx.explain(support[1:], labels, query[1:], way), pairs
