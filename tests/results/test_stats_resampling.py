"""Bootstrap over classes and videos: against scipy's, by hand, and by simulation with known truth.

Coverage is accepted within four binomial standard errors of the share that the docstring states; seeds are fixed.
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from fewdistill.results import ResultError
from fewdistill.results.stats import class_bootstrap, closed_interval, hierarchical_bootstrap, hierarchical_difference
from tests.results.coverage import margin

SIMS = 300
Grid = np.ndarray[Any, Any]


def world(
    rng: np.random.Generator, classes: int, videos: int, *, between: float, within: float, seeds: tuple[float, ...]
) -> tuple[list[Grid], Grid, Grid]:
    """Outcomes of each seed (E, 5), classes and videos of the queries; the true accuracy is 0.6."""
    chance = 0.6 + rng.normal(0, between, (classes, 1)) + rng.normal(0, within, (classes, videos))
    query = rng.integers(0, classes * videos, (classes * videos, 5))
    outcomes = [
        (rng.random(query.shape) < np.clip(chance.ravel()[query] + shift, 0, 1)).astype(float) for shift in seeds
    ]
    return outcomes, query // videos, query


def test_class_bootstrap_equals_scipys_before_it_is_widened() -> None:
    rng = np.random.default_rng(1)
    (correct,), owner, _ = world(rng, 12, 10, between=0.15, within=0.1, seeds=(0.0,))
    hits = np.bincount(owner.ravel(), weights=correct.ravel())
    count = np.bincount(owner.ravel())
    theirs = scipy_stats.bootstrap(
        (hits, count),
        lambda h, c, axis=-1: h.sum(axis) / c.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        rng=rng,
    )
    ours = class_bootstrap(correct, owner, rng, draws=20_000)
    widening = math.sqrt(12 / 11) * 2.200985 / 1.959964
    for end, other in ((ours.low, theirs.confidence_interval.low), (ours.high, theirs.confidence_interval.high)):
        assert end - ours.mean == pytest.approx(widening * (other - ours.mean), rel=0.05)


def test_class_bootstrap_is_wider_than_the_closed_interval_and_repeats() -> None:
    query_class = np.tile(np.arange(10), (200, 1))
    correct = (query_class < 7).astype(np.uint8)
    found = [class_bootstrap(correct, query_class, np.random.default_rng(3)) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0].mean == pytest.approx(0.7) and found[0].n == 10
    assert found[0].half_width > 0.2 and closed_interval(correct.mean(axis=1)).half_width == pytest.approx(0, abs=1e-12)
    with pytest.raises(ResultError, match="two classes"):
        class_bootstrap([[1, 0]], [[3, 3]], np.random.default_rng(0))


@pytest.mark.parametrize(("classes", "between"), [(5, 0.12), (10, 0.12), (10, 0.0), (24, 0.12)])
def test_class_bootstrap_covers_other_classes_and_videos(classes: int, between: float) -> None:
    rng = np.random.default_rng(2)
    hits = []
    for _ in range(SIMS):
        (correct,), owner, _ = world(rng, classes, 12, between=between, within=0.1, seeds=(0.0,))
        found = class_bootstrap(correct, owner, rng, draws=500)
        hits.append(found.low <= 0.6 <= found.high)
    assert abs(np.mean(hits) - 0.945) < margin(SIMS, 0.945)


@pytest.mark.parametrize(
    ("classes", "videos", "between", "level"), [(5, 8, 0.12, 0.955), (10, 8, 0.12, 0.955), (10, 8, 0.0, 0.985)]
)
def test_hierarchical_bootstrap_covers_other_classes_and_videos(
    classes: int, videos: int, between: float, level: float
) -> None:
    rng = np.random.default_rng(3)
    hits = []
    for _ in range(SIMS):
        correct, owner, query = world(rng, classes, videos, between=between, within=0.1, seeds=(0.0,))
        found = hierarchical_bootstrap(correct, [owner], [query], rng, draws=200)
        hits.append(found.low <= 0.6 <= found.high)
    assert abs(np.mean(hits) - level) < margin(SIMS, level)


@pytest.mark.parametrize(("between", "between_seeds"), [(0.1, 0.03), (0.02, 0.06)])
def test_hierarchical_bootstrap_covers_other_seeds_where_there_are_several(
    between: float, between_seeds: float
) -> None:
    rng = np.random.default_rng(4)
    both, one = [], []
    for _ in range(SIMS // 2):
        shifts = tuple(rng.normal(0, between_seeds, 3))
        correct, owner, query = world(rng, 10, 8, between=between, within=0.1, seeds=shifts)
        found = hierarchical_bootstrap(correct, [owner] * 3, [query] * 3, rng, draws=200)
        both.append(found.low <= 0.6 <= found.high)
        alone = hierarchical_bootstrap(correct[:1], [owner], [query], rng, draws=200)
        one.append(alone.low <= 0.6 <= alone.high)
    assert 0.93 <= np.mean(both) <= 0.99
    if between_seeds == 0.06:
        assert np.mean(one) < 0.8  # one seed does not see the others


def test_hierarchical_difference_covers_and_is_narrower_than_unpaired() -> None:
    rng = np.random.default_rng(5)
    hits, narrower = [], []
    for _ in range(SIMS):
        (base,), owner, query = world(rng, 10, 8, between=0.12, within=0.1, seeds=(0.0,))
        lost = rng.random(base.shape) < 0.1 + rng.normal(0, 0.03, 10)[owner]  # b answers a tenth of a's hits wrongly
        other = base * ~lost
        found = hierarchical_difference([base], [other], [owner], [query], rng, draws=200)
        hits.append(found.low <= 0.06 <= found.high)
        narrower.append(found.half_width < hierarchical_bootstrap([base], [owner], [query], rng, draws=200).half_width)
    assert abs(np.mean(hits) - 0.95) < margin(SIMS, 0.95) and np.mean(narrower) > 0.99


def test_the_same_draws_serve_both_methods() -> None:
    rng = np.random.default_rng(6)
    correct, owner, query = world(rng, 10, 8, between=0.1, within=0.1, seeds=(0.0, 0.05))
    twice = [owner, owner], [query, query]
    nothing = hierarchical_difference(correct, correct, *twice, np.random.default_rng(0))
    assert (nothing.mean, nothing.low, nothing.high) == (0, 0, 0)
    one = hierarchical_difference(correct, correct[::-1], *twice, np.random.default_rng(0))
    other = hierarchical_difference(correct[::-1], correct, *twice, np.random.default_rng(0))
    assert one.mean == pytest.approx(-other.mean)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 6))
def test_names_and_order_do_not_matter_and_bounds_hold(seed: int, classes: int, videos: int) -> None:
    rng = np.random.default_rng(seed)
    correct, owner, query = world(rng, classes, videos, between=0.2, within=0.2, seeds=(0.0,))
    if len(np.unique(owner)) < 2:
        return
    found = hierarchical_bootstrap(correct, [owner], [query], np.random.default_rng(seed), draws=200)
    assert 0 <= found.low <= found.mean + 1e-12 and found.mean - 1e-12 <= found.high <= 1
    assert found.mean == pytest.approx(correct[0].mean()) and found.n == len(np.unique(owner))
    order = rng.permutation(len(query))
    shuffled = hierarchical_bootstrap(
        [correct[0][order]], [3 * owner[order] + 1], [7 * query[order] + 2], np.random.default_rng(seed), draws=200
    )
    assert (shuffled.mean, shuffled.low, shuffled.high) == pytest.approx((found.mean, found.low, found.high))
    doubled = hierarchical_bootstrap([2 * correct[0]], [owner], [query], np.random.default_rng(seed), draws=200)
    assert (doubled.low, doubled.high) == pytest.approx((2 * found.low, 2 * found.high))


def test_seeds_alone_may_differ() -> None:
    owner, query = np.tile([0, 1, 2], (4, 1)), np.arange(12).reshape(4, 3) * 3 + np.arange(3)
    outcomes = [np.full((4, 3), value) for value in (0.4, 0.5, 0.6)]
    found = hierarchical_bootstrap(outcomes, [owner] * 3, [query] * 3, np.random.default_rng(0))
    assert (found.mean, found.low) == pytest.approx((0.5, 0.4))  # t asks for 0.25, but no outcome is below 0.4
    six = hierarchical_bootstrap(outcomes * 2, [owner] * 6, [query] * 6, np.random.default_rng(0))
    assert six.half_width == pytest.approx(2.570582 * math.sqrt(0.04 / 5 / 6))


def test_what_is_not_known_is_refused() -> None:
    rng = np.random.default_rng(0)
    right, owner, query = np.array([[1, 0]]), np.array([[0, 1]]), np.array([[5, 6]])
    with pytest.raises(ResultError, match="video numbers of the queries are not known"):
        hierarchical_bootstrap([right, right], [owner, owner], [query, None], rng)
    with pytest.raises(ResultError, match="two classes"):
        hierarchical_bootstrap([right], [owner * 0], [query], rng)
    with pytest.raises(ResultError, match="video 5 is a query of two classes"):
        hierarchical_bootstrap([right], [owner], [query * 0 + 5], rng)
    with pytest.raises(ResultError, match="of one seed"):
        hierarchical_bootstrap([right], [owner], [query.T], rng)
    with pytest.raises(ResultError, match="of each seed"):
        hierarchical_bootstrap([], [], [], rng)
    with pytest.raises(ResultError, match="same seeds and episodes"):
        hierarchical_difference([right], [right.T], [owner], [query], rng)
    with pytest.raises(ResultError, match="2 outcomes for 1"):
        class_bootstrap([[1, 0]], [[3]], rng)
