"""Pareto fronts of accuracy over cost: which points are on it, the area they win, and how sure either is."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fewdistill.results import ResultError
from fewdistill.results.stats.intervals import Floats, Interval, matrix, vector
from fewdistill.results.stats.paired import mean_squares


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
    if len(cost) != len(accuracy):
        raise ResultError(f"{len(cost)} costs for {len(accuracy)} accuracies")
    return float(_areas(cost, np.asarray(accuracy, dtype=np.float64)[None], worst_cost, worst_accuracy)[0])


def accuracy_draws(
    points: Sequence[Sequence[ArrayLike]], rng: np.random.Generator, draws: int = 4000, shared: bool = True
) -> Floats:
    """Draws (draws, P) of what the points' accuracies may be, other episodes and training seeds given.

    points: for each point, per-episode accuracies (n,) of each training seed, fractions. shared: all points and seeds
    met the same episodes; then what the episodes do to all points alike is drawn alike. Normal over episodes; over
    seeds a t with seeds - 1 degrees, each point for itself, from the seeds' variance less the noise of episodes in it.
    A point of one seed has no seed part: it looks surer than it is. Classes and videos stay as they are.
    """
    if not len(points) or not all(len(point) for point in points):
        raise ResultError("a front needs at least one point, and each point at least one training seed")
    rows = [[vector(row, "per-episode accuracies", 2) for row in point] for point in points]
    means = np.array([np.mean([row.mean() for row in point]) for point in rows])
    if shared:
        by_episode = matrix([matrix(point).mean(axis=0) for point in rows])
        covariance = np.atleast_2d(np.cov(by_episode)) / by_episode.shape[1]
    else:
        covariance = np.diag([sum(row.var(ddof=1) / len(row) for row in point) / len(point) ** 2 for point in rows])
    drawn = means + rng.multivariate_normal(np.zeros(len(rows)), covariance, size=draws, method="eigh")
    for index, point in enumerate(rows):
        if len(point) > 1:
            error = math.sqrt(_seed_variance(point, shared) / len(point))
            drawn[:, index] += error * rng.standard_t(len(point) - 1, size=draws)
    return np.clip(drawn, 0, 1)


def front_probability(cost: Sequence[float], draws: Floats) -> list[float]:
    """Share of the draws (draws, P) in which each point is on the Pareto front; cost (P,).

    Near 0 or 1 the measured front may be trusted; between, the episodes and seeds do not decide. Equal points are on
    the front together.
    """
    order, accuracy = _by_cost(cost, draws)
    values, first = np.unique(np.asarray(cost, dtype=np.float64)[order], return_index=True)
    best = np.maximum.reduceat(accuracy, first, axis=1)  # at each cost
    before = np.maximum.accumulate(np.pad(best, ((0, 0), (1, 0)), constant_values=-np.inf), axis=1)[:, :-1]
    group = np.repeat(np.arange(len(values)), np.diff([*first, len(order)]))
    on_front = (accuracy == best[:, group]) & (accuracy > before[:, group])
    share = np.empty(len(order))
    share[order] = on_front.mean(axis=0)
    return [float(value) for value in share]


def hypervolume_interval(
    cost: Sequence[float], accuracy: Sequence[float], draws: Floats, worst_cost: float, worst_accuracy: float
) -> Interval:
    """``hypervolume`` of the measured accuracies (P,) with its interval by the draws (draws, P). ``n``: P.

    The best of several noisy points looks better than it is, and drawing once more adds as much again: the draws'
    percentiles are reflected in the measured value (basic bootstrap: Davison & Hinkley, 1997, section 5.2). It covers
    95 to 99 % in simulations; not reflected, it would cover 79 % where six points are equally good.
    """
    measured = hypervolume(cost, accuracy, worst_cost, worst_accuracy)
    drawn_low, drawn_high = np.quantile(_areas(cost, draws, worst_cost, worst_accuracy), [0.025, 0.975])
    low, high = max(2 * measured - drawn_high, 0.0), max(2 * measured - drawn_low, measured)
    return Interval(measured, float(low), float(high), len(accuracy))


def _areas(cost: Sequence[float], accuracy: Floats, worst_cost: float, worst_accuracy: float) -> Floats:
    """Hypervolume of every row of accuracies (draws, P): the best so far, times the way to the next cost."""
    if not len(cost):
        return np.zeros(len(accuracy))
    order, sorted_accuracy = _by_cost(cost, accuracy)
    reached = np.minimum(np.asarray(cost, dtype=np.float64)[order], worst_cost)
    best = np.maximum.accumulate(np.maximum(sorted_accuracy - worst_accuracy, 0), axis=1)
    return best @ np.diff(reached, append=worst_cost)


def _by_cost(cost: Sequence[float], accuracy: Floats) -> tuple[NDArray[np.intp], Floats]:
    """The order of rising cost, and the columns of accuracy in it."""
    if accuracy.ndim != 2 or accuracy.shape[1] != len(cost) or not np.isfinite(cost).all():
        raise ResultError(f"{len(cost)} finite costs wanted, one for each column of accuracies {accuracy.shape}")
    order = np.argsort(cost, kind="stable")
    return order, accuracy[:, order]


def _seed_variance(point: Sequence[Floats], shared: bool) -> float:
    """Variance between training seeds, less what the episodes put into it."""
    means = np.array([row.mean() for row in point])
    if shared:
        noise = mean_squares(matrix(point))[2] / len(point[0])
    else:
        noise = float(np.mean([row.var(ddof=1) / len(row) for row in point]))
    return max(float(means.var(ddof=1)) - noise, 0.0)
