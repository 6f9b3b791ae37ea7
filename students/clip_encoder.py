"""The interface of encoders from clips to tokens: of frames (backbones.py) and of joints (skeletons/encoder.py)."""

from abc import abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn


class ClipEncoder(nn.Module):
    """A network's input, clip by clip -> {branch: tokens float32 (N, T, width)}.

    branches: by name, the last map of each to ``width``; token_norm: layer norm without weights on every token.
    """

    width: int
    token_norm: bool
    branches: nn.ModuleDict

    @abstractmethod
    def clips(self, batch: Tensor, clip_frames: int, micro_frames: int = 0) -> dict[str, Tensor]:
        """The input of N clips -> {branch: tokens (N, T, width)} with T = clip_frames.

        micro_frames bounds the memory of training: about so many frames pass at once, and pass again for their
        gradient; 0 passes all together.
        """

    @abstractmethod
    def features(self, batch: Tensor, clip_frames: int) -> Tensor:
        """The input of N clips -> (N, clip_frames, channels), what the branches read."""

    @abstractmethod
    def rows(self, clips: int, clip_frames: int) -> int:
        """How many rows of the input so many clips take."""

    @abstractmethod
    def example(self, clips: int, clip_frames: int, image_size: int) -> Tensor:
        """The input of so many clips as shapes only, on the meta device."""

    def tokens(self, pooled: Tensor) -> dict[str, Tensor]:
        """What the branches read, (..., channels) -> tokens (..., width) by branch."""
        tokens = {name: linear(pooled) for name, linear in self.branches.items()}
        if self.token_norm:
            tokens = {name: F.layer_norm(value, (self.width,)) for name, value in tokens.items()}
        return tokens
