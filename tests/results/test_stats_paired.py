"""Differences of two methods against hand values, other people's code, and simulations with known truth.

A coverage is accepted within four binomial standard errors of 95 %, or of what the docstring states where that is not
nominal; seeds are fixed.
"""

import math
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from fewdistill.results import ResultError
from fewdistill.results.stats import PairedOverSeeds, paired_difference, paired_over_seeds
from tests.results.coverage import margin

SIMS = 600


def test_paired_difference_by_hand() -> None:
    found = paired_difference(
        [3.0, 5.0, 4.0, 8.0], [1.0, 2.0, 4.0, 5.0]
    )  # differences 2 3 0 3, sd sqrt 2, t = 2 sqrt 2
    assert found.mean == 2.0
    assert found.p == pytest.approx(0.0662760, abs=1e-6)
    assert found.high - 2.0 == pytest.approx(3.182446 * math.sqrt(2) / 2, rel=1e-6)
    assert paired_difference([1.0, 2.0], [1.0, 2.0]).p == 1.0
    with pytest.raises(ResultError, match="same episodes"):
        paired_difference([1.0, 2.0], [1.0, 2.0, 3.0])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30).filter(
        lambda pairs: len({a - b for a, b in pairs}) > 1
    ),
    st.floats(0.1, 10),
    st.randoms(use_true_random=False),
)
def test_paired_difference_is_scipys_and_keeps_its_symmetries(
    pairs: list[tuple[int, int]], scale: float, random: Random
) -> None:
    a, b = np.array(pairs).T / 5
    found, theirs = paired_difference(a, b), scipy_stats.ttest_rel(a, b)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-6)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-6, abs=1e-12)
    swapped = paired_difference(b, a)
    assert (swapped.mean, swapped.low, swapped.high) == pytest.approx((-found.mean, -found.high, -found.low))
    assert swapped.p == pytest.approx(found.p)
    order = random.sample(range(len(a)), len(a))
    scaled = paired_difference(scale * a[order], scale * b[order])
    assert (scaled.low, scaled.high, scaled.p) == pytest.approx((scale * found.low, scale * found.high, found.p))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 20), st.floats(0.1, 10))
def test_order_sign_and_scale_of_a_difference_over_seeds(seed: int, seeds: int, episodes: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, seeds, episodes))
    found = paired_over_seeds(list(a), list(b)).headline
    rows, columns = rng.permutation(seeds), rng.permutation(episodes)
    moved = paired_over_seeds(list(scale * a[rows][:, columns]), list(scale * b[rows][:, columns])).headline
    assert (moved.low, moved.high, moved.p) == pytest.approx((scale * found.low, scale * found.high, found.p), rel=1e-6)
    swapped = paired_over_seeds(list(b), list(a)).headline
    assert (swapped.low, swapped.high, swapped.p) == pytest.approx((-found.high, -found.low, found.p), rel=1e-6)
    assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_pairing_keeps_its_level_where_nothing_differs() -> None:
    rng = np.random.default_rng(4)
    small = 0
    for _ in range(SIMS):
        mood = rng.normal(0, 0.3, 200)
        found = paired_difference(mood + rng.normal(0, 0.1, 200), mood + rng.normal(0, 0.1, 200))
        small += found.p < 0.05
        assert found.high - found.low < 0.05  # what the episodes have in common is gone
    assert abs(small / SIMS - 0.05) < margin(SIMS, 0.05)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(
    ("seed_sd", "episode_sd", "noise"), [(0.02, 0.2, 0.3), (0.05, 0.0, 0.2), (0.0, 0.3, 0.3), (0.1, 0.3, 0.2)]
)
def test_both_sources_together_cover_the_truth(seeds: int, seed_sd: float, episode_sd: float, noise: float) -> None:
    rng = np.random.default_rng(5)
    both, over_episodes, over_seeds, nothing = [], [], [], list(np.zeros((seeds, 80)))
    for _ in range(SIMS // 2):
        shape = seeds, 80
        grid = 0.03 + rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, episode_sd, 80) + rng.normal(0, noise, shape)
        found = paired_over_seeds(list(grid), nothing)
        assert found.both is not None and found.seeds is not None and found.headline is found.both
        assert found.mean == pytest.approx(grid.mean())
        both.append(found.both.low <= 0.03 <= found.both.high)
        over_episodes.append(found.episodes.low <= 0.03 <= found.episodes.high)
        over_seeds.append(found.seeds.low <= 0.03 <= found.seeds.high)
    room = margin(SIMS // 2)
    assert np.mean(both) >= 0.95 - room  # never too narrow; up to 99 % where seeds differ little
    if seed_sd == 0.0:
        assert abs(np.mean(over_episodes) - 0.95) < room
    if episode_sd == 0.0:
        assert abs(np.mean(over_seeds) - 0.95) < room
        assert np.mean(over_episodes) < 0.8  # episodes alone do not see the seeds


def test_both_covers_with_two_seeds_where_one_satterthwaite_number_would_not() -> None:
    """Seeds matter more than episodes, two seeds: adding both under Satterthwaite's degrees covers 88 %."""
    rng = np.random.default_rng(15)
    hits, nothing = [], [np.zeros(20)] * 2
    for _ in range(1000):
        grid = rng.normal(0, 0.3, (2, 1)) + rng.normal(0, 0.3, 20) + rng.normal(0, 0.1, (2, 20))
        found = paired_over_seeds(list(grid), nothing).both
        assert found is not None
        hits.append(found.low <= 0 <= found.high)
    assert 0.95 - margin(1000) <= np.mean(hits) <= 0.985


def test_both_equals_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(16)
    grid = rng.normal(0, 0.1, (4, 1)) + rng.normal(0, 0.3, 12) + rng.normal(0, 0.1, (4, 12))
    table = pd.DataFrame({"y": grid.ravel(), "seed": np.repeat(np.arange(4), 12), "episode": np.tile(np.arange(12), 4)})
    squares = anova_lm(ols("y ~ C(seed) + C(episode)", table).fit())["mean_sq"]
    seed, episode = squares["C(seed)"] / 48, (squares["C(episode)"] - squares["Residual"]) / 48
    found = paired_over_seeds(list(grid), [np.zeros(12)] * 4).both
    assert found is not None
    half = math.sqrt(3.182446**2 * seed + 2.200985**2 * episode)
    assert found.high - found.mean == pytest.approx(half, rel=1e-5)
    shifted = paired_over_seeds(list(grid - grid.mean() + half), [np.zeros(12)] * 4).both
    assert shifted is not None and shifted.p == pytest.approx(0.05, rel=1e-4)  # the interval ends at 0


def test_the_p_values_over_seeds_are_level_where_nothing_differs_but_seeds() -> None:
    """Without episodes' part the test is the t test of the seeds' means."""
    rows = np.array([0.1, 0.2, 0.4])[:, None] + np.zeros((3, 5))
    found = paired_over_seeds(list(rows), [np.zeros(5)] * 3)
    expected = scipy_stats.ttest_1samp([0.1, 0.2, 0.4], 0)
    assert found.both is not None and found.seeds is not None
    assert found.both.p == pytest.approx(expected.pvalue) == found.seeds.p
    assert (found.both.low, found.both.high) == pytest.approx(tuple(expected.confidence_interval()))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 30), st.booleans())
def test_seeds_that_agree_by_chance_do_not_narrow_the_interval(
    seed: int, seeds: int, episodes: int, shared: bool
) -> None:
    """Every seed is right as often, on other clips: three equal gains are no certainty, and once had no width."""
    rng = np.random.default_rng(seed)
    right = rng.permutation(np.arange(episodes) < (episodes + 1) // 2).astype(float)
    rows = [rng.permutation(right) for _ in range(seeds)]
    found = paired_over_seeds(rows, [np.zeros(episodes)] * seeds, shared)
    assert found.seeds is not None and found.seeds.low == found.seeds.high
    _no_narrower(found)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 20), st.booleans())
def test_other_seeds_and_episodes_are_less_certain_than_other_episodes_alone(
    seed: int, seeds: int, episodes: int, shared: bool
) -> None:
    rng = np.random.default_rng(seed)
    grid = rng.choice([0.0, 0.3]) * rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, episodes))
    found = paired_over_seeds(list(grid), [np.zeros(episodes)] * seeds, shared)
    _no_narrower(found)
    assert (found.headline.p < 0.05) == (not found.headline.low <= 0 <= found.headline.high)


def _no_narrower(found: PairedOverSeeds) -> None:
    """Over seeds and episodes than over episodes alone, but for rounding."""
    both, alone, room = found.headline, found.episodes, 1e-12
    assert both.low <= alone.low + room and alone.high <= both.high + room and both.p >= alone.p * (1 - 1e-9)


def test_rounding_is_no_difference() -> None:
    """Two methods right in other episodes, equally often: the means differ in their last digit, and in nothing else."""
    a, b = [0.2, 0.4, 0.8], [0.8, 0.2, 0.4]
    found = paired_over_seeds([a, a], [b, b], shared=False)
    assert found.seeds is not None and 0 < abs(found.mean) < 1e-15
    assert found.seeds.p == 1.0 and found.headline.p == 1.0


def test_seeds_with_their_own_episodes() -> None:
    rng = np.random.default_rng(6)
    hits, episodes = [], []
    for _ in range(SIMS):
        shift = rng.normal(0, 0.03, 5)
        rows = [0.03 + part + rng.normal(0, 0.3, 60) for part in shift]
        found = paired_over_seeds(rows, [np.zeros(60)] * 5, shared=False)
        assert found.both is not None
        hits.append(found.both.low <= 0.03 <= found.both.high)
        episodes.append(found.episodes.low <= 0.03 + shift.mean() <= found.episodes.high)  # these seeds' own truth
    assert abs(np.mean(hits) - 0.95) < margin(SIMS)
    assert abs(np.mean(episodes) - 0.95) < margin(SIMS)


def test_one_seed_says_nothing_about_seeds() -> None:
    found = paired_over_seeds([[0.4, 0.6, 0.8]], [[0.2, 0.6, 0.4]])
    assert found.seeds is None and found.both is None
    assert found.headline is found.episodes
    assert found.episodes == paired_difference([0.4, 0.6, 0.8], [0.2, 0.6, 0.4])
