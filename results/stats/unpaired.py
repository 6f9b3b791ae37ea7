"""The difference of two accuracies that share no episodes: their errors are independent and add up in squares."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fewdistill.results.stats.paired import Paired, satterthwaite, t_test

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean, the variance of that mean by its independent sources, and each source's degrees of freedom."""

    mean: float
    sources: tuple[tuple[float, float], ...]


def estimate(values: Sequence[Floats], shared: bool) -> Estimate:
    """Mean of per-episode values over seeds and episodes, one vector (n,) a seed, each of two values at least.

    shared: all seeds met the same episodes. Then seeds and episodes vary together, and the variance is that of the
    seeds' means plus that of the episodes' means, each over its number. Both hold the noise of the single answers,
    which is thus counted twice: too wide rather than too narrow. Otherwise each seed carries its own episodes, and
    the spread of the seeds' means holds both; where few seeds agree by chance, that of the episodes stands in. One
    seed: episodes alone.
    """
    means = np.array([value.mean() for value in values])
    mean = float(means.mean())
    seeds = len(values)
    if seeds == 1:
        return Estimate(mean, (_source(values[0]),))
    if not shared:
        alone = [_source(value) for value in values]
        over_episodes = sum(variance for variance, _ in alone) / seeds**2, sum(degrees for _, degrees in alone)
        return Estimate(mean, (max(_source(means), over_episodes),))
    return Estimate(mean, (_source(means), _source(np.stack(values).mean(axis=0))))


def unpaired_difference(a: Estimate, b: Estimate) -> Paired:
    """a - b with its 95 % t interval and p-value, degrees of freedom after Welch and Satterthwaite."""
    mean = a.mean - b.mean
    parts = a.sources + b.sources
    variance = math.fsum(value for value, _ in parts)  # exact: B - A must be the very negative of A - B
    return t_test(mean, variance, satterthwaite(parts))


def _source(values: Floats) -> tuple[float, float]:
    return float(values.var(ddof=1)) / len(values), len(values) - 1
