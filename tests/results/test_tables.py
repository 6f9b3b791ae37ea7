"""Numbers of rows, tables and figures against an independent recomputation from the npz files."""

import csv
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from results import ResultError
from results.findings import fronts, headline, warnings
from results.plots import accuracy_over_cost, learning_curves, mean_curve
from results.record import Cost
from results.store import RecordStore
from results.summary import Row, summarise
from results.tables import DASH, cost_table, gains_table, main_table, readable, write_table
from tests.results import made

Stores = Callable[[str], RecordStore]


def raw(store: RecordStore, model: str, distillation: str, shot: int) -> dict[int, np.ndarray]:
    """Per-episode accuracy by seed, read with numpy alone."""
    found = {}
    for record in store.all():
        cell = record.cell
        if record.status == "done" and (cell.model, cell.distillation, cell.shot) == (model, distillation, shot):
            with np.load(store.root / f"{record.key}.npz") as arrays:
                found[cell.seed] = arrays["correct"].astype(float).sum(axis=1) / arrays["correct"].shape[1]
    return found


def find(rows: list[Row], model: str, distillation: str, shot: int) -> Row:
    [row] = [r for r in rows if (r.setting.model, r.setting.distillation, r.shot) == (model, distillation, shot)]
    return row


def rows_of(store: RecordStore) -> list[Row]:
    return summarise(store.scan()[0])


@settings(derandomize=True, deadline=None, max_examples=12)
@given(
    levels=st.lists(st.floats(0.3, 0.9), min_size=2, max_size=3),
    seeds=st.integers(1, 4),
    shots=st.sets(st.sampled_from([1, 5]), min_size=1),
    count=st.integers(5, 40),
)
def test_table_equals_recomputation(levels: list[float], seeds: int, shots: set[int], count: int) -> None:
    names = ["none", "tokens", "d2m"][: len(levels)]
    with tempfile.TemporaryDirectory() as folder:
        store = RecordStore(folder)
        for shot in shots:
            for name, level in zip(names, levels, strict=True):
                for seed in range(seeds):
                    store.write(
                        *made.finished(made.student(distillation=name, shot=shot, seed=seed), level, count=count)
                    )
        table = main_table(rows_of(store))
        raws: dict[tuple[str, int], float] = {}
        for shot in shots:
            plain = raw(store, "resnet18", "none", shot)
            for name in names:
                ours = raw(store, "resnet18", name, shot)
                by_episode = np.mean([ours[seed] for seed in range(seeds)], axis=0)
                cells = table.loc[("resnet18", name), f"{shot}-shot"]
                assert cells["accuracy %"] == pytest.approx(100 * by_episode.mean())
                assert cells["±"] == pytest.approx(196 * np.std(by_episode) / math.sqrt(count), abs=1e-9)
                assert cells["seeds"] == seeds
                if name == "none":
                    assert cells["gain"] == "the reference" and cells["p (Holm)"] is None
                    continue
                difference = np.array([ours[seed] - plain[seed] for seed in range(seeds)])
                assert cells["gain"] == pytest.approx(100 * difference.mean(), abs=1e-9)
                if seeds == 1:
                    test = scipy_stats.ttest_rel(ours[0], plain[0])
                    low, high = test.confidence_interval()
                    assert (cells["gain low"], cells["gain high"]) == pytest.approx((100 * low, 100 * high), abs=1e-9)
                    raws[name, shot] = test.pvalue
        if seeds == 1 and raws:
            order = sorted(raws, key=lambda place: raws[place])
            worst = 0.0
            for rank, (name, shot) in enumerate(order):
                worst = max(worst, min(1.0, raws[name, shot] * (len(order) - rank)))
                assert table.loc[("resnet18", name), (f"{shot}-shot", "p (Holm)")] == pytest.approx(worst)


def test_believable_records_make_the_table_they_should(believable_store: RecordStore) -> None:
    rows = rows_of(believable_store)
    table = main_table(rows)
    assert table.shape[0] == 1 + 3 * 4 + 1
    row = find(rows, "resnet18", "tokens", 5)
    assert row.planned == 4 and len(row.by_seed) == 3 and row.unfinished == ("seed 3 failed: loss is nan at step 40",)
    assert row.gain is not None and row.gain.n_seeds == 3
    assert row.cost.latency_ms == pytest.approx(14.6e9 * 30 / 4e8 + 1)  # the median seed
    assert row.cost.gmacs_per_episode == pytest.approx(14.6 * 30 * 1.02)
    assert table.loc[("resnet50", "none"), ("5-shot", "accuracy %")].startswith("seed 0 skipped: weights missing")
    assert table.loc[("resnet50", "none"), ("1-shot", "accuracy %")] == "not run"
    assert table.loc[("mfm", "-"), ("1-shot", "gain")] == "a teacher"
    shown = readable(table)
    assert shown.loc[("resnet18", "tokens"), ("5-shot", "accuracy %")].endswith("(3 of 4 seeds)")
    assert shown.notna().all().all()


def test_gains_need_the_same_episodes(new_store: Stores) -> None:
    store = new_store("a")
    store.write(*made.finished(made.student(), 0.6))
    record, arrays = made.finished(made.student(distillation="d2m"), 0.7)
    store.write(record, arrays | {"query": arrays["query"][::-1].copy()})
    row = find(rows_of(store), "resnet18", "d2m", 5)
    assert row.gain is None and "other episodes" in row.gain_why
    store.write(*made.finished(made.student(distillation="tokens", seed=7), 0.7))
    assert find(rows_of(store), "resnet18", "tokens", 5).gain_why == "nothing finished to compare with at these seeds"
    [warning] = [w for w in warnings(store.scan()[0], rows_of(store), []) if "could not be tested" in w.text]
    assert len(warning.items) == 2


def test_a_variant_is_compared_with_the_same_setting_without_it(new_store: Stores) -> None:
    store = new_store("a")
    for seed in range(3):
        store.write(*made.finished(made.student(seed=seed), 0.5))
        store.write(*made.finished(made.student(distillation="d2m", seed=seed), 0.6))
        store.write(*made.finished(made.student(distillation="d2m", seed=seed, variant="random"), 0.5))
        for variant, model in (("", "mfm(rgb+depth)"), ("depth", "mfm(depth)")):
            cell = made.student(model, "-", seed=seed, role="teacher", variant=variant)
            store.write(*made.finished(cell, 0.9 - 0.1 * bool(variant)))
    rows = {row.setting.name: row for row in rows_of(store)}
    plain, taught, varied = (by_name(rows, name) for name in ("none", "d2m", "d2m (random)"))
    assert varied.gain is not None and taught.gain is not None and plain.gain is None
    assert varied.gain.mean == pytest.approx(varied.accuracy.mean - taught.accuracy.mean)
    assert taught.gain.mean == pytest.approx(taught.accuracy.mean - plain.accuracy.mean)
    other, full = rows["mfm(depth) (depth)"], rows["mfm(rgb+depth)"]
    assert other.gain is not None and other.gain.mean == pytest.approx(other.accuracy.mean - full.accuracy.mean)
    assert full.gain_why == "a teacher"
    assert main_table(list(rows.values())).index.names == ["model", "distillation", "variant"]
    assert [front.students for front in fronts(list(rows.values()))].count(1) == len(fronts(list(rows.values())))
    assert "1 comparisons" in headline(list(rows.values()))  # variants do not count among them


def by_name(rows: dict[str, Row], distillation: str) -> Row:
    return rows[f"resnet18 / {distillation}"]


def test_two_finished_records_of_one_cell_are_refused(new_store: Stores) -> None:
    store = new_store("a")
    store.write(*made.finished(made.student(), 0.6))
    store.write(*made.finished(made.student(), 0.6, identity={"support_order": "as_drawn"}))
    with pytest.raises(ResultError, match=r"seed 0 of lite.*\(support_order\)"):
        rows_of(store)


def test_axes_that_differ_become_columns(new_store: Stores) -> None:
    store = new_store("a")
    store.write(*made.finished(made.student(dataset="ucf101"), 0.6))
    store.write(*made.finished(made.student(dataset="hmdb51"), 0.6))
    assert list(main_table(rows_of(store)).index.names) == ["dataset", "model", "distillation"]


def test_tables_are_written_in_three_forms(believable_store: RecordStore, tmp_path: Path) -> None:
    rows = rows_of(believable_store)
    table = main_table(rows)
    paths = write_table(table, tmp_path / "t" / "main", readable(table))
    assert [path.name for path in paths] == ["main.csv", "main.md", "main.tex"]
    with paths[0].open() as file:
        lines = list(csv.reader(file))
    body = {(line[0], line[1]): line for line in lines[3:]}
    column = [i for i in range(len(lines[0])) if (lines[0][i], lines[1][i]) == ("5-shot", "accuracy %")]
    exact = find(rows, "resnet18", "d2m", 5).accuracy
    assert exact is not None and float(body["resnet18", "d2m"][column[0]]) == 100 * exact.mean
    markdown = paths[1].read_text().splitlines()
    assert len({line.count("|") for line in markdown}) == 1 and len(markdown) == 2 + len(table)
    tex = paths[2].read_text()
    assert tex.count(r"\\") == 2 + len(table) and r"mobilenetv3\_large" in tex and r"\cmidrule" in tex
    assert not {"±", DASH} & set(tex)
    for frame, name in ((cost_table(rows), "cost"), (gains_table(rows), "gains")):
        for path in write_table(frame, tmp_path / name):
            assert path.stat().st_size > 100


def test_latex_and_markdown_survive_odd_names(new_store: Stores, tmp_path: Path) -> None:
    store = new_store("a")
    store.write(*made.finished(made.student(model="a_b|c & 100 %"), 0.6))
    _, markdown, tex = write_table(main_table(rows_of(store)), tmp_path / "t")
    assert r"a_b\|c & 100 %" in markdown.read_text()
    assert r"a\_b|c \& 100 \%" in tex.read_text()


def test_figures_are_the_same_bytes_twice(believable_store: RecordStore, tmp_path: Path) -> None:
    results, _ = believable_store.scan()
    rows, records = summarise(results), [result.record for result in results if result.record.cell.shot == 5]
    for name in "ab":
        accuracy_over_cost(rows, 5, tmp_path / name / "cost")
        learning_curves(records, tmp_path / name / "curves")
    for file in ("cost.svg", "cost.png", "curves.svg", "curves.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    width = int(np.frombuffer((tmp_path / "a" / "cost.png").read_bytes()[16:20], ">u4")[0])
    assert 3.0 * 300 < width < 3.7 * 300
    with pytest.raises(ResultError, match="nothing to plot"):
        accuracy_over_cost(rows, 20, tmp_path / "c")
    with pytest.raises(ResultError, match="no record has a learning curve"):
        learning_curves([], tmp_path / "c")


def test_mean_curve_keeps_the_steps_all_seeds_have() -> None:
    curves = ([(0, 0.2), (5, 0.4), (9, 0.9)], [(0, 0.4), (5, 0.6)])
    records = [
        made.unfinished(made.student(seed=seed), "started").model_copy(
            update={"curve": [{"step": step, "val_accuracy": value} for step, value in points]}
        )
        for seed, points in enumerate(curves)
    ]
    steps, values = mean_curve(records, "val_accuracy")
    assert steps == [0, 5] and values == pytest.approx([30.0, 50.0])


def test_headline_claims_only_what_it_may(new_store: Stores, believable_store: RecordStore) -> None:
    rows = rows_of(believable_store)
    claimed = [row for row in rows if row.claimed]
    assert claimed
    best = max((row for row in claimed if row.gain), key=lambda row: row.gain.mean if row.gain else 0)
    text = headline(rows)
    assert (
        f"help in {len(claimed)} of 18" in text and best.setting.model in text and "of its teacher's accuracy" in text
    )
    one_seed = made.believable(new_store("one"), count=200, seeds=1)
    assert headline(rows_of(one_seed)).startswith(
        "No gain from distillation is established over 18 comparisons: 18 of 18"
    )
    assert not any(row.claimed for row in rows_of(one_seed))
    started = new_store("started")
    started.write(made.unfinished(made.student(), "started"))
    assert headline(rows_of(started)) == "No cell has finished yet."


def test_choosing_on_the_test_split_is_a_problem(new_store: Stores) -> None:
    store = new_store("a")
    record, arrays = made.finished(made.student(), 0.6)
    store.write(record.model_copy(update={"selection": {"split": "test"}}), arrays)
    first = warnings(store.scan()[0], rows_of(store), [])[0]
    assert (first.kind, first.items) == ("problem", ("resnet18 / none, 5-shot, seed 0",))


def test_hypervolume_of_one_student_is_a_rectangle(new_store: Stores) -> None:
    store = new_store("a")
    record, arrays = made.finished(made.student(), 0.6, cost=Cost(macs_per_episode=1e9))
    store.write(record, arrays)
    store.write(*made.finished(made.student("mfm", "-", role="teacher"), 0.9, cost=Cost(macs_per_episode=1e12)))
    [front] = fronts(rows_of(store))
    assert record.metrics is not None
    assert front.area == pytest.approx(3 * (100 * record.metrics.accuracy - 20))
