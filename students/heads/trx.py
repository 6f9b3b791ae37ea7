"""TRX: temporal-relational cross-transformers (Perrett et al., CVPR 2021, equations 1-7).

Frame tuples are compared by attention: each query tuple attends to the support tuples of a class, and the class
score is the negative squared distance between the query's tuple values and the prototype it attended to.

A linear map of concatenated frames is a sum of per-frame maps, one weight slice per tuple position, so each frame
is projected once per position and tuples are gathered and added: the same numbers for a third of the work.
"""

import math
from itertools import combinations

import torch
from torch import Tensor, nn

from students import StudentError
from students.encoding import frame_encoding
from students.heads import HEADS
from students.heads.base import Keys, TokenHead


def frame_tuples(frames: int, tuple_size: int) -> Tensor:
    """Frame indices of all ordered tuples, int64 (P, tuple_size); StudentError when a clip is shorter than a tuple."""
    if not 1 <= tuple_size <= frames:
        raise StudentError(f"TRX tuples of {tuple_size} frames need clips of at least as many, not {frames}")
    return torch.tensor(list(combinations(range(frames), tuple_size)))


def per_tuple(tokens: Tensor, linear: nn.Linear, tuples: Tensor) -> Tensor:
    """``linear`` of the concatenated frames of each tuple, without concatenating: tokens (N, T, D) -> (N, P, h)."""
    slices = linear.weight.unflatten(1, (tuples.shape[1], -1))  # (h, position, D)
    total = linear.bias
    for position in range(tuples.shape[1]):
        frame_map = tokens @ slices[:, position].T  # (N, T, h)
        total = total + frame_map.index_select(1, tuples[:, position])
    return total


class TupleMatcher(nn.Module):
    """TRX at one tuple size (cardinality)."""

    def __init__(self, width: int, frames: int, tuple_size: int, head_width: int) -> None:
        super().__init__()
        self.tuple_size = tuple_size
        self.k_linear = nn.Linear(width * tuple_size, head_width)
        self.v_linear = nn.Linear(width * tuple_size, head_width)
        self.norm_k = nn.LayerNorm(head_width)
        self.register_buffer("tuples", frame_tuples(frames, tuple_size), persistent=False)
        self.tuples: Tensor

    def project(self, tokens: Tensor) -> Keys:
        """Tokens (N, T, D), position encoding added -> tuple keys and tuple values, each (N, P, h)."""
        keys, values = (per_tuple(tokens, linear, self.tuples) for linear in (self.k_linear, self.v_linear))
        return self.norm_k(keys), values

    @staticmethod
    def match(support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) of B episodes: support (B, S, P, h), labels int64 (B, S), query (B, Q, P, h)."""
        (support_keys, support_values), (query_keys, query_values) = support, query
        batch, queries, tuples, width = query_keys.shape
        order, counts = _by_class(labels, way)
        rows = order[..., None, None].expand(-1, -1, *support_keys.shape[2:])
        shot = order.shape[1] // way
        support_keys = support_keys.gather(1, rows).reshape(batch * way, shot * tuples, width)
        support_values = support_values.gather(1, rows).reshape(batch * way, shot * tuples, width)
        query_keys = query_keys.reshape(batch, 1, queries * tuples, width).expand(-1, way, -1, -1)
        scores = query_keys.reshape(batch * way, queries * tuples, width) @ support_keys.transpose(1, 2)
        scores = scores / math.sqrt(width)
        if counts is not None:  # classes of different sizes were padded to the largest
            absent = torch.arange(shot, device=labels.device) >= counts[..., None]  # (B, way, shot)
            scores = scores.masked_fill(
                absent.reshape(batch * way, 1, shot).repeat_interleave(tuples, dim=2), -torch.inf
            )
        prototypes = scores.softmax(-1) @ support_values  # (B * way, Q * P, h)
        values = query_values.reshape(batch, 1, queries * tuples, width)
        distance = (values - prototypes.unflatten(0, (batch, way))).square().sum(-1)
        return -distance.unflatten(-1, (queries, tuples)).sum(-1).transpose(1, 2) / tuples


def _by_class(labels: Tensor, way: int) -> tuple[Tensor, Tensor | None]:
    """Support rows grouped by class, (B, way * shot), and the class sizes (B, way), None when all are equal."""
    counts = torch.zeros(labels.shape[0], way, dtype=torch.int64, device=labels.device)
    counts.scatter_add_(1, labels, torch.ones_like(labels))
    if int(counts.min()) == 0:
        raise StudentError(f"the support labels do not cover all {way} classes of the episode")
    order = labels.argsort(dim=1, stable=True)
    largest = int(counts.max())
    if int(counts.min()) == largest:
        return order, None
    start = counts.cumsum(1) - counts
    slot = start[..., None] + torch.arange(largest, device=labels.device)
    slot = torch.minimum(slot, (start + counts - 1)[..., None])  # padding repeats the last row, then is masked
    return order.gather(1, slot.flatten(1)), counts


@HEADS.register("trx")
class TRX(TokenHead):
    """TRX over one or more tuple sizes; logits are averaged over the sizes (TRX, equation 8).

    width D of the tokens, frames T, head_width h (1152 as published), dropout on encoded frames (0.1).
    logit_scale multiplies the logits (1 as published). They are sums over h dimensions: on untrained tokens their
    spread over classes is tens to hundreds, so that softmax is one-hot and cross entropy starts far above chance.
    """

    def __init__(
        self,
        width: int,
        frames: int = 8,
        *,
        tuple_sizes: tuple[int, ...] = (2,),
        head_width: int = 1152,
        dropout: float = 0.1,
        logit_scale: float = 1.0,
    ) -> None:
        super().__init__(width, frames, logit_scale=logit_scale)
        if not tuple_sizes:
            raise StudentError("TRX needs at least one tuple size, for example tuple_sizes = [2]")
        self.dropout = nn.Dropout(dropout)
        self.matchers = nn.ModuleList(TupleMatcher(width, frames, size, head_width) for size in tuple_sizes)
        self.register_buffer("encoding", frame_encoding(frames, width), persistent=False)
        self.encoding: Tensor

    def project(self, tokens: Tensor) -> Keys:
        """Tokens float32 (N, T, D) -> keys and values of every tuple size, each (N, P, h); another T or D raises."""
        encoded = self.dropout(self.check(tokens) + self.encoding)
        return tuple(part for matcher in self.matchers for part in matcher.project(encoded))  # type: ignore[operator]

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) of B episodes from keys (B, S, P, h) and (B, Q, P, h).

        labels: int64 (B, S) in 0..way-1, any order, any number of videos a class but at least one.
        """
        pairs = [slice(start, start + 2) for start in range(0, len(support), 2)]
        scores = [TupleMatcher.match(support[pair], labels, query[pair], way) for pair in pairs]
        return torch.stack(scores).mean(0) * self.logit_scale
