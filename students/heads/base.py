"""The interface of heads: project each video once, then match queries against labelled support."""

from abc import abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fewdistill.students import StudentError

if TYPE_CHECKING:
    from fewdistill.students.heads.matched import Matched

Keys = tuple[Tensor, ...]
"""The projection of videos by a head: a tuple of tensors whose first axis is the video."""


class Head(nn.Module):
    """A matching rule. Labels, not order, say which class a support video belongs to."""

    @abstractmethod
    def project(self, tokens: Tensor) -> Keys:
        """Tokens float32 (N, T, D) -> keys, each (N, ...)."""

    @abstractmethod
    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) of B episodes: keys (B, S, ...) and (B, Q, ...), labels int64 (B, S) in 0..way-1."""

    def explain(self, support: Keys, labels: Tensor, query: Keys, way: int) -> "tuple[Matched, ...] | None":
        """Which frames ``match`` matched, given the same; None for a rule that matches none. Not made for speed."""
        return None

    def forward(self, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
        """Tokens of support (S, T, D) and query (Q, T, D), labels (S,) -> logits (Q, way)."""
        support_keys, query_keys = split_keys(self.project(torch.cat([support, query])), support.shape[0])
        return self.match(support_keys, labels[None], query_keys, way)[0]


class TokenHead(Head):
    """A rule on tokens float32 (N, T, D) of fixed T and D; ``logit_scale`` multiplies its logits."""

    def __init__(self, width: int, frames: int = 8, *, logit_scale: float = 1.0) -> None:
        super().__init__()
        self.width = width
        self.frames = frames
        self.logit_scale = logit_scale

    def check(self, tokens: Tensor) -> Tensor:
        """The tokens; another T or D raises StudentError."""
        if tokens.shape[1:] != (self.frames, self.width):
            raise StudentError(
                f"the head was built for tokens (N, {self.frames}, {self.width}), got {tuple(tokens.shape)}"
            )
        return tokens


def split_keys(keys: Keys, support: int) -> tuple[Keys, Keys]:
    """Keys of one episode, support videos first -> (support, query), each with a leading batch axis of 1."""
    return tuple(k[None, :support] for k in keys), tuple(k[None, support:] for k in keys)


def gather_keys(keys: Keys, videos: Tensor) -> Keys:
    """Keys (V, ...) of all videos at int64 rows (B, n) -> keys (B, n, ...)."""
    return tuple(k[videos] for k in keys)
