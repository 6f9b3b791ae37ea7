"""Fronts with uncertainty: against the plain front draw by draw, and by simulation with known truth."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewdistill.results import ResultError
from fewdistill.results.stats import accuracy_draws, front_probability, hypervolume, hypervolume_interval, pareto_front
from tests.results.coverage import margin

SIMS = 300


def measured(
    rng: np.random.Generator, true: np.ndarray, seeds: int, seed_sd: float, episodes: int = 120
) -> list[list[np.ndarray]]:
    """Points of these true accuracies, all on the same episodes: (P, seeds, episodes)."""
    mood = rng.normal(0, 0.12, episodes) + rng.normal(0, 0.05, (len(true), 1, episodes))
    noise = rng.normal(0, seed_sd, (len(true), seeds, 1)) + rng.normal(0, 0.15, (len(true), seeds, episodes))
    return [list(point) for point in true[:, None, None] + mood + noise]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_front_and_hypervolume_by_brute_force(points: list[tuple[int, int]]) -> None:
    cost, accuracy = [float(c) for c, _ in points], [float(a) for _, a in points]
    front = {points[i] for i in pareto_front(cost, accuracy)}
    assert front == {p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)}
    squares = {(c, a) for p in points for c in range(p[0], 8) for a in range(2, p[1])}
    assert hypervolume(cost, accuracy, 8.0, 2.0) == len(squares)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(0, 1000))
def test_draw_by_draw_as_the_plain_front(costs: list[int], seed: int) -> None:
    cost = [float(value) for value in costs]
    draws = np.random.default_rng(seed).random((7, len(cost)))
    each = np.array([[i in pareto_front(cost, list(row)) for i in range(len(cost))] for row in draws])
    assert front_probability(cost, draws) == pytest.approx(each.mean(axis=0))
    areas = [hypervolume(cost, list(row), 5.0, 0.3) for row in draws]
    found = hypervolume_interval(cost, list(draws[0]), draws, 5.0, 0.3)
    low, high = np.quantile(areas, [0.025, 0.975])
    assert found.mean == areas[0]
    assert (found.low, found.high) == pytest.approx((max(2 * areas[0] - high, 0), max(2 * areas[0] - low, areas[0])))
    order = np.random.default_rng(seed).permutation(len(cost))
    moved = front_probability([cost[i] for i in order], draws[:, order])
    assert moved == pytest.approx([each.mean(axis=0)[i] for i in order])


@pytest.mark.parametrize(
    ("true", "seeds", "seed_sd"),
    [
        ([0.6, 0.65, 0.7], 1, 0.0),
        ([0.6, 0.65, 0.7], 3, 0.02),
        ([0.65] * 6, 3, 0.02),
        ([0.6, 0.61, 0.62, 0.63], 3, 0.02),
    ],
)
def test_hypervolume_interval_covers(true: list[float], seeds: int, seed_sd: float) -> None:
    """Nominal or wider, up to 99 %: where points are level, the reflected interval reaches further down than needed."""
    rng = np.random.default_rng(1)
    cost = [float(index) for index in range(len(true))]
    worst = float(len(true))
    truth, hits = hypervolume(cost, true, worst, 0.3), []
    for _ in range(SIMS):
        points = measured(rng, np.array(true), seeds, seed_sd)
        draws = accuracy_draws(points, rng, draws=600)
        found = hypervolume_interval(cost, [float(np.mean(point)) for point in points], draws, worst, 0.3)
        hits.append(found.low <= truth <= found.high)
    assert np.mean(hits) >= 0.95 - margin(SIMS)


@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (5, 0.02)])
def test_front_probability_is_the_share_of_points_that_are_on_it(seeds: int, seed_sd: float) -> None:
    """True accuracies spread wider than the noise: of points said to be on the front with p, about p are."""
    rng = np.random.default_rng(2)
    cost = [1.0, 2.0, 3.0, 4.0]
    said, so = [], []
    for _ in range(SIMS):
        true = rng.normal(0.6, 0.05, 4)
        draws = accuracy_draws(measured(rng, true, seeds, seed_sd), rng, draws=400)
        said += front_probability(cost, draws)
        so += [i in pareto_front(cost, list(true)) for i in range(4)]
    chance, truth = np.array(said), np.array(so)
    for low, high in ((0.02, 0.35), (0.35, 0.65), (0.65, 0.98)):
        part = (chance > low) & (chance <= high)
        expected = chance[part].mean()
        assert part.sum() > 30
        assert abs(truth[part].mean() - expected) < margin(part.sum(), expected) + 0.03


@pytest.mark.parametrize("shared", [True, False])
def test_each_points_draws_cover_its_accuracy(shared: bool) -> None:
    rng = np.random.default_rng(3)
    hits, truth = [], np.array([0.6, 0.7])
    for _ in range(SIMS):
        points = measured(rng, truth, 3, 0.02)
        if not shared:  # every seed on episodes of its own
            points = [[measured(rng, truth[i : i + 1], 1, 0.02)[0][0] for _ in range(3)] for i in range(2)]
        low, high = np.quantile(accuracy_draws(points, rng, 800, shared), [0.025, 0.975], axis=0)
        hits.append((low <= truth) & (truth <= high))
    share = np.mean(hits, axis=0)
    assert np.all(share >= 0.95 - margin(SIMS)) and np.all(share <= 0.99)


def test_shared_episodes_move_points_together() -> None:
    rng = np.random.default_rng(4)
    points = measured(rng, np.array([0.6, 0.65]), 1, 0.0)
    together, apart = (accuracy_draws(points, rng, 4000, shared) for shared in (True, False))
    assert np.corrcoef(together.T)[0, 1] > 0.3 and abs(np.corrcoef(apart.T)[0, 1]) < 0.1
    assert together.mean(axis=0) == pytest.approx([np.mean(point) for point in points], abs=0.003)
    expected = [np.std(point[0], ddof=1) / math.sqrt(120) for point in points]
    assert together.std(axis=0) == pytest.approx(expected, rel=0.06) and apart.std(axis=0) == pytest.approx(
        expected, rel=0.06
    )


def test_draws_repeat_and_stay_fractions() -> None:
    points = [[[0.9, 1.0, 1.0]], [[0.1, 0.0, 0.0]]]
    one, two = (accuracy_draws(points, np.random.default_rng(5), 100) for _ in range(2))
    assert np.array_equal(one, two) and one.shape == (100, 2)
    assert one.min() >= 0 and one.max() <= 1
    certain = accuracy_draws([[[0.5, 0.5]], [[0.7, 0.7]]], np.random.default_rng(0), 10)
    assert front_probability([1.0, 2.0], certain) == [1.0, 1.0] and front_probability([2.0, 1.0], certain) == [0.0, 1.0]
    assert front_probability([1.0, 1.0], certain * 0) == [1.0, 1.0]  # equal points stand together


def test_wrong_points_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ResultError, match="at least one point"):
        accuracy_draws([], rng)
    with pytest.raises(ResultError, match="at least one training seed"):
        accuracy_draws([[]], rng)
    with pytest.raises(ResultError, match="as many"):
        accuracy_draws([[[0.1, 0.2]], [[0.1, 0.2, 0.3]]], rng)
    with pytest.raises(ResultError, match="costs wanted"):
        front_probability([1.0, math.inf], np.zeros((3, 2)))
    with pytest.raises(ResultError, match="costs for"):
        hypervolume([1.0], [0.1, 0.2], 2.0, 0.0)
