"""TRX: temporal-relational cross-transformers (Perrett et al., CVPR 2021, equations 1-7).

Frame tuples are compared by attention: each query tuple attends to the support tuples of a class, and the class
score is the negative squared distance between the query's tuple values and the prototype it attended to.

A linear map of concatenated frames is a sum of per-frame maps, one weight slice per tuple position. So each frame is
projected once per position, and what attention needs of tuples follows from frames: scores are sums of inner products
of frames (their Gram matrix), prototypes are weighted sums of frames. The same numbers as with tuples written out,
for a third of the work with pairs and less with triples.
"""

import math
from collections.abc import Iterator
from itertools import combinations
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewdistill.students import StudentError
from fewdistill.students.encoding import frame_encoding
from fewdistill.students.heads import HEADS
from fewdistill.students.heads.base import Keys, TokenHead
from fewdistill.students.heads.matched import Matched

_PARTS = 4
"""Tensors of one tuple size among a head's keys."""


def frame_tuples(frames: int, tuple_size: int) -> Tensor:
    """Frame indices of all ordered tuples, int64 (P, tuple_size); StudentError when a clip is shorter than a tuple."""
    if not 1 <= tuple_size <= frames:
        raise StudentError(f"TRX tuples of {tuple_size} frames need clips of at least as many, not {frames}")
    return torch.tensor(list(combinations(range(frames), tuple_size)))


def tuple_members(frames: int, tuple_size: int) -> Tensor:
    """Which frames each tuple sums over: float32 (P, frames * tuple_size), one 1 for each position."""
    places = frame_tuples(frames, tuple_size) * tuple_size + torch.arange(tuple_size)
    return F.one_hot(places, frames * tuple_size).sum(1).float()


def per_position(tokens: Tensor, linear: nn.Linear, positions: int) -> Tensor:
    """Each frame through the weight slice of each tuple position: tokens (N, T, D) -> (N, T * positions, h).

    The bias stands in the first position, so that the sum over a tuple's positions is ``linear`` of its frames.
    """
    slices = linear.weight.view(linear.out_features * positions, -1)  # no copy: a row for each output and position
    bias = F.pad(linear.bias[:, None], (0, positions - 1)).flatten()
    return F.linear(tokens, slices, bias).unflatten(2, (-1, positions)).transpose(2, 3).flatten(1, 2)


class TupleMatcher(nn.Module):
    """TRX at one tuple size c (its cardinality)."""

    def __init__(self, width: int, frames: int, tuple_size: int, head_width: int) -> None:
        super().__init__()
        self.tuple_size = tuple_size
        self.k_linear = nn.Linear(width * tuple_size, head_width)
        self.v_linear = nn.Linear(width * tuple_size, head_width)
        self.norm_k = nn.LayerNorm(head_width)
        self.register_buffer("members", tuple_members(frames, tuple_size), persistent=False)
        self.members: Tensor

    def project(self, tokens: Tensor) -> Keys:
        """Tokens (N, T, D), position encoding added -> four tensors, from which tuples follow:

        frames' keys (N, Tc, h), centred and scaled by the layer norm's weight; 1 / deviation of each tuple (N, P);
        the part of a support tuple's score that no query changes (N, P); frames' values (N, Tc, h).
        """
        members = self.members.to(tokens.dtype)
        keys = per_position(tokens, self.k_linear, self.tuple_size)
        keys = keys - keys.mean(-1, keepdim=True)  # the mean of a tuple is the sum of its frames' means
        gram = keys @ keys.transpose(1, 2)
        variance = ((members @ gram) * members).sum(-1).clamp_min(0) / keys.shape[-1]  # rounding may pass zero
        inverse = (variance + self.norm_k.eps).rsqrt()
        scaled = keys * self.norm_k.weight
        constant = inverse * ((scaled @ self.norm_k.bias) @ members.T)
        return scaled, inverse, constant, per_position(tokens, self.v_linear, self.tuple_size)

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) of B episodes: keys of ``project`` with (B, S) and (B, Q) in the place of N; labels int64
        (B, S)."""
        attention, order = self._attention(support, labels, query, way)
        query_values, support_values = query[3], _in_order(support[3], order)
        batch, queries, frames, width = query_values.shape
        members = self.members.to(query_values.dtype)
        tuples, of_class = len(members), support_values.shape[1] * frames // way
        # Weights of tuples become weights of frames; a prototype is their weighted sum.
        weights = attention.reshape(-1, tuples) @ members
        weights = weights.view(batch, queries * tuples, way, of_class).transpose(1, 2).flatten(0, 1)
        frame_values = support_values.reshape(batch * way, of_class, width)
        prototypes = torch.bmm(weights, frame_values).view(batch, way, queries, tuples, width)
        residual = prototypes.sub_((members @ query_values)[:, None])  # in place: a pass over memory less
        distance = torch.linalg.vector_norm(residual.flatten(3), dim=-1).square()
        return -distance.transpose(1, 2) / tuples

    def _attention(self, support: Keys, labels: Tensor, query: Keys, way: int) -> tuple[Tensor, Tensor | None]:
        """Weights (B, Q, P, way, shot * P) of a class's support tuples, each class padded to the largest; and the
        support rows that stand there, class by class, (B, way * shot), None where they stood so already."""
        support_keys, support_inverse, support_constant, _ = support
        query_keys, query_inverse, _, _ = query
        batch, queries, frames, width = query_keys.shape
        members = self.members.to(query_keys.dtype)
        tuples = len(members)
        order, counts = _by_class(labels, way)
        shot = (labels if order is None else order).shape[1] // way
        # Gram matrix of query frames and support frames, then summed over the positions of tuples on both sides.
        gram = query_keys.flatten(1, 2) @ _in_order(support_keys, order).flatten(1, 2).transpose(1, 2)
        gram = gram.reshape(-1, frames) @ members.T  # (B * Q * Tc * S, P)
        gram = members @ gram.view(batch, queries, frames, way * shot * tuples)  # (B, Q, P, S * P)
        scores = gram * (query_inverse[..., None] / math.sqrt(width))
        constant = _in_order(support_constant, order).reshape(batch, 1, 1, -1) / math.sqrt(width)
        scores = torch.addcmul(constant, scores, _in_order(support_inverse, order).reshape(batch, 1, 1, -1))
        scores = scores.unflatten(3, (way, shot * tuples))
        if counts is not None:  # classes of different sizes were padded to the largest
            absent = torch.arange(shot, device=labels.device) >= counts[..., None]  # (B, way, shot)
            absent = absent.repeat_interleave(tuples, dim=2)[:, None, None]
            scores = scores.masked_fill(absent, -torch.inf)
        return scores.softmax(-1), order

    def explain(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Matched:
        """The attention of ``match``, to the support in the order given."""
        attention, order = self._attention(support, labels, query, way)
        tuples = len(self.members)
        padded = attention.flatten(3).unflatten(3, (-1, tuples))  # (B, Q, P, way * shot, P)
        if order is not None:
            rows = order[:, None, None, :, None].expand_as(padded)
            shape = (*padded.shape[:3], labels.shape[1], tuples)
            padded = padded.new_zeros(shape).scatter_add_(3, rows, padded)  # padding weighs nothing
        frames = self.members.shape[1] // self.tuple_size
        return Matched("attention", frame_tuples(frames, self.tuple_size).to(labels.device), padded)


def _in_order(part: Tensor, order: Tensor | None) -> Tensor:
    """The support rows (B, S, ...) at int64 (B, n), or all as they stand."""
    if order is None:
        return part
    rows = order.view(*order.shape, *[1] * (part.ndim - 2)).expand(-1, -1, *part.shape[2:])
    return part.gather(1, rows)


def _by_class(labels: Tensor, way: int) -> tuple[Tensor | None, Tensor | None]:
    """Support rows grouped by class, (B, way * shot), and the class sizes (B, way).

    No rows where they stand class by class already, no sizes where all are equal.
    """
    counts = torch.zeros(labels.shape[0], way, dtype=torch.int64, device=labels.device)
    counts.scatter_add_(1, labels, torch.ones_like(labels))
    if int(counts.min()) == 0:
        raise StudentError(f"the support labels do not cover all {way} classes of the episode")
    order = labels.argsort(dim=1, stable=True)
    largest = int(counts.max())
    if int(counts.min()) == largest:
        return (None if bool((labels[:, 1:] >= labels[:, :-1]).all()) else order), None
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
        """Tokens float32 (N, T, D) -> what each tuple size needs, see TupleMatcher.project; another T or D raises."""
        encoded = self.dropout(self.check(tokens) + self.encoding)
        return tuple(part for matcher in self.matchers for part in matcher.project(encoded))  # type: ignore[operator]

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) of B episodes from keys (B, S, ...) and (B, Q, ...).

        labels: int64 (B, S) in 0..way-1, any order, any number of videos a class but at least one.
        """
        scores = [matcher.match(s, labels, q, way) for matcher, s, q in self._by_size(support, query)]
        return torch.stack(scores).mean(0) * self.logit_scale

    def explain(self, support: Keys, labels: Tensor, query: Keys, way: int) -> tuple[Matched, ...]:
        """The attention over tuples, one entry for each tuple size."""
        return tuple(matcher.explain(s, labels, q, way) for matcher, s, q in self._by_size(support, query))

    def _by_size(self, support: Keys, query: Keys) -> Iterator[tuple[TupleMatcher, Keys, Keys]]:
        for number, matcher in enumerate(self.matchers):
            part = slice(number * _PARTS, (number + 1) * _PARTS)
            yield cast(TupleMatcher, matcher), support[part], query[part]
