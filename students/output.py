"""The output of a network on one episode, as losses read it, and the quantities derived from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class EpisodeOutput:
    """One episode as a loss sees it, for a student or for a teacher.

    logits: by branch, each float32 (Q, way); a teacher has one branch, ``"fused"``.
    support_distances: float32 (way, way - 1), negative squared distances between class prototypes.
    tokens: by branch, each float32 (S + Q, T, D), support first; empty when no loss reads them.
    support_labels: int64 (S,), of a student; None where nobody reads them.
    streams: a teacher's logits by modality, each float32 (Q, way); empty when no loss reads them.
    """

    logits: Mapping[str, Tensor]
    support_distances: Tensor
    tokens: Mapping[str, Tensor]
    support_labels: Tensor | None = None
    streams: Mapping[str, Tensor] = field(default_factory=dict)


def query_logits(logits: Mapping[str, Tensor]) -> Tensor:
    """The logits a query is classified by: the sum over branches, (Q, way) (Lite-MKD inference rule)."""
    return torch.stack(list(logits.values())).sum(0)


def class_prototypes(tokens: Tensor, labels: Tensor, way: int) -> Tensor:
    """Mean support tokens of each class by label: (S, ...) and int64 (S,) -> (way, ...)."""
    total = tokens.new_zeros(way, *tokens.shape[1:]).index_add_(0, labels, tokens)
    count = torch.bincount(labels, minlength=way).to(tokens.dtype)
    return total / count.view(-1, *[1] * (tokens.dim() - 1))


def support_distances(tokens: Tensor, labels: Tensor, way: int) -> Tensor:
    """Class-to-class distances of the support set, the quantity of Lite-MKD's support level.

    tokens: float32 (S, T, D); labels: int64 (S,) in 0..way-1; returns (way, way - 1): entry (i, j) is
    -(1/T) ||p_i - p_j||^2 over the other classes j in order, with p the prototypes of shape (T, D).
    """
    flat = class_prototypes(tokens, labels, way).flatten(1)
    squared = (flat[:, None] - flat[None]).square().sum(-1)
    off_diagonal = ~torch.eye(way, dtype=torch.bool, device=tokens.device)
    return -squared[off_diagonal].view(way, way - 1) / tokens.shape[1]
