"""A against B: recomputed from the npz files with numpy and scipy alone, and what must hold whatever the records."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from fewdistill.results import ResultError
from fewdistill.results.comparison.compare import compare
from fewdistill.results.comparison.published import VersusPublished, find_figures, versus_published
from fewdistill.results.comparison.selection import find_selection
from fewdistill.results.comparison.verdicts import outcome, published_verdict, verdict
from fewdistill.results.published.figures import load
from fewdistill.results.records.bundle import pack
from fewdistill.results.records.metrics import Accuracy
from fewdistill.results.records.result import Result
from fewdistill.results.records.store import RecordStore
from fewdistill.results.stats.unpaired import estimate, unpaired_difference
from fewdistill.results.summary.per_class import class_names, of_class
from tests.results import made
from tests.results.comparisons import REFERENCE, pair, raw, result, row
from tests.results.coverage import margin


def two_way(grid: np.ndarray) -> list[tuple[float, int]]:
    """Variance of the mean of seeds x episodes, both random: the seeds' part and the episodes', and their degrees."""
    seeds, episodes = grid.shape
    mean = grid.mean()
    ms_seed = episodes * ((grid.mean(1) - mean) ** 2).sum() / (seeds - 1)
    ms_episode = seeds * ((grid.mean(0) - mean) ** 2).sum() / (episodes - 1)
    rest = grid - grid.mean(1, keepdims=True) - grid.mean(0) + mean
    ms_rest = (rest**2).sum() / (seeds - 1) / (episodes - 1)
    return [(ms_seed / grid.size, seeds - 1), (max(ms_episode - ms_rest, 0) / grid.size, episodes - 1)]


def half_width(parts: list[tuple[float, int]], level: float) -> float:
    """Half-widths of independent t intervals, added in squares."""
    return math.sqrt(sum(variance * scipy_stats.t.isf(level / 2, n) ** 2 for variance, n in parts))


def welch(mean: float, sources: list[tuple[float, int]]) -> tuple[float, float, float]:
    """Ends of the 95 % interval and p: variances and their degrees of freedom, summed after Welch and Satterthwaite."""
    variance = sum(v for v, _ in sources)
    degrees = variance**2 / sum(v**2 / n for v, n in sources)
    low, high = scipy_stats.t.interval(0.95, degrees, loc=mean, scale=math.sqrt(variance))
    return low, high, 2 * scipy_stats.t.sf(abs(mean) / math.sqrt(variance), degrees)


@pytest.mark.parametrize("distillation", ["d2m", "both"])
def test_numbers_equal_an_independent_recomputation(distillation: str) -> None:
    folder = REFERENCE / "embedded"
    found = pair(f"resnet18/{distillation}", "resnet18/none", folder, by_class=True)
    assert [d.shot for d in found.differences] == [1, 5]
    p_values = []
    for d in found.differences:
        ours, plain = (raw(folder, "resnet18", name, d.shot) for name in (distillation, "none"))
        seeds = sorted(ours.keys() & plain.keys())
        assert d.seeds == (tuple(seeds), tuple(seeds)) and not d.unpaired and not d.same
        grid = np.stack([ours[s]["correct"].mean(1) - plain[s]["correct"].mean(1) for s in seeds])
        parts, mean = two_way(grid), grid.mean()
        ends = mean - half_width(parts, 0.05), mean + half_width(parts, 0.05)
        assert (d.headline.mean, d.headline.low, d.headline.high) == pytest.approx((mean, *ends), abs=1e-12)
        assert half_width(parts, d.headline.p) == pytest.approx(abs(mean), rel=1e-6)  # p: the interval that ends at 0
        p_values.append(d.headline.p)
        episodes = scipy_stats.ttest_1samp(grid.mean(0), 0).confidence_interval()
        assert d.episodes is not None
        assert (d.episodes.low, d.episodes.high) == pytest.approx((episodes.low, episodes.high), abs=1e-12)
        assert d.accuracy[0] == pytest.approx(np.mean([ours[s]["correct"].mean() for s in seeds]), abs=1e-12)
        assert d.accuracy[0] - d.accuracy[1] == pytest.approx(d.headline.mean, abs=1e-12)
    assert [d.p for d in found.differences] == pytest.approx(
        [min(1, 2 * min(p_values)) if p == min(p_values) else max(max(p_values), 2 * min(p_values)) for p in p_values]
    )


def test_classes_equal_an_independent_recomputation() -> None:
    folder = REFERENCE / "embedded"
    [d] = pair("resnet18/d2m", "resnet18/none", folder, shot=5, by_class=True).differences
    ours, plain = (raw(folder, "resnet18", name, 5) for name in ("d2m", "none"))
    said = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    names = sorted(said[0]["metrics"]["per_class"])
    assert [each.name for each in d.classes] == names and len(names) == 10
    p_values = []
    for number, each in enumerate(d.classes):
        rows = []
        for seed in sorted(ours):
            here = ours[seed]["asked"] == number
            hits = [np.where(here, side[seed]["correct"], 0).sum(1)[here.any(1)] for side in (ours, plain)]
            rows.append(hits[0] - hits[1])  # one query a class: hits are rates
        parts, mean = two_way(np.stack(rows)), np.stack(rows).mean()
        ends = mean - half_width(parts, 0.05), mean + half_width(parts, 0.05)
        assert (each.difference.low, each.difference.high) == pytest.approx(ends, abs=1e-9)
        assert half_width(parts, each.difference.p) == pytest.approx(abs(mean), rel=1e-6)
        rates = [
            record["metrics"]["per_class"][each.name]
            for record in said
            if (record["cell"]["model"], record["cell"]["distillation"], record["cell"]["shot"])
            == ("resnet18", "d2m", 5)
        ]
        assert each.a == pytest.approx(np.mean(rates), abs=1e-12)
        p_values.append(each.difference.p)
    worst, stepped = 0.0, {}
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        worst = max(worst, min(1.0, p_values[index] * (len(p_values) - rank)))
        stepped[int(index)] = worst
    assert [each.p for each in d.classes] == pytest.approx([stepped[i] for i in range(10)], rel=1e-6)


def test_classes_asked_unequally_often_are_ratios(store: RecordStore) -> None:
    """made.py draws the classes of the queries: an episode may ask one class several times."""
    store.write(*made.finished(made.student(), 0.6))
    [result] = store.scan()[0]
    names = class_names(result)
    assert names is not None and isinstance(result.record.metrics, Accuracy)
    for number, name in names.items():
        assert of_class(number)(result).mean() == pytest.approx(result.record.metrics.per_class[name], abs=1e-12)
    wrong = result.record.metrics.model_copy(update={"per_class": dict.fromkeys(made.CLASSES, 0.5)})
    nameless = replace(result, class_names=None, predicted=None)
    assert class_names(nameless) == names
    lying = replace(nameless, record=result.record.model_copy(update={"metrics": wrong}))
    assert class_names(lying) is None  # names that do not answer to the numbers are not used


@st.composite
def outcomes(draw: st.DrawFn) -> tuple[list[Result], list[Result]]:
    """Two rows of one to three seeds on the same 12 episodes, any answers."""
    seeds = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def results(distillation: str) -> list[Result]:
        cells = [made.student(distillation=distillation, seed=seed) for seed in range(seeds)]
        return [result(cell, (rng.random((12, 5)) < rng.random()).astype(np.uint8)) for cell in cells]

    return results("d2m"), results("none")


@settings(derandomize=True, deadline=None, max_examples=40)
@given(outcomes(), st.booleans())
def test_turned_round_it_is_the_negative(rows: tuple[list[Result], list[Result]], unpaired: bool) -> None:
    a, b = rows
    if unpaired:
        b = [replace(result, episodes="others") for result in b]
    [there] = compare(row("A", *a), row("B", *b), by_class=True).differences
    [back] = compare(row("B", *b), row("A", *a), by_class=True).differences
    for one, other in [(there.headline, back.headline)] + [
        (x.difference, y.difference) for x, y in zip(there.classes, back.classes, strict=True)
    ]:
        assert (one.mean, one.low, one.high, one.p) == (-other.mean, -other.high, -other.low, other.p)
    assert there.accuracy == back.accuracy[::-1] and bool(there.unpaired) is unpaired
    turned = {"A": "B", "B": "A"}
    first = outcome(there)
    assert outcome(back) == turned.get(first[:1], first[:1]) + first[1:]
    if outcome(there) in ("A", "B", "A, these models", "B, these models"):  # the better one comes first in both
        assert verdict(there, "A", "B", 1) == verdict(back, "B", "A", 1)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(outcomes())
def test_a_row_and_itself_are_the_same(rows: tuple[list[Result], list[Result]]) -> None:
    a, _ = rows
    [d] = compare(row("A", *a), row("A again", *a), by_class=True).differences
    assert d.same and (d.headline.mean, d.headline.low, d.headline.high, d.p) == (0, 0, 0, 1)
    assert all(each.difference.mean == 0 and each.p == 1 for each in d.classes)
    assert outcome(d) == "same" and "are the same: every answer alike over 12 episodes" in verdict(d, "A", "B", 1)


def test_what_shares_no_episodes_is_told_unpaired() -> None:
    demo, full = (find_selection(name, REFERENCE) for name in ("demo:resnet18/both", "embedded:resnet18/both"))
    for d in compare(full, demo).differences:
        assert d.unpaired == "different test videos" and d.episodes is None and d.detectable is None
        parts = [raw(REFERENCE / name, "resnet18", "both", d.shot) for name in ("embedded", "demo")]
        grid = np.stack([parts[0][s]["correct"].mean(1) for s in sorted(parts[0])])
        [alone] = [side["correct"].mean(1) for side in parts[1].values()]
        sources = [
            (grid.mean(1).var(ddof=1) / len(grid), len(grid) - 1),
            (grid.mean(0).var(ddof=1) / grid.shape[1], grid.shape[1] - 1),
            (alone.var(ddof=1) / len(alone), len(alone) - 1),
        ]
        low, high, p = welch(grid.mean() - alone.mean(), sources)
        assert (d.headline.low, d.headline.high, d.headline.p) == pytest.approx((low, high, p), rel=1e-9, abs=1e-12)
        assert verdict(d, "A", "B", 2).startswith("unpaired (different test videos): A scores above B")


def test_unpaired_is_welch_with_one_seed_and_covers_the_truth() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.6, 0.2, 50), rng.normal(0.5, 0.3, 80)
    found = unpaired_difference(estimate([a], True), estimate([b], True))
    theirs = scipy_stats.ttest_ind(a, b, equal_var=False)
    ends = theirs.confidence_interval()
    assert (found.p, found.low, found.high) == pytest.approx((theirs.pvalue, ends.low, ends.high))
    hits = []
    for _ in range(400):
        sides = []
        for _ in range(2):
            seeds, episodes = rng.normal(0, 0.02, (4, 1)), rng.normal(0, 0.2, 80)
            sides.append(estimate(list(0.5 + seeds + episodes + rng.normal(0, 0.3, (4, 80))), True))
        found = unpaired_difference(*sides)
        hits.append(found.low <= 0 <= found.high)
    assert np.mean(hits) > 0.95 - margin(400)  # too wide rather than too narrow


def test_a_printed_figure_is_never_paired(store: RecordStore) -> None:
    published = load()
    for seed, (dataset, chance) in itertools.product(range(3), (("HMDB_51", 0.72), ("ucf101", 0.95))):
        cell = made.student(f"net-{dataset[:3].lower()}", dataset=dataset, seed=seed)
        store.write(*made.finished(cell, chance))
    packed = pack(store, store.root.parent / "packed")[0].parent

    def beside(ours: str, theirs: str, shot: int | None = None) -> list[VersusPublished]:
        figures = find_figures(f"published:{theirs}", published)
        return versus_published(find_selection(ours, Path()), figures, published, shot=shot)

    [found] = beside(f"{store.root}:net-hmd/none", "lite-mkd/resnet18/hmdb51")
    values = np.stack([d["correct"].mean(1) for _, d in sorted(raw(packed, "net-hmd", "none", 5).items())])
    assert found.ours.mean == pytest.approx(values.mean())
    assert found.difference.mean == pytest.approx(values.mean() - 0.7465)
    assert found.inside == (found.ours.low <= 0.7465 <= found.ours.high)
    said = published_verdict(found, "ours")
    assert said.startswith("unpaired (other episodes)") and "No p-value: the figure has no interval." in said
    assert "image size: ours 64, theirs 224" in found.differs and not found.tested

    [zoo] = beside(f"{store.root}:net-ucf/none", "trx-zoo/r2+1d/ucf101", 5)
    values = np.stack([d["correct"].mean(1) for _, d in sorted(raw(packed, "net-ucf", "none", 5).items())])
    sources = [
        (values.mean(1).var(ddof=1) / 3, 2), (values.mean(0).var(ddof=1) / 300, 299), (0.0005**2 / 3, 2)
    ]  # fmt: skip  # ± 0.0 printed: below 0.05 points
    low, high, p = welch(values.mean() - 0.995, sources)
    assert zoo.tested and (zoo.difference.low, zoo.difference.high, zoo.difference.p) == pytest.approx((low, high, p))
    assert "the error of its episodes is not in it" in published_verdict(zoo, "ours")

    row = f"{store.root}:net-hmd/none"
    for ours, theirs, message in (
        (row, "lite-mkd/resnet18/ucf101", "is on HMDB_51, lite-mkd/resnet18/ucf101 on UCF101"),
        (row, "js-dke-gcn/9blocksofctr-gcn/ntu60-xsub", "no few-shot figure"),
        (row, "otam-in-team/resnet50/hmdb51", "has shot 5, printed is 1"),
        (row, "lite-mdk/resnet18/hmdb51", r"did you mean .*lite-mkd/resnet18/hmdb51.*fewdistill list published"),
        (row, "lite-mkd/resnet18", "is 3 rows: name one of lite-mkd/resnet18/hmdb51"),
        (str(store.root), "trx/resnet50/ucf101", "is a whole folder"),
    ):
        with pytest.raises(ResultError, match=message):
            beside(ours, theirs)


def test_an_unpaired_accuracy_of_seeds_that_agree_by_chance_keeps_the_error_of_its_episodes() -> None:
    """Two seeds with episodes of their own, both right three times in four."""
    seeds, other = [np.array([1.0, 0, 1, 1]), np.array([0.0, 1, 1, 1])], [np.tile([1.0, 0], 500)]
    found = unpaired_difference(estimate(seeds, False), estimate(other, False))
    alone = unpaired_difference(estimate([np.concatenate(seeds)], False), estimate(other, False))
    assert found.high - found.low > 0.9 * (alone.high - alone.low)
