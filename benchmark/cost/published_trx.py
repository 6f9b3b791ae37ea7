"""TRX in the released formulation: what the published counts are counts of."""

from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn

from fewdistill.students.heads.trx import TRX, TupleMatcher


class PublishedTRX(nn.Module):
    """TRX as released: frame tuples concatenated, then one linear map for keys and one for values.

    Same weights and same logits as the decomposed head, more work: what the published counts are counts of.
    The support stands class by class, equal shots.
    """

    def __init__(self, head: TRX) -> None:
        super().__init__()
        self.matchers = head.matchers
        self.dropout = head.dropout
        self.softmax = nn.Softmax(dim=-1)
        self.register_buffer("encoding", head.encoding, persistent=False)
        self.encoding: Tensor

    def forward(self, support: Tensor, query: Tensor, way: int) -> Tensor:
        """Tokens (way * shot, T, D) and (Q, T, D) -> logits (Q, way)."""
        support = self.dropout(support + self.encoding)
        query = self.dropout(query + self.encoding)
        scores = [self._one_size(cast(TupleMatcher, m), support, query, way) for m in self.matchers]
        return torch.stack(scores).mean(0)

    def _one_size(self, matcher: TupleMatcher, support: Tensor, query: Tensor, way: int) -> Tensor:
        support_keys, support_values = self._keys(matcher, support)
        query_keys, query_values = self._keys(matcher, query)
        logits = []
        for keys, values in zip(support_keys.chunk(way), support_values.chunk(way), strict=True):
            keys, values = keys.flatten(0, 1), values.flatten(0, 1)  # (shot * P, h)
            attention = self.softmax(query_keys @ keys.T / keys.shape[-1] ** 0.5)
            logits.append(-(query_values - attention @ values).square().sum((1, 2)) / query_keys.shape[1])
        return torch.stack(logits, dim=1)

    @staticmethod
    def _keys(matcher: TupleMatcher, tokens: Tensor) -> tuple[Tensor, Tensor]:
        tuples = combinations(range(tokens.shape[1]), matcher.tuple_size)
        joined = torch.stack([tokens[:, list(t)].flatten(1) for t in tuples], dim=1)  # (N, P, size * D)
        return matcher.norm_k(matcher.k_linear(joined)), matcher.v_linear(joined)
