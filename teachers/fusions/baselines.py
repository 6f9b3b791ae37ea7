"""Fusions without attention: the mean of the streams, their concatenation through one linear map, and side by side."""

import torch
from torch import Tensor, nn

from fewdistill.teachers.fusions import FUSIONS
from fewdistill.teachers.fusions.base import Fusion, Part


@FUSIONS.register("mean")
class Mean(Fusion):
    """The mean of the streams, each layer-normalised first so that none speaks louder. No parameters."""

    def forward(self, streams: Tensor, part: Part = "support") -> Tensor:
        streams = self.check(streams)
        return nn.functional.layer_norm(streams, streams.shape[-1:]).mean(0)


@FUSIONS.register("concat")
class Concat(Fusion):
    """Early fusion: channels of all streams side by side, one linear map back to their width, frame by frame."""

    def __init__(self, modalities: int, width: int = 2048, frames: int = 8, *, dropout: float = 0.1) -> None:
        super().__init__(modalities, width, frames)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(modalities * width, width)

    def forward(self, streams: Tensor, part: Part = "support") -> Tensor:
        return self.linear(self.dropout(_side_by_side(self.check(streams))))


@FUSIONS.register("score")
class SideBySide(Fusion):
    """Late fusion's tokens: the streams side by side, out_width k * D. Their logits meet in the head (ensemble.py)."""

    def __init__(self, modalities: int, width: int = 2048, frames: int = 8) -> None:
        super().__init__(modalities, width, frames)
        self.out_width = modalities * width

    def forward(self, streams: Tensor, part: Part = "support") -> Tensor:
        return _side_by_side(self.check(streams))


def _side_by_side(streams: Tensor) -> Tensor:
    """(k, N, T, D) -> (N, T, k * D)."""
    return torch.cat(list(streams), dim=-1)
