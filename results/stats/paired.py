"""Two methods on the same episodes: the difference, its interval and its test.

Quantiles are those of ``scipy.special``: ``scipy.stats`` gives the same t tests, but takes most of a second to import.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from fewdistill.results import ResultError
from fewdistill.results.stats.intervals import Floats, matrix, vector

ROUNDING = 1e-12
"""Sums of accuracies in another order differ by less; differences of at least one query by far more."""


@dataclass(frozen=True)
class Paired:
    """Mean of a - b with its 95 % interval and the two-sided p-value of "no difference"."""

    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class PairedOverSeeds:
    """Mean of a - b over training seeds, and how far to trust it.

    episodes: over other test episodes, for these very trained models. seeds: over other training seeds, for these
    episodes (None with one seed). both: over other seeds and other episodes at once (None with one seed).
    """

    mean: float
    episodes: Paired
    seeds: Paired | None
    both: Paired | None
    n_seeds: int

    @property
    def headline(self) -> Paired:
        """The widest statement the data allow: over seeds and episodes, or over episodes alone with one seed."""
        return self.both or self.episodes


def paired_difference(a: ArrayLike, b: ArrayLike) -> Paired:
    """a - b over the same episodes (n,): paired t interval and test."""
    left, right = vector(a, "a", 2), vector(b, "b", 2)
    if left.shape != right.shape:
        raise ResultError(f"paired values must come from the same episodes: {len(left)} against {len(right)}")
    difference = left - right
    n = len(difference)
    return t_test(float(difference.mean()), float(difference.var(ddof=1)) / n, n - 1)


def paired_over_seeds(a: Sequence[ArrayLike], b: Sequence[ArrayLike], shared: bool = True) -> PairedOverSeeds:
    """a - b averaged over training seeds; a[s] and b[s] are per-episode values (n,) of seed s on the same episodes.

    shared: all seeds met the same episodes. Then ``both`` rests on the two-way layout seeds x episodes with random
    effects: the variance of the mean is MS_seed/(S E), with S - 1 degrees of freedom, and (MS_episode - MS_rest)/(S E),
    with E - 1. The half-widths of the two t intervals add in squares (Howe, JASA 69, 1974), and p is the level at which
    the interval ends at 0. It covers 95 to 99 % in simulations, most where seeds differ little and are few. Otherwise
    seeds carry their own episodes, and the spread between seeds holds both errors. Either way ``both`` is never
    narrower, nor its p smaller, than over episodes alone: few seeds may agree by chance.
    """
    if len(a) != len(b) or not len(a):
        raise ResultError(f"as many seeds on both sides, at least one: {len(a)} against {len(b)}")
    each = [paired_difference(left, right) for left, right in zip(a, b, strict=True)]
    seeds = len(each)
    if seeds == 1:
        return PairedOverSeeds(each[0].mean, each[0], None, None, 1)
    means = np.array([part.mean for part in each])
    mean = float(means.mean())
    over_seeds = t_test(mean, float(means.var(ddof=1)) / seeds, seeds - 1)
    if not shared:
        rows = [np.asarray(left, float) - np.asarray(right, float) for left, right in zip(a, b, strict=True)]
        squares = [float(row.var(ddof=1)) / len(row) for row in rows]
        degrees = satterthwaite([(v, len(row) - 1) for v, row in zip(squares, rows, strict=True)])
        over_episodes = t_test(mean, sum(squares) / seeds**2, degrees)
        return PairedOverSeeds(mean, over_episodes, over_seeds, _wider(over_seeds, over_episodes), seeds)
    grid = matrix(a) - matrix(b)
    return PairedOverSeeds(
        mean, paired_difference(matrix(a).mean(0), matrix(b).mean(0)), over_seeds, _two_way(grid), seeds
    )


def _two_way(grid: Floats) -> Paired:
    """Mean of a (seeds, episodes) layout whose rows and columns are both samples.

    The part that only seeds know keeps the seeds' few degrees of freedom. Added to the episodes' part under one
    Satterthwaite number it would cover 93 % with three seeds and 88 % with two, since that number is itself a guess.
    What seeds and episodes leave over is in the seeds' mean square, too, and seeds that agree by chance do not take it
    away: their part is at least what it would be if seeds were all alike.
    """
    by_seed, by_episode, rest = mean_squares(grid)
    seeds, episodes = grid.shape
    size = seeds * episodes
    of_seeds, left_over, of_episodes = by_seed / size, rest / size, max(by_episode - rest, 0.0) / size
    mean = float(grid.mean())
    if of_seeds + left_over + of_episodes <= ROUNDING**2:
        return t_test(mean, 0.0, 1)

    def half(level: float) -> float:
        few, many = (float(special.stdtrit(n - 1, level / 2)) ** 2 for n in (seeds, episodes))
        return math.sqrt(max(few * of_seeds, many * left_over) + many * of_episodes)

    from scipy.optimize import brentq  # slow to import, and most commands compare nothing

    lowest = -100.0
    if half(10**lowest) <= abs(mean):
        p = 0.0
    else:
        p = 10 ** float(brentq(lambda power: half(10**power) - abs(mean), lowest, 0.0))
    return Paired(mean, mean - half(0.05), mean + half(0.05), p)


def _wider(one: Paired, other: Paired) -> Paired:
    """At each level the wider of two intervals about the same mean; p follows."""
    return Paired(one.mean, min(one.low, other.low), max(one.high, other.high), max(one.p, other.p))


def mean_squares(grid: Floats) -> tuple[float, float, float]:
    """Mean squares of a (seeds, episodes) layout with one value a cell, two of each at least: seeds, episodes, rest."""
    seeds, episodes = grid.shape
    if seeds < 2 or episodes < 2:
        raise ResultError(f"at least two seeds and two episodes, got {seeds} and {episodes}")
    rows, columns = grid.mean(axis=1), grid.mean(axis=0)
    left = grid - rows[:, None] - columns + grid.mean()
    rest = float((left**2).sum()) / ((seeds - 1) * (episodes - 1))
    return episodes * float(rows.var(ddof=1)), seeds * float(columns.var(ddof=1)), rest


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979): adjusted p-values in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def satterthwaite(parts: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances, each with its own, after Welch and Satterthwaite."""
    spread = math.fsum(value**2 / degrees for value, degrees in parts)
    total = math.fsum(value for value, _ in parts)
    return total**2 / spread if spread else min(degrees for _, degrees in parts)


def t_test(mean: float, variance: float, degrees: float) -> Paired:
    """t interval and test of a mean whose estimate has this variance; no spread at all is certainty."""
    if variance <= ROUNDING**2:
        return Paired(mean, mean, mean, 1.0 if abs(mean) <= ROUNDING else 0.0)
    error = math.sqrt(variance)
    half = float(special.stdtrit(degrees, 0.975)) * error
    return Paired(mean, mean - half, mean + half, float(2 * special.stdtr(degrees, -abs(mean) / error)))
