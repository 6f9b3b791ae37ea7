"""Plain restatements of published equations, written for reading, not for speed."""

from itertools import combinations

import torch
from torch import Tensor

from fewdistill.students.heads.trx import TRX


def trx_logits(head: TRX, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
    """TRX (Perrett et al., CVPR 2021, equations 1-8): tokens (S, T, D), (Q, T, D), labels (S,) -> logits (Q, way).

    For each query video and class, tuple by tuple: concatenated frames, attention over all tuples of the class,
    squared distance of the query's tuple value to what it attended to, mean over tuples, mean over tuple sizes.
    """
    logits = torch.zeros(query.shape[0], way, dtype=query.dtype)
    for matcher in head.matchers:
        tuples = list(combinations(range(query.shape[1]), matcher.tuple_size))

        def keys_and_values(video: Tensor, matcher=matcher, tuples=tuples) -> tuple[Tensor, Tensor]:
            frames = video + head.encoding
            joined = torch.stack([torch.cat([frames[frame] for frame in chosen]) for chosen in tuples])
            return matcher.norm_k(matcher.k_linear(joined)), matcher.v_linear(joined)

        for column in range(way):
            of_class = [keys_and_values(video) for video, label in zip(support, labels, strict=True) if label == column]
            keys = torch.cat([pair[0] for pair in of_class])
            values = torch.cat([pair[1] for pair in of_class])
            for row, video in enumerate(query):
                for key, value in zip(*keys_and_values(video), strict=True):
                    attention = torch.softmax(keys @ key / key.shape[0] ** 0.5, dim=0)
                    distance = (value - attention @ values).square().sum()
                    logits[row, column] -= distance / len(tuples)
    return logits / len(head.matchers)


def class_distances(tokens: Tensor, labels: Tensor, way: int) -> Tensor:
    """Lite-MKD's support level, (way, way - 1): -(1/T) squared distance between mean tokens of class i and others."""
    prototypes = [tokens[labels == column].mean(0) for column in range(way)]
    rows = [
        [-(prototypes[i] - prototypes[j]).square().sum() / tokens.shape[1] for j in range(way) if j != i]
        for i in range(way)
    ]
    return torch.stack([torch.stack(row) for row in rows])


def alignment_cost(distances: Tensor, smoothing: float, down_in_first: bool) -> Tensor:
    """OTAM's recurrence (Cao et al., CVPR 2020, equation 8) for one (L, M) matrix, cell by cell, by its definition.

    Padded columns cost nothing. A cell is reached from the left or from above left; in the last padded column, and in
    the first real one where ``down_in_first``, from straight above too. The first padded column costs nothing at all.
    """
    rows, columns = distances.shape
    cost = {(row, 0): torch.zeros((), dtype=distances.dtype) for row in range(rows)}
    for row in range(rows):
        for column in range(1, columns + 2):
            before = [(row, column - 1), (row - 1, column - 1)]
            if column == columns + 1 or (down_in_first and column == 1):
                before.append((row - 1, column))
            reached = torch.stack([cost[cell] for cell in before if cell in cost])
            here = distances[row, column - 1] if column <= columns else 0
            cost[row, column] = here - smoothing * torch.log(torch.exp(-reached / smoothing).sum())
    return cost[rows - 1, columns + 1]
