"""Encodes frames as named branches of tokens: a convolutional trunk, 4 x 4 max pooling, and a linear map per branch.

The published students have two branches ("2fc", Lite-MKD): QUERY_BRANCH carries the query-level distillation,
LABEL_BRANCH the labels and the support level.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fewdistill.students import StudentError
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.enrichment import PatchEnrichment
from fewdistill.students.trunks import BACKBONES

# The released names: they are keys of stored weights and values in identities, so they stay.
QUERY_BRANCH = "kl"
LABEL_BRANCH = "ce"
_POOLED_CELLS = 4


class TokenEncoder(ClipEncoder):
    """frames float32 (N, 3, H, W) -> {branch: tokens float32 (N, D)}, one token a frame.

    The backbone's trunk, adaptive max pooling to 4 x 4, mean of the 16 cells, then one linear map per branch to
    ``width``. pooling = "mean" takes the global average instead (TRX); linear = False hands out the pooled features
    themselves as the only branch's tokens, ``width`` being the trunk's channels (Lite-MKD's and TRX's ResNet50).
    patch_enrichment lets the 16 cells of a frame attend to each other before the mean (STRM).
    token_norm layer-normalises each token (no weights; off as published), so that a base trained without regard to
    scale does not hand the head distances in the thousands, where its softmax and its loss saturate.
    """

    def __init__(
        self,
        backbone: str,
        width: int = 2048,
        branches: tuple[str, ...] = (QUERY_BRANCH, LABEL_BRANCH),
        *,
        token_norm: bool = False,
        patch_enrichment: bool = False,
        pooling: Literal["cells", "mean"] = "cells",
        linear: bool = True,
    ) -> None:
        super().__init__()
        trunk = BACKBONES[backbone]
        if not branches:
            raise StudentError("a token encoder needs at least one branch")
        if not linear and (width, len(branches)) != (trunk.channels, 1):
            raise StudentError(f"without linear maps {backbone} has one branch of width {trunk.channels}")
        if patch_enrichment and pooling == "mean":
            raise StudentError("patch_enrichment reads the cells of a frame: use it with pooling = cells")
        self.backbone = backbone
        self.width = width
        self.token_norm = token_norm
        self.trunk = trunk.build()
        self.pool = nn.AdaptiveMaxPool2d(_POOLED_CELLS) if pooling == "cells" else nn.AdaptiveAvgPool2d(1)
        self.enrich = PatchEnrichment(trunk.channels, _POOLED_CELLS**2) if patch_enrichment else None
        self.branches = nn.ModuleDict(
            {name: nn.Linear(trunk.channels, width) if linear else nn.Identity() for name in branches}
        )

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """See the class; accepts any image size the trunk can halve five times (32 and up)."""
        return self.tokens(self.pooled(frames))

    def pooled(self, frames: Tensor, micro_frames: int = 0) -> Tensor:
        """frames (N, 3, H, W) -> pooled trunk features (N, channels), what the branches read.

        micro_frames bounds the memory of training: so many frames pass at once, and pass again for their gradient.
        Batch norm in training takes its statistics from each such group; 0 passes all frames together.
        """
        if micro_frames and self.training and torch.is_grad_enabled():
            groups = frames.split(micro_frames)
            return torch.cat([checkpoint(self._pooled, group, use_reentrant=False) for group in groups])
        return self._pooled(frames)

    def _pooled(self, frames: Tensor) -> Tensor:
        cells = self.pool(self.trunk(frames))
        if self.enrich is None:
            return cells.mean((2, 3))
        return self.enrich(cells.flatten(2).transpose(1, 2)).mean(1)

    def clips(self, batch: Tensor, clip_frames: int, micro_frames: int = 0) -> dict[str, Tensor]:
        """frames (N * T, 3, H, W), clip by clip -> {branch: tokens (N, T, D)} with T = clip_frames; see ``pooled``."""
        tokens = self.tokens(self.pooled(batch, micro_frames))
        return {name: value.unflatten(0, (-1, clip_frames)) for name, value in tokens.items()}

    def features(self, batch: Tensor, clip_frames: int) -> Tensor:
        """Pooled trunk features (N, clip_frames, channels); see ``pooled``."""
        return self.pooled(batch).unflatten(0, (-1, clip_frames))

    def rows(self, clips: int, clip_frames: int) -> int:
        """A row a frame."""
        return clips * clip_frames

    def example(self, clips: int, clip_frames: int, image_size: int) -> Tensor:
        """frames (clips * clip_frames, 3, image_size, image_size)."""
        return torch.empty(clips * clip_frames, 3, image_size, image_size, device="meta")


def load_imagenet_trunk(encoder: TokenEncoder, state: Mapping[str, Tensor]) -> None:
    """Put the state_dict of the trunk's whole ImageNet classifier into the trunk; the classifier's layer is left out.

    Raises StudentError naming the first key that does not fit.
    """
    trunk = BACKBONES[encoder.backbone]
    model = trunk.classifier()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise StudentError(f"weights do not fit {encoder.backbone}: {str(error).splitlines()[-1].strip()}") from error
    encoder.trunk.load_state_dict(trunk.strip(model).state_dict())
