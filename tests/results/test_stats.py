"""Statistics against hand values and against simulations with known truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results import ResultError
from results.stats import (
    class_bootstrap,
    closed_interval,
    closed_over_seeds,
    ece,
    holm,
    hypervolume,
    open_interval,
    paired_difference,
    paired_over_seeds,
    pareto_front,
    seed_interval,
)

SIMS = 600


def binomial_margin(level: float = 0.95, sims: int = SIMS) -> float:
    return 4 * math.sqrt(level * (1 - level) / sims)


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
    assert abs(np.mean(hits) - 0.95) < binomial_margin()


def test_closed_over_seeds_shared_and_not() -> None:
    a, b = np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0, 0.0])
    shared = closed_over_seeds([a, b], shared=True)
    assert (shared.mean, shared.half_width) == (0.5, 0.0)  # episode by episode the seeds cancel
    apart = closed_over_seeds([a, b], shared=False)
    assert apart.half_width == pytest.approx(1.96 * 0.25 / math.sqrt(2))


def test_seed_interval() -> None:
    assert seed_interval([0.5]) is None
    found = seed_interval([0.4, 0.5, 0.6])
    assert found is not None
    assert found.half_width == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)


def test_open_interval_takes_disjoint_episodes_in_order() -> None:
    accuracy = np.arange(24) / 24
    support = np.repeat(np.arange(12), 2)[:, None]  # episodes 0 and 1 share video 0, and so on
    query = 100 + np.arange(24)[:, None]
    found = open_interval(accuracy, support, query)
    assert found is not None and found.n == 12
    assert found.mean == pytest.approx(accuracy[::2].mean())
    assert open_interval(accuracy[:18], support[:18], query[:18]) is None  # nine are too few
    assert open_interval(accuracy, support, np.zeros((24, 1), int)) is None  # all share the query


def test_class_bootstrap_covers_other_classes() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(SIMS // 2):
        classes = np.clip(rng.normal(0.7, 0.12, 40), 0, 1)
        query_class = rng.integers(0, 40, (120, 5))
        correct = rng.random((120, 5)) < classes[query_class]
        found = class_bootstrap(correct, query_class, rng, draws=400)
        hits += found.low <= 0.7 <= found.high
    assert abs(hits / (SIMS // 2) - 0.94) < binomial_margin(0.94, SIMS // 2)


def test_class_bootstrap_is_wider_than_the_closed_interval_and_repeats() -> None:
    query_class = np.tile(np.arange(10), (200, 1))
    correct = (query_class < 7).astype(np.uint8)
    found = [class_bootstrap(correct, query_class, np.random.default_rng(3)) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0].mean == pytest.approx(0.7) and found[0].n == 10
    assert found[0].half_width > 0.2 and closed_interval(correct.mean(axis=1)).half_width == pytest.approx(0, abs=1e-12)
    with pytest.raises(ResultError, match="two classes"):
        class_bootstrap([[1, 0]], [[3, 3]], np.random.default_rng(0))


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


def test_pairing_keeps_its_level_where_nothing_differs() -> None:
    rng = np.random.default_rng(4)
    small = 0
    for _ in range(SIMS):
        mood = rng.normal(0, 0.3, 200)
        found = paired_difference(mood + rng.normal(0, 0.1, 200), mood + rng.normal(0, 0.1, 200))
        small += found.p < 0.05
        assert found.high - found.low < 0.05  # what the episodes have in common is gone
    assert abs(small / SIMS - 0.05) < binomial_margin(0.05)


@pytest.mark.parametrize(("seed_sd", "episode_sd", "noise"), [(0.02, 0.2, 0.3), (0.05, 0.0, 0.2), (0.0, 0.3, 0.3)])
def test_both_sources_together_cover_the_truth(seed_sd: float, episode_sd: float, noise: float) -> None:
    rng = np.random.default_rng(5)
    both, over_episodes = [], []
    for _ in range(SIMS):
        grid = 0.03 + rng.normal(0, seed_sd, (4, 1)) + rng.normal(0, episode_sd, 80) + rng.normal(0, noise, (4, 80))
        found = paired_over_seeds(list(grid), list(np.zeros((4, 80))))
        assert found.both is not None and found.seeds is not None and found.headline is found.both
        assert found.mean == pytest.approx(grid.mean())
        both.append(found.both.low <= 0.03 <= found.both.high)
        over_episodes.append(found.episodes.low <= 0.03 <= found.episodes.high)
    assert 0.95 - binomial_margin() <= np.mean(both) <= 0.995  # never too narrow; Satterthwaite may be a little wide
    if seed_sd == 0.05:
        assert np.mean(over_episodes) < 0.7  # episodes alone do not see the seeds


def test_seeds_with_their_own_episodes() -> None:
    rng = np.random.default_rng(6)
    hits = []
    for _ in range(SIMS):
        rows = [0.03 + rng.normal(0, 0.03) + rng.normal(0, 0.3, 60) for _ in range(5)]
        found = paired_over_seeds(rows, [np.zeros(60)] * 5, shared=False)
        assert found.both is not None
        hits.append(found.both.low <= 0.03 <= found.both.high)
    assert abs(np.mean(hits) - 0.95) < binomial_margin()


def test_one_seed_says_nothing_about_seeds() -> None:
    found = paired_over_seeds([[0.4, 0.6, 0.8]], [[0.2, 0.6, 0.4]])
    assert found.seeds is None and found.both is None
    assert found.headline is found.episodes
    assert found.episodes == paired_difference([0.4, 0.6, 0.8], [0.2, 0.6, 0.4])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_raw_value_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    for raw, value in zip(p, adjusted, strict=True):
        assert raw <= value <= min(1.0, raw * len(p)) or value == pytest.approx(min(1.0, max(p)))
    order = np.argsort(p, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_front_and_hypervolume_by_brute_force(points: list[tuple[int, int]]) -> None:
    cost, accuracy = [float(c) for c, _ in points], [float(a) for _, a in points]
    front = {points[i] for i in pareto_front(cost, accuracy)}
    assert front == {p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)}
    squares = {(c, a) for p in points for c in range(p[0], 8) for a in range(2, p[1])}
    assert hypervolume(cost, accuracy, 8.0, 2.0) == len(squares)


def test_ece_by_hand() -> None:
    # two bins of ten: (0.8, 0.9] holds 0.85 and 0.9, half right; (0.2, 0.3] holds 0.3, wrong
    assert ece([0.85, 0.9, 0.3], [1, 0, 0], bins=10) == pytest.approx((abs(1.75 - 1) + 0.3) / 3)
    assert ece([1.0, 0.0], [1, 0]) == 0.0
    with pytest.raises(ResultError, match=r"\[0, 1\]"):
        ece([1.2], [1])
