"""A mean with its interval: over episodes, over disjoint tasks, over training seeds. All intervals are 95 %."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from fewdistill.results import ResultError

Floats = NDArray[np.float64]

FEWEST_DISJOINT = 10
"""Fewer disjoint tasks than this say nothing worth printing."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, in the unit of what went in; ``n``: how many values it rests on."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Spread:
    """A standard deviation with its 95 % interval, in the unit of what went in; ``n``: how many values it rests on."""

    sd: float
    low: float
    high: float
    n: int


def closed_interval(accuracy: ArrayLike) -> Interval:
    """Mean +- 1.96 sd / sqrt(n), sd the population one, over per-episode accuracies (n,), as the field prints it.

    It covers the drawing of episodes from these videos only, not other videos, classes or training seeds.
    """
    values = vector(accuracy, "per-episode accuracies", 1)
    half = 1.96 * float(values.std()) / math.sqrt(len(values))
    mean = float(values.mean())
    return Interval(mean, mean - half, mean + half, len(values))


def closed_over_seeds(accuracy: Sequence[ArrayLike], shared: bool) -> Interval:
    """The closed interval of an accuracy averaged over training seeds.

    accuracy: per seed, per-episode accuracies (n,). shared: all seeds met the same episodes, so that they are
    averaged episode by episode first; otherwise the seeds' errors are independent and add up in squares.
    """
    if shared:
        return closed_interval(matrix(accuracy).mean(axis=0))
    parts = [closed_interval(values) for values in accuracy]
    mean = sum(part.mean for part in parts) / len(parts)
    half = math.sqrt(sum(part.half_width**2 for part in parts)) / len(parts)
    return Interval(mean, mean - half, mean + half, sum(part.n for part in parts))


def seed_interval(accuracy: ArrayLike) -> Interval | None:
    """t interval of a mean over training seeds, accuracies (seeds,); None with one seed."""
    values = vector(accuracy, "accuracies of seeds", 1)
    if len(values) < 2:
        return None
    return _t_interval(values)


def seed_spread(accuracy: ArrayLike) -> Spread | None:
    """Standard deviation (ddof 1) from one training seed to another, accuracies (seeds,); None with one seed.

    Chi-square interval, exact for normal values and wide with few: of three seeds, 0.52 to 6.3 times the figure. It
    says where one more run may land, not how well the mean is known (``seed_interval``). The noise of finitely many
    episodes is in it.
    """
    values = vector(accuracy, "accuracies of seeds", 1)
    degrees = len(values) - 1
    if not degrees:
        return None
    sd = float(values.std(ddof=1))
    chi_square = (2 * float(special.gammaincinv(degrees / 2, level)) for level in (0.975, 0.025))
    low, high = (sd * math.sqrt(degrees / quantile) for quantile in chi_square)
    return Spread(sd, low, high, len(values))


def open_interval(accuracy: ArrayLike, support: ArrayLike, query: ArrayLike) -> Interval | None:
    """t interval over episodes no two of which share a video; None with fewer than ten of them.

    accuracy (n,); support (n, S) and query (n, Q): video numbers. Episodes are taken in the order drawn whenever
    all their videos are still unused, so that the choice does not look at the accuracy. Source: Lafargue et al.,
    "Oops, I Sampled it Again", TMLR 2024 (arXiv 2409.02850).
    """
    values = vector(accuracy, "per-episode accuracies", 1)
    videos = np.concatenate([np.asarray(support), np.asarray(query)], axis=1)
    if len(videos) != len(values):
        raise ResultError(f"{len(values)} accuracies for {len(videos)} episodes")
    used: set[int] = set()
    kept = []
    for episode, row in enumerate(videos.tolist()):
        if used.isdisjoint(row):
            used.update(row)
            kept.append(episode)
    if len(kept) < FEWEST_DISJOINT:
        return None
    return _t_interval(values[kept])


def _t_interval(values: Floats) -> Interval:
    mean = float(values.mean())
    half = float(special.stdtrit(len(values) - 1, 0.975) * values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, len(values))


def vector(values: ArrayLike, what: str, fewest: int) -> Floats:
    """The values as float64 (n,), n at least ``fewest`` and all finite; else ResultError."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or len(vector) < fewest or not np.isfinite(vector).all():
        raise ResultError(f"{what}: wanted at least {fewest} finite values in one row, got shape {vector.shape}")
    return vector


def matrix(rows: Sequence[ArrayLike]) -> Floats:
    """Seeds on the same episodes as float64 (seeds, episodes); ResultError when they have not as many each."""
    vectors = [vector(row, "per-episode values", 1) for row in rows]
    if len({len(vector) for vector in vectors}) != 1:
        raise ResultError(f"seeds on the same episodes must have as many: {[len(vector) for vector in vectors]}")
    return np.stack(vectors)
