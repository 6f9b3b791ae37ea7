"""Frame-to-frame cosine distances between queries and support, and the base class of heads that match by them."""

from abc import abstractmethod

import torch
from torch import Tensor

from fewdistill.students.heads.base import Keys, TokenHead
from fewdistill.students.heads.matched import Matched, Rule, matched_frames, pair_weights
from fewdistill.students.heads.support import class_shares

EPS = 0.01  # added to the product of the norms, as released with OTAM


class FrameDistanceHead(TokenHead):
    """A rule on the matrix of frame distances; the keys of a video are its tokens (N, T, D) and their norms (N, T).

    logit_c = -mean over the support videos of c of ``cost``.
    """

    rule: Rule = "nearest"

    @abstractmethod
    def cost(self, distances: Tensor) -> Tensor:
        """What matching one video's frames with another's costs: (..., L, M) frame distances -> (...,)."""

    def project(self, tokens: Tensor) -> Keys:
        """Tokens float32 (N, T, D) -> the tokens and their norms (N, T); another T or D raises StudentError."""
        tokens = self.check(tokens)
        return tokens, torch.linalg.vector_norm(tokens, dim=-1)

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from tokens and norms (B, S, T, ...), (B, Q, T, ...), labels int64 (B, S)."""
        cost = self.cost(frame_distances(query, support))
        return -self.logit_scale * cost @ class_shares(labels, way, cost)

    def explain(self, support: Keys, labels: Tensor, query: Keys, way: int) -> tuple[Matched, ...]:
        """The pairs of frames that the costs are made of."""
        weights = pair_weights(self.cost, frame_distances(query, support))
        return (matched_frames(self.rule, weights, labels, way),)


def frame_distances(query: Keys, others: Keys) -> Tensor:
    """1 - cosine of every query frame with every frame of the others: keys (B, Q, T, ...) and (B, S, T, ...) ->
    (B, Q, S, T, T), query frames first. The cosine's denominator is the product of the norms + 0.01, as released."""
    (tokens, norms), (other_tokens, other_norms) = query, others
    batch, queries, frames, width = tokens.shape
    product = tokens.reshape(batch, queries * frames, width) @ other_tokens.flatten(1, 2).transpose(1, 2)
    norm = norms.reshape(batch, -1, 1) * other_norms.reshape(batch, 1, -1)
    distance = 1 - product / (norm + EPS)
    return distance.unflatten(2, other_norms.shape[1:]).unflatten(1, (queries, frames)).permute(0, 1, 3, 2, 4)
