"""Frame-to-frame cosine distances between queries and support, what alignment rules start from."""

import torch
from torch import Tensor

from students.heads.base import Keys, TokenHead

EPS = 0.01  # added to the product of the norms, as released with OTAM


class FrameDistanceHead(TokenHead):
    """A rule on the matrix of frame distances; the keys of a video are its tokens (N, T, D) and their norms (N, T)."""

    def project(self, tokens: Tensor) -> Keys:
        """Tokens float32 (N, T, D) -> the tokens and their norms (N, T); another T or D raises StudentError."""
        tokens = self.check(tokens)
        return tokens, torch.linalg.vector_norm(tokens, dim=-1)


def frame_distances(query: Keys, others: Keys) -> Tensor:
    """1 - cosine of every query frame with every frame of the others: keys (B, Q, T, ...) and (B, S, T, ...) ->
    (B, Q, S, T, T), query frames first. The cosine's denominator is the product of the norms + 0.01, as released."""
    (tokens, norms), (other_tokens, other_norms) = query, others
    batch, queries, frames, width = tokens.shape
    product = tokens.reshape(batch, queries * frames, width) @ other_tokens.flatten(1, 2).transpose(1, 2)
    norm = norms.reshape(batch, -1, 1) * other_norms.reshape(batch, 1, -1)
    distance = 1 - product / (norm + EPS)
    return distance.unflatten(2, other_norms.shape[1:]).unflatten(1, (queries, frames)).permute(0, 1, 3, 2, 4)
