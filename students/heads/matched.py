"""Frame matches of a head, as ``Head.explain`` returns them, and how rules on frame distances compute them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fewdistill.students.heads.support import class_shares

Rule = Literal["attention", "alignment", "nearest"]


@dataclass(frozen=True)
class Matched:
    """How much each frame tuple of a query was matched with each of a support video, in B episodes.

    tuples: int64 (P, c), the frames of each tuple, the same of queries and support. weights: (B, Q, P, S, P), not
    negative: query, its tuple, support video, its tuple. Over the support of one class they sum to 1 for each tuple
    of a query where the rule is "attention", and for each query where it is "alignment" or "nearest". part: which of
    several heads it is of, "" where there is one.
    """

    rule: Rule
    tuples: Tensor
    weights: Tensor
    part: str = ""


def pair_weights(cost: Callable[[Tensor], Tensor], distances: Tensor) -> Tensor:
    """How much each pair of frames counts in a cost of frame distances: (..., L, M) to the same, each sums to 1.

    A cost here is the minimum, or the soft minimum, over ways to match the frames, of the sum of their distances. Its
    gradient is the share of each pair in the ways taken (Mensch and Blondel, ICML 2018, proposition 2).
    """
    with torch.enable_grad():
        held = distances.detach().requires_grad_()
        (weights,) = torch.autograd.grad(cost(held).sum(), held)
    return weights / weights.sum((-2, -1), keepdim=True)


def matched_frames(rule: Rule, weights: Tensor, labels: Tensor, way: int) -> Matched:
    """From weights of frame pairs (B, Q, S, T, T) with each support video, or (B, Q, way, T, T) with each prototype.

    The videos of a class share its weight evenly; so do a prototype's, in the frames it was averaged from.
    """
    shares = class_shares(labels, way, weights)
    if weights.shape[2] == labels.shape[1]:
        of_videos = weights * shares.sum(-1)[:, None, :, None, None]
    else:
        of_videos = torch.einsum("bsc,bqctu->bqstu", shares, weights)
    frames = torch.arange(weights.shape[-1], device=labels.device)[:, None]
    return Matched(rule, frames, of_videos.transpose(2, 3))
