"""The interface of fusions, and the transformer encoder of the published ones (Lite-MKD, ACM MM 2023)."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from fewdistill.students import StudentError

Part = Literal["support", "query", "cached"]
"""The use of the fused tokens: the two sides of an episode in training, or the cache. Most fusions ignore it."""


class Fusion(nn.Module):
    """k streams of tokens, joined. out_width: width of the fused tokens."""

    def __init__(self, modalities: int, width: int, frames: int) -> None:
        super().__init__()
        if modalities < 1:
            raise StudentError("fusion joins one modality or more")
        self.modalities = modalities
        self.frames = frames
        self.out_width = width

    def check(self, streams: Tensor) -> Tensor:
        """The streams; another number of them raises StudentError."""
        if streams.shape[0] != self.modalities:
            raise StudentError(f"built for {self.modalities} modalities, got {streams.shape[0]}")
        return streams

    @abstractmethod
    def forward(self, streams: Tensor, part: Part = "support") -> Tensor:
        """streams float32 (k, N, T, D) in the order of the modalities -> fused tokens (N, T, out_width)."""


class FrameEmbedding(nn.Module):
    """Learned frame position, layer norm, dropout: (N, T, D) -> (N, T, D)."""

    def __init__(self, width: int, frames: int, dropout: float) -> None:
        super().__init__()
        # nn.Embedding's own initial weights are the same; but on the meta device, where suites build a fusion for its
        # width, any normal draw takes two seconds of imports
        self.position = nn.Embedding.from_pretrained(torch.randn(frames, width, device="cpu"), freeze=False)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.norm(tokens + self.position.weight[: tokens.shape[1]]))


class FusionEncoder(nn.Module):
    """ENC_m: m token streams (N, T, D) -> one (N, T, D); attention over frames on the concatenated channels."""

    def __init__(self, streams: int, width: int, frames: int, *, layers: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(FrameEmbedding(width, frames, dropout) for _ in range(streams))
        heads = streams if streams <= 3 else 2  # as published for two, three and four modalities
        layer = nn.TransformerEncoderLayer(
            streams * width, heads, feedforward, dropout, activation="relu", batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.output = nn.Linear(streams * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        joined = torch.cat([e(s) for e, s in zip(self.embeddings, streams, strict=True)], dim=-1)
        return self.dropout(self.output(self.encoder(joined)))
