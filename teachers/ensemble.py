"""Score fusion: each modality keeps a head of its own, and their logits are added (Lite-MKD's released TSF)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from fewdistill.students import StudentError
from fewdistill.students.heads.base import Head, Keys
from fewdistill.students.heads.matched import Matched


class ScoreFusion(Head):
    """Logits sum over i of weight_i * head_i(stream i), for tokens (N, T, k * D) with the streams side by side.

    new_head: makes one modality's head for tokens (N, T, D). weights: one a modality; the released script uses 1 for
    the first modality and 0.3 for the others.
    """

    def __init__(self, new_head: Callable[[], Head], weights: Sequence[float]) -> None:
        super().__init__()
        if not weights:
            raise StudentError("score fusion needs a weight for each modality")
        self.heads = nn.ModuleList(new_head() for _ in weights)
        self.weights = tuple(weights)

    def project(self, tokens: Tensor) -> Keys:
        """Tokens float32 (N, T, k * D) -> the keys of every head, one after the other."""
        if tokens.shape[-1] % len(self.heads):
            raise StudentError(f"tokens {tuple(tokens.shape)} are not those of {len(self.heads)} modalities")
        streams = tokens.chunk(len(self.heads), dim=-1)
        keys = [head.project(stream) for head, stream in zip(self.heads, streams, strict=True)]  # type: ignore[operator]
        return tuple(key for of_head in keys for key in of_head)

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from the keys of project."""
        logits = [
            weight * head.match(s, labels, q, way)
            for (head, s, q), weight in zip(self._by_stream(support, query), self.weights, strict=True)
        ]
        return sum(logits[1:], logits[0])

    def explain(self, support: Keys, labels: Tensor, query: Keys, way: int) -> tuple[Matched, ...] | None:
        """What each stream's head matched."""
        found = [head.explain(s, labels, q, way) or () for head, s, q in self._by_stream(support, query)]
        named = ((f"stream {number}", one) for number, of_head in enumerate(found, start=1) for one in of_head)
        return tuple(replace(one, part=part) for part, one in named) or None

    def _by_stream(self, support: Keys, query: Keys) -> Iterator[tuple[Head, Keys, Keys]]:
        each = len(support) // len(self.heads)
        for number, head in enumerate(self.heads):
            part = slice(number * each, (number + 1) * each)
            yield cast(Head, head), support[part], query[part]
