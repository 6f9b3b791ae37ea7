"""MFM: Lite-MKD's multi-modal fusion of cached per-frame tokens (ACM MM 2023; transformer encoders, summed).

F = ENC_all(m_1, ..., m_k) + sum over i >= 2 of ENC_2(m_1, shift(m_i)), with one ENC_2 shared by all pairs. With
three modalities (RGB, depth, flow) this is the published module; other counts follow the same rule.
"""

import torch
from torch import Tensor, nn

from students import StudentError


class FrameEmbedding(nn.Module):
    """Learned frame position, layer norm, dropout: (N, T, D) -> (N, T, D)."""

    def __init__(self, width: int, frames: int, dropout: float) -> None:
        super().__init__()
        self.position = nn.Embedding(frames, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.norm(tokens + self.position.weight[: tokens.shape[1]]))


class FusionEncoder(nn.Module):
    """ENC_m: m token streams (N, T, D) -> one (N, T, D); attention over frames on the concatenated channels."""

    def __init__(
        self,
        streams: int,
        width: int,
        frames: int,
        *,
        heads: int,
        layers: int,
        feedforward: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(FrameEmbedding(width, frames, dropout) for _ in range(streams))
        layer = nn.TransformerEncoderLayer(
            streams * width, heads, feedforward, dropout, activation="relu", batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.output = nn.Linear(streams * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, streams: list[Tensor]) -> Tensor:
        joined = torch.cat([e(s) for e, s in zip(self.embeddings, streams, strict=True)], dim=-1)
        return self.dropout(self.output(self.encoder(joined)))


class MFM(nn.Module):
    """The multi-modal fusion module.

    modalities: k >= 2 streams of width D; the first is the one every other is paired with (RGB as published).
    pairs: False leaves the pair terms out (the joint encoder alone).
    shift: frames by which a paired stream is rolled towards earlier time (1 as published, 0 for none).
    flow_shift: the figure rolls every paired stream, in training and extraction alike ("both", the default). The
    released code leaves the last stream unrolled in training and rolls it only when features are extracted
    ("extract_only"): there ``forward(streams, extract=True)`` gives what was cached.
    """

    def __init__(
        self,
        modalities: int,
        width: int = 2048,
        frames: int = 8,
        *,
        layers: int = 2,
        feedforward: int = 2048,
        dropout: float = 0.1,
        pairs: bool = True,
        shift: int = 1,
        flow_shift: str = "both",
    ) -> None:
        super().__init__()
        if modalities < 2:
            raise StudentError(f"fusion joins two modalities or more, not {modalities}")
        if flow_shift not in ("both", "extract_only"):
            raise StudentError(f"flow_shift {flow_shift!r}: use both or extract_only")
        self.modalities = modalities
        self.shift = shift
        self.flow_shift = flow_shift

        def encoder(streams: int) -> FusionEncoder:
            heads = streams if streams <= 3 else 2  # as published for two, three and four modalities
            return FusionEncoder(
                streams, width, frames, heads=heads, layers=layers, feedforward=feedforward, dropout=dropout
            )

        self.joint = encoder(modalities) if modalities > 2 or not pairs else None
        self.pair = encoder(2) if pairs else None

    def forward(self, streams: Tensor, *, extract: bool = False) -> Tensor:
        """streams float32 (k, N, T, D) in the order of the modalities -> fused tokens (N, T, D)."""
        if streams.shape[0] != self.modalities:
            raise StudentError(f"built for {self.modalities} modalities, got {streams.shape[0]}")
        terms = [self.joint(list(streams))] if self.joint is not None else []
        if self.pair is not None:
            for position in range(1, self.modalities):
                last = position == self.modalities - 1
                rolled = extract or not (last and self.flow_shift == "extract_only")
                other = torch.roll(streams[position], -self.shift, dims=1) if rolled else streams[position]
                terms.append(self.pair([streams[0], other]))
        return torch.stack(terms).sum(0)
