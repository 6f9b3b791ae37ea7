"""Score fusion: each modality keeps a head of its own, and their logits are added (Lite-MKD's released TSF)."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from students import StudentError
from students.heads.base import Head, Keys


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
        each = len(support) // len(self.heads)
        logits = [
            weight * head.match(support[at * each : (at + 1) * each], labels, query[at * each : (at + 1) * each], way)  # type: ignore[operator]
            for at, (head, weight) in enumerate(zip(self.heads, self.weights, strict=True))
        ]
        return sum(logits[1:], logits[0])
