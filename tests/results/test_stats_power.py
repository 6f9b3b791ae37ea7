"""Detectable differences: against statsmodels, by integration, and by the power of the real tests in simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from statsmodels.stats.power import TTestPower

from fewdistill.results import ResultError
from fewdistill.results.stats import (
    Components,
    Needed,
    detectable,
    detectable_difference,
    detectable_over_seeds,
    difference_components,
    episodes_needed,
    episodes_needed_over_seeds,
    needed,
    paired_difference,
    paired_over_seeds,
)
from tests.results.coverage import margin

SIMS = 400


@pytest.mark.parametrize("episodes", [3, 10, 400, 10_000])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_detectable_difference_equals_statsmodels(episodes: int, power: float) -> None:
    theirs = 0.2 * TTestPower().solve_power(nobs=episodes, alpha=0.05, power=power)
    assert detectable_difference(0.2, episodes, power) == pytest.approx(theirs, rel=2e-3 if power == 0.5 else 1e-5)


def test_detectable_difference_of_two_values_by_integration() -> None:
    """One degree of freedom, where statsmodels' own search is rough: power by integrating over the chi-square."""
    shift = detectable_difference(1.0, 2) * math.sqrt(2)
    critical = stats.t.ppf(0.975, 1)
    power, _ = integrate.quad(lambda u: stats.norm.sf(critical * math.sqrt(stats.chi2.ppf(u, 1)) - shift), 0, 1)
    assert power == pytest.approx(0.8, abs=1e-5)


def test_the_paired_test_has_the_power_promised() -> None:
    rng = np.random.default_rng(1)
    truth = detectable_difference(0.3, 50)
    found = [paired_difference(truth + rng.normal(0, 0.3, 50), np.zeros(50)).p < 0.05 for _ in range(SIMS)]
    assert abs(np.mean(found) - 0.8) < margin(SIMS, 0.8)


def test_episodes_needed_inverts_detectable_difference() -> None:
    for difference in (0.01, 0.05, 0.3):
        needed = episodes_needed(0.2, difference)
        assert needed is not None
        assert detectable_difference(0.2, needed) <= difference < detectable_difference(0.2, needed - 1)
        assert needed == math.ceil(TTestPower().solve_power(effect_size=difference / 0.2, alpha=0.05, power=0.8))
    assert episodes_needed(0.2, 5.0) == 2
    assert episodes_needed(0.2, 1e-6) is None


@pytest.mark.parametrize(
    ("components", "seeds"),
    [
        (Components(0.02, 0.15, 0.3), 3),
        (Components(0.05, 0.1, 0.2), 3),
        (Components(0.0, 0.2, 0.3), 3),
        (Components(0.03, 0.15, 0.2), 8),
    ],
)
def test_the_test_over_seeds_has_the_power_promised(components: Components, seeds: int) -> None:
    rng = np.random.default_rng(2)
    truth, nothing = detectable_over_seeds(components, seeds, 60), [np.zeros(60)] * seeds
    found = []
    for _ in range(SIMS):
        grid = truth + rng.normal(0, components.seed, (seeds, 1)) + rng.normal(0, components.episode, 60)
        both = paired_over_seeds(list(grid + rng.normal(0, components.rest, grid.shape)), nothing).both
        assert both is not None
        found.append(both.p < 0.05)
    assert abs(np.mean(found) - 0.8) < margin(SIMS, 0.8) + 0.02  # squares added are an approximation


def test_more_episodes_stop_helping() -> None:
    components = Components(0.01, 0.15, 0.3)
    found = [detectable_over_seeds(components, 3, episodes) for episodes in (10, 100, 1000, 10_000, math.inf)]
    assert np.all(np.diff(found) < 0)
    floor = 5.653489 * 0.01 / math.sqrt(3)  # noncentral t of two degrees
    assert found[-1] == pytest.approx(floor, rel=1e-5)
    assert episodes_needed_over_seeds(components, 3, 0.99 * floor) is None
    needed = episodes_needed_over_seeds(components, 3, 1.2 * floor)
    assert needed is not None
    around = [detectable_over_seeds(components, 3, number) for number in (needed, needed - 1)]
    assert around[0] <= 1.2 * floor < around[1]
    assert episodes_needed_over_seeds(components, 10, 0.99 * floor) is not None  # seeds do help


def test_components_are_found_again() -> None:
    rng = np.random.default_rng(3)
    truth = Components(0.06, 0.2, 0.3)
    found = []
    for _ in range(400):
        grid = rng.normal(0, truth.seed, (5, 1)) + rng.normal(0, truth.episode, 100) + rng.normal(0, 0.3, (5, 100))
        part = difference_components(list(grid), list(np.zeros((5, 100))))
        found.append((part.seed**2, part.episode**2, part.rest**2))
    assert np.mean(found, axis=0) == pytest.approx(
        [0.06**2, 0.2**2, 0.3**2], rel=0.18
    )  # four errors of a seed variance


def test_components_by_hand() -> None:
    # rows 1 3 and 5 3: means 2 4, columns 3 3, rest -1 1 1 -1; mean squares 4, 0, 4
    found = difference_components([[1.0, 3.0], [5.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]])
    assert (found.seed, found.episode, found.rest) == (0.0, 0.0, 2.0)


def test_detectable_of_a_comparison() -> None:
    rng = np.random.default_rng(4)
    a, b = list(rng.normal(0.6, 0.2, (3, 40))), list(rng.normal(0.5, 0.2, (3, 40)))
    assert detectable(a, b) == detectable_over_seeds(difference_components(a, b), 3, 40)
    assert detectable(a[:1], b[:1]) == pytest.approx(detectable_difference(float(np.std(a[0] - b[0], ddof=1)), 40))
    means = [float((x - y).mean()) for x, y in zip(a, b, strict=True)]
    assert detectable(a, b, shared=False) == pytest.approx(detectable_difference(float(np.std(means, ddof=1)), 3))
    longer = [np.concatenate([part, part]) for part in (a[0], b[0])]
    assert detectable([longer[0], a[1]], [longer[1], b[1]], shared=False) > 0  # seeds of unequal length


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.floats(0.01, 2), st.integers(2, 5000), st.floats(0.1, 10))
def test_detectable_scales_and_falls(sd: float, episodes: int, factor: float) -> None:
    one = detectable_difference(sd, episodes)
    assert detectable_difference(factor * sd, episodes) == pytest.approx(factor * one)
    assert detectable_difference(sd, episodes + 1) < one
    assert detectable_difference(sd, episodes, power=0.9) > one
    nothing = Components(0.0, 0.0, sd)
    assert detectable_over_seeds(nothing, 4, episodes) > 0
    assert detectable_over_seeds(nothing, 5, episodes) < detectable_over_seeds(nothing, 4, episodes)


def test_no_spread_detects_everything() -> None:
    assert detectable_difference(0.0, 5) == 0.0
    assert detectable_over_seeds(Components(0.0, 0.0, 0.0), 3, 5) == 0.0
    assert episodes_needed(0.0, 0.1) == 2


def test_wrong_questions_are_refused() -> None:
    with pytest.raises(ResultError, match="at least two values"):
        detectable_difference(0.1, 1)
    with pytest.raises(ResultError, match="power lies between"):
        detectable_difference(0.1, 10, power=1.0)
    with pytest.raises(ResultError, match="not negative"):
        detectable_difference(-0.1, 10)
    with pytest.raises(ResultError, match="above 0"):
        episodes_needed(0.1, 0.0)
    with pytest.raises(ResultError, match="two of each"):
        detectable_over_seeds(Components(0.1, 0.1, 0.1), 1, 10)
    with pytest.raises(ResultError, match="at least two"):
        difference_components([[0.1, 0.2]], [[0.1, 0.2]])
    with pytest.raises(ResultError, match="as many seeds"):
        detectable([[0.1, 0.2]], [])
    with pytest.raises(ResultError, match="as many seeds"):
        needed([[0.1, 0.2]], [])


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.floats(0.002, 0.2))
def test_what_is_needed_finds_the_measured_difference_and_one_less_does_not(seed: int, seeds: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size, 0.1, (seeds, 40)) + rng.normal(0, 0.05, (seeds, 1))
    b = np.zeros_like(a)
    found, parts, measured = needed(a, b), difference_components(a, b), abs(float(a.mean()))
    for number, there in (
        (found.seeds, lambda n: detectable_over_seeds(parts, n, 40)),
        (found.episodes, lambda n: detectable_over_seeds(parts, seeds, n)),
    ):
        if number is not None:
            assert there(number) <= measured
            assert number == 2 or there(number - 1) > measured


def test_what_one_seed_needs_is_episodes_and_nothing_finds_no_difference() -> None:
    values = np.random.default_rng(0).normal(0.01, 0.1, (1, 50))
    found = needed(values, np.zeros_like(values))
    assert found.seeds is None and found.episodes == episodes_needed(float(values.std(ddof=1)), abs(values.mean()))
    assert needed(values, values) == Needed(None, None)
