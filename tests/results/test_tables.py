"""Rows, tables and what may be said of them."""

import csv
from pathlib import Path

import pytest

from fewdistill.results import ResultError
from fewdistill.results.plots.accuracy import mean_curve, quantities
from fewdistill.results.records.record import Cost
from fewdistill.results.records.store import RecordStore
from fewdistill.results.summary.findings import fronts, headline, warnings
from fewdistill.results.summary.rows import Row, summarise
from fewdistill.results.tables.files import DASH, write_table
from fewdistill.results.tables.tables import ablation_table, cost_table, gains_table, main_table
from fewdistill.results.tables.text import readable, readable_ablation
from tests.results import made


def find(rows: list[Row], model: str, distillation: str, shot: int | None, variant: str = "") -> Row:
    wanted = model, distillation, variant, shot
    [row] = [r for r in rows if (r.setting.model, r.setting.distillation, r.setting.variant, r.shot) == wanted]
    return row


def rows_of(store: RecordStore) -> list[Row]:
    return summarise(store.scan()[0])


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


def test_gains_need_the_same_episodes(store: RecordStore) -> None:
    store.write(*made.finished(made.student(), 0.6))
    record, arrays = made.finished(made.student(distillation="d2m"), 0.7)
    store.write(record, arrays | {"query": arrays["query"][::-1].copy()})
    row = find(rows_of(store), "resnet18", "d2m", 5)
    assert row.gain is None and "other episodes" in row.gain_why
    store.write(*made.finished(made.student(distillation="tokens", seed=7), 0.7))
    assert find(rows_of(store), "resnet18", "tokens", 5).gain_why == "nothing finished to compare with at these seeds"
    [warning] = [w for w in warnings(store.scan()[0], rows_of(store), []) if "could not be tested" in w.text]
    assert len(warning.items) == 2


def test_a_variant_is_compared_with_the_same_setting_without_it(store: RecordStore) -> None:
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


def test_two_finished_records_of_one_cell_are_refused(store: RecordStore) -> None:
    store.write(*made.finished(made.student(), 0.6))
    store.write(*made.finished(made.student(), 0.6, identity={"support_order": "as_drawn"}))
    with pytest.raises(ResultError, match=r"seed 0 of lite.*\(support_order\)"):
        rows_of(store)


def test_axes_that_differ_become_columns(store: RecordStore) -> None:
    store.write(*made.finished(made.student(dataset="ucf101"), 0.6))
    store.write(*made.finished(made.student(dataset="hmdb51"), 0.6))
    assert list(main_table(rows_of(store)).index.names) == ["model", "distillation"]
    assert main_table(rows_of(store)).columns[0] == ("hmdb51", "5-shot", "accuracy %")
    store.write(*made.finished(made.student(dataset="hmdb51", head="otam"), 0.6))
    table = main_table(rows_of(store))
    assert list(table.index.names) == ["head", "model", "distillation"]
    assert table.loc[("otam", "resnet18", "none"), ("ucf101", "5-shot", "accuracy %")] == "not run"


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
    lined = [line for line in markdown if line.startswith("|")]
    assert len({line.count("|") for line in lined}) == 1 and len(lined) == 2 + len(table)
    tex = paths[2].read_text()
    assert tex.count(r"\\") == 2 + len(table) and r"mobilenetv3\_large" in tex and r"\cmidrule" in tex
    assert not {"±", DASH} & set(tex)
    for frame, name in ((cost_table(rows), "cost"), (gains_table(rows), "gains")):
        for path in write_table(frame, tmp_path / name):
            assert path.stat().st_size > 100


def test_latex_and_markdown_survive_odd_names(store: RecordStore, tmp_path: Path) -> None:
    store.write(*made.finished(made.student(model="a_b|c & 100 %"), 0.6))
    _, markdown, tex = write_table(main_table(rows_of(store)), tmp_path / "t")
    assert r"a_b\|c & 100 %" in markdown.read_text()
    assert r"a\_b|c \& 100 \%" in tex.read_text()


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
    single = records[0].model_copy(update={"curve": [{"step": 0, "val_accuracy": 0.5}]})
    assert quantities(records) == ["val_accuracy"] and quantities([single, single]) == []  # a point is no curve


def test_every_cell_has_a_figure_or_a_reason(new_store: made.Stores, believable_store: RecordStore) -> None:
    one = new_store("one")
    one.write(*made.finished(made.student(), 0.6, cost=Cost(parameters=10**7)))
    one.write(*made.finished(made.student(distillation="d2m"), 0.6, cost=Cost(bytes=4 * 10**7, latency_ms_p50=3.0)))
    one.write(*made.finished(made.student(distillation="tokens", seed=1), 0.6))
    rows = rows_of(one)
    cost, gains = cost_table(rows), gains_table(rows)
    assert list(cost.columns) == ["parameters M", "size MB", "latency ms/video (p50)"]
    assert cost.loc[("resnet18", "none", 5)].tolist() == [10.0, "not counted", "not measured"]
    assert gains.loc[("resnet18", "d2m", 5), "both low"] == "one seed"
    assert gains.loc[("resnet18", "tokens", 5), "gain"] == "nothing finished to compare with at these seeds"
    for table in (cost, gains, main_table(rows), *(f(rows_of(believable_store)) for f in (cost_table, gains_table))):
        assert table.notna().all().all() and not (table.astype(str).isin(["", "nan", "None", DASH])).any().any()
    shown = readable(main_table(rows_of(believable_store)))
    assert shown.loc[("resnet50", "none"), ("5-shot", "GMACs/episode")].startswith("seed 0 skipped")


def test_long_reasons_stand_beneath_the_table(believable_store: RecordStore, tmp_path: Path) -> None:
    table = main_table(rows_of(believable_store))
    _, markdown, tex = write_table(table, tmp_path / "main", readable(table), ["A note."])
    assert "| resnet50 | none | not run |" in markdown.read_text() and "| see a |" in markdown.read_text()
    assert markdown.read_text().endswith("\nA note.\n\na: seed 0 skipped: weights missing: run `fewdistill doctor`\n")
    assert "a: seed 0 skipped: weights missing" in tex.read_text() and "A note.\\par" in tex.read_text()


def test_ablation_sets_each_variant_against_its_setting(store: RecordStore) -> None:
    for seed in range(3):
        store.write(*made.finished(made.student(distillation="d2m", seed=seed), 0.6))
        store.write(*made.finished(made.student(distillation="d2m", seed=seed, variant="random"), 0.5))
        store.write(*made.finished(made.student(distillation="tokens", seed=seed, variant="random"), 0.5))
    rows = rows_of(store)
    table = ablation_table(rows)
    alone, compared = find(rows, "resnet18", "d2m", 5, ""), find(rows, "resnet18", "d2m", 5, "random")
    assert alone.accuracy and compared.accuracy and compared.gain
    line = table.loc[("random", 5, "resnet18", "d2m")]
    assert (line["accuracy %"], line["as it stands %"]) == (100 * compared.accuracy.mean, 100 * alone.accuracy.mean)
    assert line["gain"] == pytest.approx(line["accuracy %"] - line["as it stands %"])
    other = table.loc[("random", 5, "resnet18", "tokens")]
    assert other["as it stands %"] == "no such setting" and other["gain"].startswith("nothing finished")
    assert readable_ablation(table).notna().all().all()
    with pytest.raises(ResultError, match="no record has a variant"):
        ablation_table([alone])


def test_a_longer_training_is_compared_with_its_own_stream(store: RecordStore) -> None:
    for seed in range(3):
        store.write(*made.finished(made.supervised("ctr_gcn-joint", seed=seed), 0.6))
        for stream in ("joint", "bone"):
            longer = made.supervised(f"ctr_gcn-{stream}", seed=seed, variant="longer")
            store.write(*made.finished(longer, 0.8))
    rows = rows_of(store)
    joint, bone = (find(rows, f"ctr_gcn-{stream}", "-", None, "longer") for stream in ("joint", "bone"))
    assert joint.against and joint.against.model == "ctr_gcn-joint" and joint.gain
    assert bone.against is None and bone.gain_why == "nothing finished to compare with at these seeds"
    for seed in range(3):
        store.write(*made.finished(made.supervised("ctr_gcn-bone", seed=seed), 0.7))
    rows = rows_of(store)
    for stream in ("joint", "bone"):
        row = find(rows, f"ctr_gcn-{stream}", "-", None, "longer")
        assert row.against and row.against.model == row.setting.model and row.gain
    for name, accuracy in (("none", 0.3), ("dkd", 0.65)):
        for seed in range(3):
            store.write(*made.finished(made.supervised("light_dke_gcn-joint", name, seed=seed), accuracy))
    rows = rows_of(store)
    ours, theirs = (
        find(rows, "light_dke_gcn-joint", "dkd", None).accuracy,
        find(rows, "ctr_gcn-joint", "-", None).accuracy,
    )
    assert ours and theirs and f"{100 * ours.mean / theirs.mean:.0f} % of its teacher's accuracy" in headline(rows)
    assert f" to {100 * ours.mean:.1f} % (+" in headline(rows)


def test_headline_claims_only_what_it_may(new_store: made.Stores, believable_store: RecordStore) -> None:
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


def test_choosing_on_the_test_split_is_a_problem(store: RecordStore) -> None:
    record, arrays = made.finished(made.student(), 0.6)
    store.write(record.model_copy(update={"selection": {"split": "test"}}), arrays)
    first = warnings(store.scan()[0], rows_of(store), [])[0]
    assert (first.kind, first.items) == ("problem", ("resnet18 / none, 5-shot, seed 0",))


def test_hypervolume_of_one_student_is_a_rectangle(store: RecordStore) -> None:
    record, arrays = made.finished(made.student(), 0.6, cost=Cost(macs_per_episode=1e9))
    store.write(record, arrays)
    store.write(*made.finished(made.student("mfm", "-", role="teacher"), 0.9, cost=Cost(macs_per_episode=1e12)))
    [front] = fronts(rows_of(store))
    assert record.metrics is not None
    assert front.area == pytest.approx(3 * (100 * record.metrics.accuracy - 20))
