"""Statistics of one method against hand values, other people's code, and simulations with known truth.

A coverage is accepted within four binomial standard errors of 95 %, or of what the docstring states where that is not
nominal; seeds are fixed.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from fewdistill.results import ResultError
from fewdistill.results.stats import (
    closed_interval,
    closed_over_seeds,
    ece,
    holm,
    open_interval,
    seed_interval,
    seed_spread,
)
from tests.results.coverage import margin

SIMS = 600


def test_closed_interval_by_hand() -> None:
    found = closed_interval([1.0, 0.0, 1.0, 1.0])
    half = 1.96 * math.sqrt(3 / 16) / 2
    assert (found.mean, found.n) == (0.75, 4)
    assert found.low == pytest.approx(0.75 - half) and found.high == pytest.approx(0.75 + half)
    assert found.half_width == pytest.approx(half)


@pytest.mark.parametrize("bad", [[], [[0.1, 0.2]], [0.1, float("nan")]])
def test_values_that_are_none_are_refused(bad: list[float]) -> None:
    with pytest.raises(ResultError, match="finite values"):
        closed_interval(bad)


def test_closed_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    hits = [
        abs((found := closed_interval(rng.binomial(5, 0.7, 400) / 5)).mean - 0.7) <= found.half_width
        for _ in range(SIMS)
    ]
    assert abs(np.mean(hits) - 0.95) < margin(SIMS)


@pytest.mark.parametrize(("episodes", "level"), [(10, 0.905), (20, 0.93), (100, 0.947)])
def test_closed_interval_of_few_episodes_is_too_narrow(episodes: int, level: float) -> None:
    """1.96 and the population deviation are for many: the field's formula, kept as it is."""
    rng = np.random.default_rng(11)
    found = [closed_interval(rng.normal(0.7, 0.2, episodes)) for _ in range(SIMS)]
    share = np.mean([part.low <= 0.7 <= part.high for part in found])
    exact = 1 - 2 * scipy_stats.t.sf(1.96 * math.sqrt((episodes - 1) / episodes), episodes - 1)
    assert exact == pytest.approx(level, abs=0.005)
    assert abs(share - level) < margin(SIMS, level)


def test_closed_over_seeds_shared_and_not() -> None:
    a, b = np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0, 0.0])
    shared = closed_over_seeds([a, b], shared=True)
    assert (shared.mean, shared.half_width) == (0.5, 0.0)  # episode by episode the seeds cancel
    apart = closed_over_seeds([a, b], shared=False)
    assert apart.half_width == pytest.approx(1.96 * 0.25 / math.sqrt(2))


@pytest.mark.parametrize("shared", [True, False])
def test_closed_over_seeds_covers_the_truth_of_these_seeds(shared: bool) -> None:
    rng = np.random.default_rng(12)
    hits = []
    for _ in range(SIMS):
        mood = rng.normal(0, 0.2, 300) if shared else rng.normal(0, 0.2, (3, 300))
        found = closed_over_seeds(list(0.7 + mood + rng.normal(0, 0.1, (3, 300))), shared)
        hits.append(found.low <= 0.7 <= found.high)
    assert abs(np.mean(hits) - 0.95) < margin(SIMS)


def test_seed_interval() -> None:
    assert seed_interval([0.5]) is None
    found = seed_interval([0.4, 0.5, 0.6])
    assert found is not None
    assert found.half_width == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda values: np.std(values) > 1e-6))
def test_seed_interval_is_scipys(values: list[float]) -> None:
    found = seed_interval(values)
    assert found is not None and found.n == len(values)
    theirs = scipy_stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_seed_interval_and_spread_cover_the_truth(seeds: int) -> None:
    rng = np.random.default_rng(13)
    means, spreads = [], []
    for values in rng.normal(0.7, 0.02, (SIMS, seeds)):
        mean, spread = seed_interval(values), seed_spread(values)
        assert mean is not None and spread is not None and spread.n == seeds
        means.append(mean.low <= 0.7 <= mean.high)
        spreads.append(spread.low <= 0.02 <= spread.high)
    assert abs(np.mean(means) - 0.95) < margin(SIMS)
    assert abs(np.mean(spreads) - 0.95) < margin(SIMS)


def test_seed_spread_by_hand() -> None:
    assert seed_spread([0.5]) is None
    found = seed_spread([0.4, 0.5, 0.6])
    assert found is not None and found.sd == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((0.1 * math.sqrt(2 / 7.377759), 0.1 * math.sqrt(2 / 0.0506356)))
    alike = seed_spread([0.5, 0.5])
    assert alike is not None and (alike.low, alike.sd, alike.high) == (0, 0, 0)


def test_open_interval_covers_other_videos_where_the_closed_one_does_not() -> None:
    """400 episodes over 120 videos: each video returns, the closed interval takes it for a new one every time."""
    rng = np.random.default_rng(14)
    opened, closed = [], []
    for _ in range(SIMS // 2):
        ease = rng.normal(0.7, 0.2, 120)
        videos = rng.integers(0, 120, (400, 4))
        accuracy = ease[videos].mean(axis=1) + rng.normal(0, 0.05, 400)
        wide, narrow = open_interval(accuracy, videos[:, :2], videos[:, 2:]), closed_interval(accuracy)
        assert wide is not None
        opened.append(wide.low <= 0.7 <= wide.high)
        closed.append(narrow.low <= 0.7 <= narrow.high)
    assert abs(np.mean(opened) - 0.95) < margin(SIMS // 2)
    assert np.mean(closed) < 0.8


def test_open_interval_takes_disjoint_episodes_in_order() -> None:
    accuracy = np.arange(24) / 24
    support = np.repeat(np.arange(12), 2)[:, None]  # episodes 0 and 1 share video 0, and so on
    query = 100 + np.arange(24)[:, None]
    found = open_interval(accuracy, support, query)
    assert found is not None and found.n == 12
    assert found.mean == pytest.approx(accuracy[::2].mean())
    assert open_interval(accuracy[:18], support[:18], query[:18]) is None  # nine are too few
    assert open_interval(accuracy, support, np.zeros((24, 1), int)) is None  # all share the query


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@settings(derandomize=True, deadline=None, max_examples=20)  # each call of theirs collects garbage
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_raw_value_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    for raw, value in zip(p, adjusted, strict=True):
        assert raw <= value <= min(1.0, raw * len(p)) or value == pytest.approx(min(1.0, max(p)))
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


def test_ece_by_hand() -> None:
    # two bins of ten: (0.8, 0.9] holds 0.85 and 0.9, half right; (0.2, 0.3] holds 0.3, wrong
    assert ece([0.85, 0.9, 0.3], [1, 0, 0], bins=10) == pytest.approx((abs(1.75 - 1) + 0.3) / 3)
    assert ece([1.0, 0.0], [1, 0]) == 0.0
    with pytest.raises(ResultError, match=r"\[0, 1\]"):
        ece([1.2], [1])
