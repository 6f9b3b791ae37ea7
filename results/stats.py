"""Intervals and tests for accuracies measured over episodes, classes and training seeds. All intervals are 95 %."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from results import ResultError

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


def closed_interval(accuracy: ArrayLike) -> Interval:
    """Mean +- 1.96 sd / sqrt(n), sd the population one, over per-episode accuracies (n,), as the field prints it.

    It covers the drawing of episodes from these videos only, not other videos, classes or training seeds.
    """
    values = _vector(accuracy, "per-episode accuracies", 1)
    half = 1.96 * float(values.std()) / math.sqrt(len(values))
    mean = float(values.mean())
    return Interval(mean, mean - half, mean + half, len(values))


def closed_over_seeds(accuracy: Sequence[ArrayLike], shared: bool) -> Interval:
    """The closed interval of an accuracy averaged over training seeds.

    accuracy: per seed, per-episode accuracies (n,). shared: all seeds met the same episodes, so that they are
    averaged episode by episode first; otherwise the seeds' errors are independent and add up in squares.
    """
    if shared:
        return closed_interval(_matrix(accuracy).mean(axis=0))
    parts = [closed_interval(values) for values in accuracy]
    mean = sum(part.mean for part in parts) / len(parts)
    half = math.sqrt(sum(part.half_width**2 for part in parts)) / len(parts)
    return Interval(mean, mean - half, mean + half, sum(part.n for part in parts))


def seed_interval(accuracy: ArrayLike) -> Interval | None:
    """t interval of a mean over training seeds, accuracies (seeds,); None with one seed."""
    values = _vector(accuracy, "accuracies of seeds", 1)
    if len(values) < 2:
        return None
    part = _t(float(values.mean()), float(values.var(ddof=1)) / len(values), len(values) - 1)
    return Interval(part.mean, part.low, part.high, len(values))


def open_interval(accuracy: ArrayLike, support: ArrayLike, query: ArrayLike) -> Interval | None:
    """t interval over episodes no two of which share a video; None with fewer than ten of them.

    accuracy (n,); support (n, S) and query (n, Q): video numbers. Episodes are taken in the order drawn whenever
    all their videos are still unused, so that the choice does not look at the accuracy. Source: Lafargue et al.,
    "Oops, I Sampled it Again", TMLR 2024 (arXiv 2409.02850).
    """
    values = _vector(accuracy, "per-episode accuracies", 1)
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
    chosen = values[kept]
    part = _t(float(chosen.mean()), float(chosen.var(ddof=1)) / len(chosen), len(chosen) - 1)
    return Interval(part.mean, part.low, part.high, len(chosen))


def class_bootstrap(
    correct: ArrayLike, query_class: ArrayLike, rng: np.random.Generator, draws: int = 2000
) -> Interval:
    """Percentile interval of the accuracy over other test classes: whole classes are drawn with replacement.

    correct (E, Q) zeros and ones; query_class (E, Q) class numbers. With few classes it is too narrow rather than
    too wide (with 10 classes it covers about 90 %). Raises ResultError below two classes.
    """
    right = np.asarray(correct, dtype=np.float64).ravel()
    _, inverse = np.unique(np.asarray(query_class).ravel(), return_inverse=True)
    if right.shape != inverse.shape:
        raise ResultError(f"{right.size} outcomes for {inverse.size} query classes")
    count = np.bincount(inverse).astype(np.float64)
    if len(count) < 2:
        raise ResultError("a bootstrap over classes needs at least two classes among the queries")
    hits = np.bincount(inverse, weights=right)
    weights = rng.multinomial(len(count), np.full(len(count), 1 / len(count)), size=draws)
    accuracy = (weights @ hits) / (weights @ count)
    low, high = np.quantile(accuracy, [0.025, 0.975])
    return Interval(float(right.mean()), float(low), float(high), len(count))


def paired_difference(a: ArrayLike, b: ArrayLike) -> Paired:
    """a - b over the same episodes (n,): paired t interval and test."""
    left, right = _vector(a, "a", 2), _vector(b, "b", 2)
    if left.shape != right.shape:
        raise ResultError(f"paired values must come from the same episodes: {len(left)} against {len(right)}")
    difference = left - right
    n = len(difference)
    return _t(float(difference.mean()), float(difference.var(ddof=1)) / n, n - 1)


def paired_over_seeds(a: Sequence[ArrayLike], b: Sequence[ArrayLike], shared: bool = True) -> PairedOverSeeds:
    """a - b averaged over training seeds; a[s] and b[s] are per-episode values (n,) of seed s on the same episodes.

    shared: all seeds met the same episodes. Then ``both`` rests on the two-way layout seeds x episodes with random
    effects (variance of the mean = MS_seed/(S E) + MS_episode/(S E) - MS_rest/(S E), degrees of freedom after
    Satterthwaite 1946). Otherwise seeds carry their own episodes, and the spread between seeds holds both errors.
    """
    if len(a) != len(b) or not len(a):
        raise ResultError(f"as many seeds on both sides, at least one: {len(a)} against {len(b)}")
    each = [paired_difference(left, right) for left, right in zip(a, b, strict=True)]
    seeds = len(each)
    if seeds == 1:
        return PairedOverSeeds(each[0].mean, each[0], None, None, 1)
    means = np.array([part.mean for part in each])
    mean = float(means.mean())
    over_seeds = _t(mean, float(means.var(ddof=1)) / seeds, seeds - 1)
    if not shared:
        rows = [np.asarray(left, float) - np.asarray(right, float) for left, right in zip(a, b, strict=True)]
        squares = [float(row.var(ddof=1)) / len(row) for row in rows]
        degrees = _satterthwaite([(v, len(row) - 1) for v, row in zip(squares, rows, strict=True)])
        return PairedOverSeeds(mean, _t(mean, sum(squares) / seeds**2, degrees), over_seeds, over_seeds, seeds)
    grid = _matrix(a) - _matrix(b)
    return PairedOverSeeds(
        mean, paired_difference(_matrix(a).mean(0), _matrix(b).mean(0)), over_seeds, _two_way(grid), seeds
    )


def _two_way(grid: Floats) -> Paired:
    """Mean of a (seeds, episodes) layout whose rows and columns are both samples."""
    seeds, episodes = grid.shape
    mean = float(grid.mean())
    rows, columns = grid.mean(axis=1), grid.mean(axis=0)
    size = seeds * episodes
    by_seed = float(rows.var(ddof=1)) / seeds
    by_episode = float(columns.var(ddof=1)) / episodes
    rest = float(((grid - rows[:, None] - columns + mean) ** 2).sum()) / ((seeds - 1) * (episodes - 1)) / size
    # Where the noise is all there is, the subtraction may overshoot: never below the larger of the two parts.
    variance = max(by_seed + by_episode - rest, by_seed, by_episode)
    parts = [(by_seed, seeds - 1), (by_episode, episodes - 1)]
    if variance == by_seed + by_episode - rest:
        parts.append((rest, (seeds - 1) * (episodes - 1)))
    spread = sum(value**2 / degrees for value, degrees in parts)
    return _t(mean, variance, variance**2 / spread if spread else seeds - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979): adjusted p-values in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def pareto_front(cost: Sequence[float], accuracy: Sequence[float]) -> list[int]:
    """Positions of the points no other beats (cheaper or as cheap, and better or as good), by rising cost."""
    order = sorted(range(len(cost)), key=lambda i: (cost[i], -accuracy[i]))
    front: list[int] = []
    for i in order:
        if not front or accuracy[i] > accuracy[front[-1]]:
            front.append(i)
    return front


def hypervolume(cost: Sequence[float], accuracy: Sequence[float], worst_cost: float, worst_accuracy: float) -> float:
    """Area between the Pareto front and the corner (worst_cost, worst_accuracy); more is better.

    Points beyond the corner count for nothing. In units of cost x accuracy: hand in log10 costs to compare decades.
    """
    inside = [i for i in range(len(cost)) if cost[i] < worst_cost and accuracy[i] > worst_accuracy]
    front = pareto_front([cost[i] for i in inside], [accuracy[i] for i in inside])
    area, floor = 0.0, worst_accuracy
    for i in (inside[j] for j in front):
        area += (worst_cost - cost[i]) * (accuracy[i] - floor)
        floor = accuracy[i]
    return float(area)


def ece(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error over ``bins`` equal bins (lo, hi] of [0, 1]; source: Guo et al., ICML 2017, eq. 3.

    confidence (n,): probability given to the answer; correct (n,): whether it was right.
    """
    sure, right = _vector(confidence, "confidences", 1), _vector(correct, "outcomes", 1)
    if sure.shape != right.shape or sure.min() < 0 or sure.max() > 1:
        raise ResultError(f"confidences must lie in [0, 1], one for each outcome: {sure.size} for {right.size}")
    bin_of = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, weights=sure - right, minlength=bins)
    return float(np.abs(gap).sum() / len(sure))


def _satterthwaite(parts: Sequence[tuple[float, int]]) -> float:
    """Degrees of freedom of a sum of variances, each with its own."""
    spread = sum(value**2 / degrees for value, degrees in parts)
    total = sum(value for value, _ in parts)
    return total**2 / spread if spread else min(degrees for _, degrees in parts)


def _t(mean: float, variance: float, degrees: float) -> Paired:
    """t interval and test of a mean whose estimate has this variance; no spread at all is certainty."""
    if variance <= 0:
        return Paired(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    error = math.sqrt(variance)
    half = float(stats.t.ppf(0.975, degrees)) * error
    return Paired(mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, degrees)))


def _vector(values: ArrayLike, what: str, fewest: int) -> Floats:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or len(vector) < fewest or not np.isfinite(vector).all():
        raise ResultError(f"{what}: wanted at least {fewest} finite values in one row, got shape {vector.shape}")
    return vector


def _matrix(rows: Sequence[ArrayLike]) -> Floats:
    vectors = [_vector(row, "per-episode values", 1) for row in rows]
    if len({len(vector) for vector in vectors}) != 1:
        raise ResultError(f"seeds on the same episodes must have as many: {[len(vector) for vector in vectors]}")
    return np.stack(vectors)
