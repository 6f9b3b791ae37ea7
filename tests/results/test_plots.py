"""Figures: the same bytes for the same records, one column wide, every letter large enough and in nobody's way."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from fewdistill.results import ResultError
from fewdistill.results.plots import accuracy as plots
from fewdistill.results.plots import classes as plot_classes
from fewdistill.results.plots import gains as plot_gains
from fewdistill.results.plots import labels as plot_names
from fewdistill.results.plots.accuracy import COSTS, accuracy_over_cost, learning_curves
from fewdistill.results.plots.classes import class_plot, confusion_plot
from fewdistill.results.plots.gains import gains_plot
from fewdistill.results.plots.style import SMALLEST, folded, save
from fewdistill.results.records.result import Result
from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.rows import cost_axes
from fewdistill.results.stats.intervals import Interval
from fewdistill.results.summary.per_class import ClassScores, by_class
from fewdistill.results.summary.rows import Row, summarise
from tests.results import made

DRAW = """
import sys
from fewdistill.results.plots.accuracy import accuracy_over_cost, learning_curves
from fewdistill.results.records.store import RecordStore
from fewdistill.results.summary.rows import summarise
results, _ = RecordStore(sys.argv[1]).scan()
accuracy_over_cost(summarise(results), 5, sys.argv[2] + "/cost")
learning_curves([result.record for result in results], sys.argv[2] + "/curves")
"""


@pytest.fixture(scope="module")
def results(believable_store: RecordStore) -> list[Result]:
    return believable_store.scan()[0]


@pytest.fixture(scope="module")
def scores(results: list[Result]) -> list[ClassScores]:
    return by_class(results, 5)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures saved during the test, beside being saved."""
    figures: list[Figure] = []

    def keep(figure: Figure, stem: Path | str) -> list[Path]:
        figures.append(figure)
        return save(figure, stem)

    for module in (plots, plot_gains, plot_classes):
        monkeypatch.setattr(module, "save", keep)
    yield figures


def check_letters(figure: Figure) -> None:
    assert figure.get_figwidth() == 3.5
    texts: list[Text] = []
    draw = Text.draw

    def listed(text: Text, renderer: object) -> None:
        texts.append(text)
        draw(text, renderer)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:  # tick labels beyond an axis' ends exist, but are not drawn
        patch.setattr(Text, "draw", listed)
        figure.draw_without_rendering()
    whole = figure.bbox.padded(1.0)
    texts = [text for text in texts if text.get_visible() and text.get_text().strip()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    assert min(text.get_fontsize() for text in texts) >= SMALLEST
    for name, box in boxes:
        inside = whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1
        assert inside, f"{name!r} leaves the figure"
    for (one, box), (two, other) in combinations(boxes, 2):
        common = min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)
        assert min(common) < 2.0, f"{one!r} covers {two!r}"


def bars_of(axes: Axes) -> list[Bbox]:
    """Where the error bars stand in the picture, in pixels."""
    lines = [collection for collection in axes.collections if isinstance(collection, LineCollection)]
    return [Bbox(axes.transData.transform(segment)) for line in lines for segment in line.get_segments()]


def test_no_name_covers_the_interval_of_few_clips(rows: list[Row], tmp_path: Path, drawn: list[Figure]) -> None:
    def wide(value: Interval | None) -> Interval | None:
        return value and replace(value, low=value.mean - 0.15, high=value.mean + 0.15)

    accuracy_over_cost([replace(row, accuracy=wide(row.accuracy)) for row in rows], 5, tmp_path / "wide")
    [axes] = drawn[0].axes
    drawn[0].draw_without_rendering()
    bars = bars_of(axes)
    names = [text for text in axes.texts if text.get_text()]
    assert len(bars) > len(names) > 0
    for text in names:
        assert not any(text.get_window_extent().overlaps(bar) for bar in bars), text.get_text()


def test_letters_of_costs_and_curves(
    rows: list[Row], results: list[Result], tmp_path: Path, drawn: list[Figure]
) -> None:
    for cost in COSTS:
        paths = accuracy_over_cost(rows, 5, tmp_path / cost, cost)
        assert [path.suffix for path in paths] == [".svg", ".png", ".pdf"]
    learning_curves([result.record for result in results], tmp_path / "curves")
    for figure in drawn:
        check_letters(figure)
    [written] = [t.get_text() for t in drawn[0].axes[0].texts if t.get_text().startswith("resnet")]
    assert written == "resnet18" and drawn[0].axes[0].get_xlabel() == COSTS["macs"][0]
    clips = [
        replace(row, shot=None, setting=replace(row.setting, protocol="supervised")) for row in rows if row.shot == 5
    ]
    accuracy_over_cost(clips, None, tmp_path / "clips")
    assert drawn[-1].axes[0].get_xlabel() == "GMACs per clip"
    assert cost_axes(clips)[0] == ("gmacs", "GMACs per clip") != cost_axes(rows)[0]
    with pytest.raises(ResultError, match="size of the model"):
        unmeasured = [replace(row, cost=replace(row.cost, size_mb=None)) for row in rows]
        accuracy_over_cost(unmeasured, 5, tmp_path / "none", "bytes")
    with pytest.raises(ResultError, match="no record has a learning curve"):
        learning_curves([], tmp_path / "none")


def test_letters_of_gains_and_classes(
    rows: list[Row], scores: list[ClassScores], tmp_path: Path, drawn: list[Figure]
) -> None:
    gains_plot(rows, 5, tmp_path / "gains")
    class_plot(scores, "resnet18", 5, tmp_path / "classes")
    of = {(one.setting.model, one.setting.distillation): one for one in scores}
    confusion_plot(of["resnet18", "none"], of["resnet18", "d2m"], 5, tmp_path / "confusions")
    for figure in drawn:
        check_letters(figure)
    lines = [text.get_text() for text in drawn[0].axes[0].texts]
    gains = [row.gain for row in rows if row.shot == 5 and row.gain]
    assert [line.split()[0] for line in lines] == [
        f"{100 * gain.mean:+.1f}".replace("-", "\N{MINUS SIGN}") for gain in gains
    ]
    with pytest.raises(ResultError, match="no 5-shot variant has a paired gain"):
        gains_plot(rows, 5, tmp_path / "none", variants=True)
    with pytest.raises(ResultError, match="no finished 5-shot record of resnet50"):
        class_plot(scores, "resnet50", 5, tmp_path / "none")
    with pytest.raises(ResultError, match="keep no answers"):
        silent = replace(of["resnet18", "none"], confusion=None)
        confusion_plot(silent, of["resnet18", "d2m"], 5, tmp_path / "none")


def test_each_stream_of_a_supervised_teacher_has_a_head(
    store: RecordStore, tmp_path: Path, drawn: list[Figure]
) -> None:
    for stream, variant, seed in product(("joint", "bone"), ("", "longer"), range(3)):
        store.write(*made.finished(made.supervised(f"ctr_gcn-{stream}", seed=seed, variant=variant), 0.6, count=50))
    gains_plot(summarise(store.scan()[0]), None, tmp_path / "gains", variants=True)
    check_letters(drawn[0])
    assert [label.get_text().replace("\n", " ") for label in drawn[0].axes[0].get_yticklabels()] == [
        "teacher ctr_gcn-bone", "longer", "teacher ctr_gcn-joint", "longer",
    ]  # fmt: skip


def test_streams_of_one_network_stand_side_by_side_under_one_name(
    store: RecordStore, tmp_path: Path, drawn: list[Figure]
) -> None:
    for stream, accuracy, macs in (
        ("joint", 0.6, 1e9),
        ("bone", 0.6, 1e9),
        ("bone_motion", 0.6, 1e9),
        ("two", 0.7, 2e9),
    ):
        for name in ("none", "dkd"):
            cell = made.supervised(f"light_dke_gcn-{stream}", name)
            store.write(*made.finished(cell, accuracy, count=50, cost=made.Cost(macs_per_episode=macs)))
    rows = [replace(row, accuracy=Interval(0.6, 0.5, 0.7, 50)) for row in summarise(store.scan()[0])]
    accuracy_over_cost(rows, None, tmp_path / "cost")
    check_letters(drawn[0])
    names = [text.get_text().replace("\n", " ") for text in drawn[0].axes[0].texts if text.get_text()]
    assert sorted(names) == ["light_dke_gcn-two", "light_dke_gcn: bone, bone_motion, joint"]
    at = [bar.get_paths()[0].vertices[0, 0] for bar in drawn[0].axes[0].collections if isinstance(bar, LineCollection)]
    assert len({round(float(x), 6) for x in at}) == 8, "none hides another"


def test_names_in_a_crowd_stand_apart_and_beside_their_own(
    store: RecordStore, tmp_path: Path, drawn: list[Figure]
) -> None:
    """Sums and single streams of three networks, as of NW-UCLA: two of them cost nearly the same, two score alike."""
    costs = {"joint": 1, "bone": 1, "two": 2, "four": 4}
    for network, of_one, streams in (
        ("ctr_gcn", 0.311e9, "joint bone two four"),
        ("dke_gcn", 0.254e9, "joint"),
        ("light_dke_gcn", 0.129e9, "joint bone two four"),
    ):
        for stream in streams.split():
            cell = made.supervised(f"{network}-{stream}", "none")
            cost = made.Cost(macs_per_episode=of_one * costs[stream])
            store.write(*made.finished(cell, 0.92, count=50, cost=cost))
    alike, seeds = Interval(0.92, 0.9, 0.94, 50), ((0, 0.92),)
    rows = [replace(row, accuracy=alike, by_seed=seeds) for row in summarise(store.scan()[0])]
    accuracy_over_cost(rows, None, tmp_path / "cost")
    [figure] = drawn
    check_letters(figure)
    [axes] = figure.axes
    figure.draw_without_rendering()
    bars = [bar.padded(1) for bar in bars_of(axes)]
    places = sorted({round((bar.x0 + bar.x1) / 2, 1) for bar in bars})
    assert len(places) == 9 and min(right - left for left, right in pairwise(places)) > 3, "marks hide each other"
    boxes = {text.get_text().replace("\n", " "): text.get_window_extent() for text in axes.texts if text.get_text()}
    assert len(boxes) == 7
    leads = [axes.transData.transform(line.get_xydata()) for line in axes.lines if line.get_linewidth() == 0.5]
    for name, box in boxes.items():
        assert not any(box.overlaps(bar) for bar in bars), name
        assert sum(box.padded(1).contains(*point) for lead in leads for point in lead) <= 1, "a line for each at most"
        near = min(bars, key=lambda bar: plot_names._apart(box, bar))
        at = axes.transData.inverted().transform((near.x0 + 1, near.y0))[0]
        network, _, streams = name.replace(": ", "-").partition("-")
        own = {"ctr_gcn": 0.311, "dke_gcn": 0.254, "light_dke_gcn": 0.129}[network] * costs[streams.split(",")[0]]
        led = any(box.padded(1).contains(*point) for lead in leads for point in lead)
        assert led or abs(np.log(at / own)) < 0.12, f"{name} stands beside another's mark"


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.floats(-2, 2), st.integers(1, 6)), min_size=1, max_size=8), st.floats(0.001, 0.2))
def test_groups_side_by_side_keep_their_order_and_do_not_meet(groups: list[tuple[float, int]], step: float) -> None:
    centres, sizes = [centre for centre, _ in groups], [size for _, size in groups]
    places = plot_names.side_by_side(centres, sizes, step)
    order = np.argsort(centres, kind="stable")
    for left, right in pairwise(order.tolist()):
        room = step * (sizes[left] + sizes[right]) / 2
        assert places[right] - places[left] >= room - 1e-9
    width = step * sum(sizes)
    assert all(abs(place - centre) <= width for place, centre in zip(places, centres, strict=True))
    if all(right - left > width for left, right in pairwise(sorted(centres))):
        assert places == pytest.approx(centres), "none moves without need"


def test_folded_heads_keep_their_distance(store: RecordStore, tmp_path: Path, drawn: list[Figure]) -> None:
    for name, variant, seed in product(("none", "dkd"), ("", "longer", "shorter"), range(3)):
        cell = made.supervised("light_dke_gcn-joint-and-bone", name, seed=seed, variant=variant)
        store.write(*made.finished(cell, 0.6, count=50))
    gains_plot(summarise(store.scan()[0]), None, tmp_path / "gains", variants=True)
    drawn[0].canvas.draw()
    boxes = [label.get_window_extent() for label in drawn[0].axes[0].get_yticklabels()]
    gaps = [above.y0 - below.y1 for above, below in pairwise(boxes)]
    assert max(box.height for box in boxes) > 1.8 * min(box.height for box in boxes)  # some are folded
    assert min(gaps) > 0.5 * max(gaps)


@pytest.mark.parametrize(("dearer", "named"), [(0.6, False), (0.8, True)])
def test_a_front_of_one_row_is_no_line_and_has_no_name(
    store: RecordStore, tmp_path: Path, drawn: list[Figure], dearer: float, named: bool
) -> None:
    for model, accuracy, macs in (("resnet18", 0.7, 1e9), ("resnet34", dearer, 2e9)):
        store.write(*made.finished(made.student(model), accuracy, cost=made.Cost(macs_per_episode=macs)))
    accuracy_over_cost(summarise(store.scan()[0]), 5, tmp_path / "cost")
    words = [text.get_text() for legend in drawn[0].legends for text in legend.get_texts()]
    assert words and ("Pareto front" in words) == named


def test_names_of_students_that_cost_alike_do_not_cover_each_other(
    store: RecordStore, tmp_path: Path, drawn: list[Figure]
) -> None:
    for number in range(6):
        cost = made.Cost(macs_per_episode=(10 + number) * 1e9)
        cell = made.student(f"mobilenetv4_medium_{number}")
        store.write(*made.finished(cell, 0.5 + 0.01 * number, count=50, cost=cost))
    accuracy_over_cost(summarise(store.scan()[0]), 5, tmp_path / "cost")
    check_letters(drawn[0])


def test_the_same_bytes_in_another_process(
    believable_store: RecordStore, rows: list[Row], results: list[Result], tmp_path: Path
) -> None:
    records = [result.record for result in results]
    files = [*accuracy_over_cost(rows, 5, tmp_path / "cost"), *learning_curves(records, tmp_path / "curves")]
    (tmp_path / "again").mkdir()
    command = [sys.executable, "-c", DRAW, str(believable_store.root), str(tmp_path / "again")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    assert sorted(path.name for path in files) == sorted(path.name for path in (tmp_path / "again").iterdir())
    for file in files:
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


def test_names_fold_where_they_may() -> None:
    assert folded("MFM(rgb+depth+skeleton; resnet18)", 22) == "MFM(rgb+depth+\nskeleton; resnet18)"
    assert folded("no distillation", 30) == "no distillation"
    assert folded("x" * 40, 22).replace("\n", "") == "x" * 40
