"""What every head is: a projection made once per video, and a match of labelled support against queries."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

Keys = tuple[Tensor, ...]
"""What a head computes once per video: a tuple of tensors whose first axis is the video."""


class Head(nn.Module):
    """A matching rule. Labels, not order, say which class a support video belongs to."""

    @abstractmethod
    def project(self, tokens: Tensor) -> Keys:
        """Tokens float32 (N, T, D) -> keys, each (N, ...)."""

    @abstractmethod
    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) of B episodes: keys (B, S, ...) and (B, Q, ...), labels int64 (B, S) in 0..way-1."""

    def forward(self, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
        """Tokens of support (S, T, D) and query (Q, T, D), labels (S,) -> logits (Q, way)."""
        support_keys, query_keys = split_keys(self.project(torch.cat([support, query])), support.shape[0])
        return self.match(support_keys, labels[None], query_keys, way)[0]


def split_keys(keys: Keys, support: int) -> tuple[Keys, Keys]:
    """Keys of one episode, support videos first -> (support, query), each with a leading batch axis of 1."""
    return tuple(k[None, :support] for k in keys), tuple(k[None, support:] for k in keys)


def gather_keys(keys: Keys, videos: Tensor) -> Keys:
    """Keys (V, ...) of all videos at int64 rows (B, n) -> keys (B, n, ...)."""
    return tuple(k[videos] for k in keys)
