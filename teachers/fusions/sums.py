"""Sums of transformer encoders: MFM, and the published variants as data (Lite-MKD, ACM MM 2023, and its released code).

Every variant adds encoders over two or more streams; all terms over the same number of streams share one encoder.
They differ in which streams are joined, and in which of them are moved in time, where.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewdistill.students import StudentError
from fewdistill.students.registry import nearest
from fewdistill.teachers.fusions import FUSIONS
from fewdistill.teachers.fusions.base import Fusion, FusionEncoder, Part

EVERYWHERE: frozenset[Part] = frozenset(("support", "query", "cached"))
Move = Literal["roll", "left", "right"]


@dataclass(frozen=True)
class Term:
    """One encoder's term: the positions of the streams it joins, and how the last of them is moved.

    move: "roll" turns frame t into frame t + shift, cyclically; "left" does so with zeros at the end, "right" turns it
    into frame t - shift with zeros at the start. where: the parts in which it is moved at all.
    """

    streams: tuple[int, ...]
    move: Move | None = None
    where: frozenset[Part] = EVERYWHERE


def _pair(other: int, move: Move | None = None, *where: Part) -> Term:
    return Term((0, other), move, frozenset(where) or EVERYWHERE)


def _joint(streams: int) -> Term:
    return Term(tuple(range(streams)))


RELEASED = MappingProxyType(
    {
        "TwoTRX": (_pair(1),),
        "TwoTRXShuffleTime": (_pair(1), _pair(1, "roll", "support")),
        "TwoCombinationTRX": (_pair(1), _pair(2)),
        "TwoCombinationShiftTRX": (_pair(1, "roll"), _pair(2)),
        "ThreeTRXShuffleTime": (_pair(1), _pair(1, "left"), _pair(2, "right")),
        "ThreeTRXLRShiftLoopTime": (_pair(1), _pair(1, "roll", "support"), _pair(2)),
        "ThreeTRXShiftLoopTime": (_joint(3), _pair(1, "roll"), _pair(2, "roll", "cached")),
        "ThreeTRXCombination": (_joint(3), _pair(1, "roll", "cached"), _pair(2, "roll", "cached")),
        "ThreeStrm": (_joint(3),),
        "ScoreFusion": (_joint(3),),
        "FourShiftFusion": (_joint(4), _pair(1, "roll"), _pair(2), _pair(3)),
        "FiveShiftFusion": (_joint(3), _pair(1, "roll"), _pair(2), _pair(3), _pair(4, "roll")),
    }
)
"""The released fusion classes that are such sums, by their names there.

Recorded numbers stand behind TwoTRX, ThreeTRXShiftLoopTime, ThreeTRXCombination and ThreeStrm; TwoTRXShuffleTime and
FourShiftFusion had their equations checked by running them, the others were read."""


class TransformerSum(Fusion):
    """The sum of ``terms`` over the streams; encoders by the number of streams they join.

    layers, feedforward, dropout: of the encoders; shift: frames by which a moved stream is moved.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        modalities: int,
        width: int,
        frames: int,
        *,
        layers: int,
        feedforward: int,
        dropout: float,
        shift: int,
    ) -> None:
        super().__init__(modalities, width, frames)
        self.terms = tuple(terms)
        self.shift = shift
        self.encoders = nn.ModuleDict(
            {
                str(streams): FusionEncoder(
                    streams, width, frames, layers=layers, feedforward=feedforward, dropout=dropout
                )
                for streams in sorted({len(term.streams) for term in self.terms}, reverse=True)
            }
        )

    @property
    def symmetric(self) -> bool:
        """Whether support and query videos are fused alike, so that one cached row can serve as either."""
        return all(("support" in term.where) == ("query" in term.where) for term in self.terms if term.move)

    def forward(self, streams: Tensor, part: Part = "support") -> Tensor:
        streams = self.check(streams)
        return torch.stack([self._term(term, streams, part) for term in self.terms]).sum(0)

    def _term(self, term: Term, streams: Tensor, part: Part) -> Tensor:
        joined = [streams[position] for position in term.streams]
        if term.move and part in term.where:
            joined[-1] = moved(joined[-1], term.move, self.shift)
        return self.encoders[str(len(joined))](joined)


def moved(tokens: Tensor, move: Move, shift: int) -> Tensor:
    """Tokens (N, T, D) moved by ``shift`` frames, see Term."""
    if move == "roll":
        return torch.roll(tokens, -shift, dims=1)
    if move == "left":
        return F.pad(tokens[:, shift:], (0, 0, 0, min(shift, tokens.shape[1])))
    return F.pad(tokens[:, : max(0, tokens.shape[1] - shift)], (0, 0, min(shift, tokens.shape[1]), 0))


@FUSIONS.register("mfm")
class MFM(TransformerSum):
    """Lite-MKD's multi-modal fusion module, F = ENC_k(m_1, ..., m_k) + sum over i >= 2 of ENC_2(m_1, roll(m_i)).

    With three modalities (RGB, depth, flow) this is the published module; other counts follow the same rule: two are
    the pair alone, one is ENC_1. shift: 1 as published, 0 for none. flow_shift: the figure rolls every paired stream,
    in training and in the cache alike ("both", the default); the released code leaves the last one unrolled in training
    and rolls it only when features are cached ("extract_only").
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
        shift: int = 1,
        flow_shift: Literal["both", "extract_only"] = "both",
    ) -> None:
        if flow_shift not in ("both", "extract_only"):
            raise StudentError(f"flow_shift {flow_shift!r}: use both or extract_only")
        terms = [_pair(other, "roll") for other in range(1, modalities)]
        if flow_shift == "extract_only" and terms:
            terms[-1] = _pair(modalities - 1, "roll", "cached")
        if modalities != 2:
            terms.insert(0, _joint(modalities))
        super().__init__(
            terms,
            modalities,
            width,
            frames,
            layers=layers,
            feedforward=feedforward,
            dropout=dropout,
            shift=shift,
        )


@FUSIONS.register("released")
class Released(TransformerSum):
    """The released fusion class that ``released`` names (see RELEASED), every defect of it included.

    StudentError for an unknown name, or fewer modalities than it joins.
    """

    def __init__(
        self,
        modalities: int,
        width: int = 2048,
        frames: int = 8,
        *,
        released: str,
        layers: int = 2,
        feedforward: int = 2048,
        dropout: float = 0.1,
        shift: int = 1,
    ) -> None:
        if released not in RELEASED:
            raise StudentError(f"no released fusion {released!r}: {nearest(released, RELEASED)}")
        terms = RELEASED[released]
        joined = 1 + max(position for term in terms for position in term.streams)
        if modalities != joined:
            raise StudentError(f"{released} joins {joined} modalities, not {modalities}")
        super().__init__(
            terms,
            modalities,
            width,
            frames,
            layers=layers,
            feedforward=feedforward,
            dropout=dropout,
            shift=shift,
        )
