"""HyRSM's hybrid relation and set matching (Wang et al., CVPR 2022, sections 3.2 and 3.3), one query at a time.

Frames attend to the frames of their own video, then videos, pooled over time, to the videos of the episode: all
support and one query, so that queries do not see each other. Both are joined by a linear map and matched by the
bi-directional mean Hausdorff metric. A linear map of a concatenation is a sum, so its frame part is a video's key.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewdistill.students import StudentError
from fewdistill.students.heads import HEADS
from fewdistill.students.heads.base import Keys, TokenHead
from fewdistill.students.heads.frame_distances import EPS
from fewdistill.students.heads.matched import Matched, matched_frames, pair_weights
from fewdistill.students.heads.set_matching import both_ways
from fewdistill.students.heads.support import class_means, class_shares


class Relation(nn.Module):
    """Multi-head self-attention over a set, added to its input, layer-normalised: (..., n, D) -> (..., n, D)."""

    def __init__(self, width: int, attention_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_heads = attention_heads
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, members: Tensor) -> Tensor:
        """float32 (..., n, D) -> the same shape."""
        parts = self.project_in(members).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.attention_heads, -1)).transpose(-3, -2) for part in parts)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(-3, -2).flatten(-2)
        return self.norm(members + self.dropout(self.project_out(attended)))


@HEADS.register("hyrsm")
class HyRSM(TokenHead):
    """logit_c = -bi-directional mean Hausdorff distance between related query and class prototype frames.

    width must be a multiple of attention_heads. The auxiliary classification loss of the paper is not in it.
    """

    def __init__(
        self,
        width: int,
        frames: int = 8,
        *,
        attention_heads: int = 8,
        dropout: float = 0.1,
        logit_scale: float = 1.0,
    ) -> None:
        super().__init__(width, frames, logit_scale=logit_scale)
        if width % attention_heads:
            raise StudentError(f"{attention_heads} attention heads do not divide tokens of width {width}")
        self.within = Relation(width, attention_heads, dropout)
        self.between = Relation(width, attention_heads, dropout)
        self.of_frames = nn.Linear(width, width)
        self.of_videos = nn.Linear(width, width, bias=False)

    def project(self, tokens: Tensor) -> Keys:
        """Tokens float32 (N, T, D) -> mapped frames (N, T, D) and pooled videos (N, D); another T or D raises."""
        related = self.within(self.check(tokens))
        return self.of_frames(related), related.mean(1)

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from frames (B, S, T, D), videos (B, S, D), the query's likewise, labels int64 (B, S)."""
        return -self.logit_scale * both_ways(self._distances(support, labels, query, way))

    def explain(self, support: Keys, labels: Tensor, query: Keys, way: int) -> tuple[Matched, ...]:
        """The nearest related frames of query and prototype."""
        weights = pair_weights(both_ways, self._distances(support, labels, query, way))
        return (matched_frames("nearest", weights, labels, way),)

    def _distances(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Between related frames of queries and prototypes, (B, Q, way, T, T)."""
        (support_frames, support_videos), (query_frames, query_videos) = support, query
        queries = query_videos.shape[1]
        episode = torch.cat(
            [support_videos[:, None].expand(-1, queries, -1, -1), query_videos[:, :, None]], dim=2
        )  # (B, Q, S + 1, D): every query meets the support by itself
        related = self.of_videos(self.between(episode))
        shares = class_shares(labels, way, related)
        of_class = torch.einsum("bsc,bqsd->bqcd", shares, related[:, :, :-1])
        prototypes = class_means(support_frames, labels, way)[:, None] + of_class[..., None, :]  # (B, Q, way, T, D)
        frames = query_frames + related[:, :, -1:]
        product = torch.einsum("bqtd,bqcud->bqctu", frames, prototypes)
        norms = torch.linalg.vector_norm(frames, dim=-1)[:, :, None, :, None]
        norms = norms * torch.linalg.vector_norm(prototypes, dim=-1)[:, :, :, None]
        return 1 - product / (norms + EPS)
