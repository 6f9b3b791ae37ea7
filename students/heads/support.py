"""Sums over the support videos of each class, by label."""

import torch
from torch import Tensor

from fewdistill.students import StudentError


def class_shares(labels: Tensor, way: int, like: Tensor) -> Tensor:
    """How much of its class each support video is: labels int64 (B, S) -> (B, S, way), each column sums to 1.

    ``values (B, Q, S) @ class_shares`` is the mean over the videos of each class. dtype and device are those of
    ``like``. A class without support raises StudentError.
    """
    member = torch.zeros(*labels.shape, way, dtype=like.dtype, device=like.device).scatter_(2, labels[..., None], 1)
    count = member.sum(1, keepdim=True)
    if float(count.min()) == 0:
        raise StudentError(f"the support labels do not cover all {way} classes of the episode")
    return member / count


def class_means(keys: Tensor, labels: Tensor, way: int) -> Tensor:
    """Mean over the support videos of each class: keys (B, S, ...), labels (B, S) -> (B, way, ...)."""
    return torch.einsum("bsc,bs...->bc...", class_shares(labels, way, keys), keys)
