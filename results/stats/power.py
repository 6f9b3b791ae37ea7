"""What a comparison of some size can detect: power of the paired t test, over episodes and over training seeds."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from fewdistill.results import ResultError
from fewdistill.results.stats.intervals import matrix, vector
from fewdistill.results.stats.paired import mean_squares

POWER = 0.8
ALPHA = 0.05
"""Two-sided."""

MOST_EPISODES, MOST_SEEDS = 10_000_000, 1_000
"""Nobody evaluates or trains more: a difference that wants more is not to be had."""


@dataclass(frozen=True)
class Components:
    """Standard deviations that make up a per-episode difference between two methods, in its unit.

    seed: of a training seed's true difference about the mean of all seeds. episode: of an episode's, about the mean of
    all episodes. rest: what is left in one episode of one seed.
    """

    seed: float
    episode: float
    rest: float


@dataclass(frozen=True)
class Needed:
    """What would find a true difference as large as the measured one with a probability of 80 %.

    episodes: how many for as many seeds, None where no number is enough. seeds: how many with as many episodes, None
    for a single seed, of whose spread nothing is known, and above a thousand.
    """

    episodes: int | None
    seeds: int | None


def detectable_difference(sd: float, episodes: int, power: float = POWER) -> float:
    """The smallest true difference that a paired t test at 5 % (two-sided) finds with this probability.

    sd: standard deviation of the per-episode difference (ddof 1), or of the seeds' differences with ``episodes`` the
    number of seeds; the answer is in its unit. Noncentral t, exact for normal differences; source: Cohen, Statistical
    Power Analysis, 1988, chapter 2. It says nothing of other training seeds.
    """
    _check(sd, power)
    if episodes < 2:
        raise ResultError(f"a paired test needs at least two values, got {episodes}")
    return _noncentrality(episodes - 1, power) * sd / math.sqrt(episodes)


def episodes_needed(sd: float, difference: float, power: float = POWER) -> int | None:
    """The fewest episodes with which ``detectable_difference`` is at most ``difference``; None above 10 million."""
    _check(sd, power)
    _check_difference(difference)
    return _fewest(lambda episodes: detectable_difference(sd, episodes, power), difference, MOST_EPISODES)


def difference_components(a: Sequence[ArrayLike], b: Sequence[ArrayLike]) -> Components:
    """Components of a - b, from per-episode values (n,) of at least two seeds that met the same episodes.

    From the mean squares of the two-way layout (Searle, Casella & McCulloch, Variance Components, 1992, chapter 4);
    a negative estimate is 0. With few seeds the seed component is itself badly known: see ``seed_spread``.
    """
    if len(a) != len(b) or len(a) < 2:
        raise ResultError(f"as many seeds on both sides, at least two: {len(a)} against {len(b)}")
    by_seed, by_episode, rest = mean_squares(grid := matrix(a) - matrix(b))
    seed, episode = (by_seed - rest) / grid.shape[1], (by_episode - rest) / grid.shape[0]
    return Components(math.sqrt(max(seed, 0.0)), math.sqrt(max(episode, 0.0)), math.sqrt(rest))


def detectable_over_seeds(components: Components, seeds: int, episodes: float, power: float = POWER) -> float:
    """The smallest true difference that ``paired_over_seeds`` (both) finds with this probability at 5 % (two-sided).

    All seeds meet the same episodes. episodes: their number, or ``math.inf`` for what no number of episodes betters:
    the seeds' part of the error, seed / sqrt(seeds), is left, with the large t of few seeds. The two parts add in
    squares as in the test; in simulations with 2 to 10 seeds the promised power of 80 % came out at 78 to 83 %.
    """
    if seeds < 2 or episodes < 2:
        raise ResultError(f"a test over seeds and episodes needs two of each, got {seeds} and {episodes}")
    _check(components.seed + components.episode + components.rest, power)
    by_seed = components.seed**2 / seeds + components.rest**2 / seeds / episodes
    by_episode = components.episode**2 / episodes
    of_seeds = _noncentrality(seeds - 1, power) ** 2 * by_seed
    return math.sqrt(of_seeds + (_noncentrality(episodes - 1, power) ** 2 * by_episode if by_episode else 0.0))


def episodes_needed_over_seeds(
    components: Components, seeds: int, difference: float, power: float = POWER
) -> int | None:
    """The fewest episodes with which ``detectable_over_seeds`` is at most ``difference``.

    None where no number up to 10 million is enough: only more training seeds help.
    """
    _check_difference(difference)
    return _fewest(
        lambda episodes: detectable_over_seeds(components, seeds, episodes, power), difference, MOST_EPISODES
    )


def detectable(a: Sequence[ArrayLike], b: Sequence[ArrayLike], shared: bool = True, power: float = POWER) -> float:
    """The smallest true difference that this very comparison, ``paired_over_seeds(a, b, shared).headline``, would find.

    a[s] and b[s]: per-episode values (n,) of seed s. Where the measured difference is smaller and not significant,
    nothing has been shown either way. The spread is estimated from the same values.
    """
    if len(a) != len(b) or not len(a):
        raise ResultError(f"as many seeds on both sides, at least one: {len(a)} against {len(b)}")
    if len(a) > 1 and shared:
        return detectable_over_seeds(difference_components(a, b), len(a), len(vector(a[0], "a", 2)), power)
    differences = [matrix([x, y]) for x, y in zip(a, b, strict=True)]
    values = np.array([pair[0].mean() - pair[1].mean() for pair in differences])
    if len(a) == 1:
        values = differences[0][0] - differences[0][1]
    return detectable_difference(float(vector(values, "differences", 2).std(ddof=1)), len(values), power)


def needed(a: Sequence[ArrayLike], b: Sequence[ArrayLike], power: float = POWER) -> Needed:
    """What would find a true difference as large as that of a and b, which share seeds and episodes as in `detectable`.

    Spread and difference are estimated from the same values, so this is a guide to how far one is, no promise. A
    measured difference of 0 needs more than there is.
    """
    if len(a) != len(b) or not len(a):
        raise ResultError(f"as many seeds on both sides, at least one: {len(a)} against {len(b)}")
    grid = matrix(a) - matrix(b)
    measured, (count, episodes) = abs(float(grid.mean())), grid.shape
    if not measured:
        return Needed(None, None)
    if count == 1:
        return Needed(episodes_needed(float(vector(grid[0], "differences", 2).std(ddof=1)), measured, power), None)
    parts = difference_components(a, b)
    return Needed(
        episodes_needed_over_seeds(parts, count, measured, power),
        _fewest(lambda seeds: detectable_over_seeds(parts, seeds, episodes, power), measured, MOST_SEEDS),
    )


def _noncentrality(degrees: float, power: float) -> float:
    """True difference in standard errors that a two-sided t test of 5 % finds, on its right side, with this power."""
    critical = special.stdtrit(degrees, 1 - ALPHA / 2)
    return float(special.nctdtrinc(degrees, 1 - power, critical))


def _fewest(detected: Callable[[int], float], difference: float, most: int) -> int | None:
    """The first number from 2 to ``most`` at which a falling ``detected`` is at most ``difference``."""
    numbers = range(2, most + 1)
    first = bisect_left(numbers, True, key=lambda number: detected(number) <= difference)
    return numbers[first] if first < len(numbers) else None


def _check(sd: float, power: float) -> None:
    if not (math.isfinite(sd) and sd >= 0):
        raise ResultError(f"a standard deviation is finite and not negative, got {sd}")
    if not ALPHA < power < 1:
        raise ResultError(f"power lies between {ALPHA} and 1, got {power}")


def _check_difference(difference: float) -> None:
    if not difference > 0:
        raise ResultError(f"a difference to detect is above 0, got {difference}")
