"""STRM's enrichment of features (Thatipelli et al., CVPR 2022, section 3.1): patches within a frame, frames of a clip.

Both add the position encoding that TRX adds to its frames.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewdistill.students.encoding import frame_encoding


class PatchEnrichment(nn.Module):
    """Attention among the patches of a frame, then a bottleneck, each added to its input: (N, P, D) -> (N, P, D).

    As released: the attention's energies are not divided by the root of D, and its part enters with a weight that
    starts at zero.
    """

    def __init__(self, width: int, patches: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.weight = nn.Parameter(torch.zeros(1))
        self.bottleneck = nn.ModuleList(
            [nn.Linear(width, width // 2), nn.Linear(width // 2, width // 2), nn.Linear(width // 2, width)]
        )
        self.register_buffer("encoding", frame_encoding(patches, width), persistent=False)
        self.encoding: Tensor

    def forward(self, patches: Tensor) -> Tensor:
        """float32 (N, P, D) -> the same shape."""
        patches = patches + self.encoding
        attention = (self.query(patches) @ self.key(patches).transpose(1, 2)).softmax(-1)
        attended = self.weight * (attention @ self.value(patches)) + patches
        narrow, within, wide = self.bottleneck
        return wide(F.relu(within(F.relu(narrow(attended))))) + attended


class FrameEnrichment(nn.Module):
    """Mixing over the frames of a clip, then over the channels, each added to its input: (N, T, D) -> (N, T, D)."""

    def __init__(self, width: int, frames: int) -> None:
        super().__init__()
        self.over_frames = nn.ModuleList([nn.Linear(frames, frames), nn.Linear(frames, frames)])
        self.over_channels = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])
        self.register_buffer("encoding", frame_encoding(frames, width), persistent=False)
        self.encoding: Tensor

    def forward(self, tokens: Tensor) -> Tensor:
        """float32 (N, T, D) -> the same shape."""
        tokens = tokens + self.encoding
        first, second = self.over_frames
        mixed = tokens + second(F.relu(first(tokens.transpose(1, 2)))).transpose(1, 2)
        first, second = self.over_channels
        return mixed + second(F.relu(first(mixed)))
