"""Folders of records as one list: what stands twice, and what contradicts itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewdistill.results import ResultError
from fewdistill.results.records.bundle import RECORDS
from fewdistill.results.records.differences import differences, differences_but_seed
from fewdistill.results.records.merge import merge
from fewdistill.results.records.record import Record, key_of
from fewdistill.results.report.page import write_report
from fewdistill.results.summary.rows import summarise
from tests.results import made


def trained(record: Record, **settings: Any) -> Record:
    """The same cell, trained with these settings."""
    base = {"stage": "base", "base": {"epochs": 15, "lr": 0.1}, "seed": record.cell.seed} | settings.pop("base", {})
    whole = {"stage": "student", "base": key_of(base), "episodic": {"lr": 1e-4}, "seed": record.cell.seed} | settings
    identity = {"version": 1, "stage": "cell", "trained": key_of(whole), "content": "c" * 64, "episodes": "e" * 64}
    told = {"identity": identity, "key": key_of(identity), "settings": {"trained": whole, "base": base}}
    return record.model_copy(update=told)


def test_a_record_in_two_folders_counts_once_and_is_noted(new_store: made.Stores) -> None:
    a, b = new_store("a"), new_store("b")
    record, arrays = made.finished(made.student(), 0.7)
    a.write(made.unfinished(made.student(), "started"))
    b.write(record, arrays)
    b.write(*made.finished(made.student(seed=1), 0.7))
    results, problems = merge([a.root, b.root])
    assert [r.record.status for r in results] == ["done", "done"] and not problems
    metrics = record.metrics
    assert metrics is not None and metrics.nll is not None
    noise = metrics.model_copy(update={"nll": metrics.nll * (1 + 1e-6)})  # another processor's float32
    a.write(record.model_copy(update={"metrics": noise}), arrays)
    results, [problem] = merge([a.root, b.root])
    assert len(results) == 2 and problem.note and not problem.unfinished
    assert str(problem.path) == f"{a.root}/{record.key}.json" and f"{b.root}/{record.key}.json" in str(problem)
    assert merge([a.root, a.root])[1] == []  # one folder named twice
    with pytest.raises(ResultError, match="no such folder"):
        merge([a.root / "nowhere"])


def test_a_record_of_two_suites_is_a_cell_of_each(new_store: made.Stores) -> None:
    a, b = new_store("a"), new_store("b")
    record, arrays = made.finished(made.student(), 0.7)
    other = record.model_copy(update={"cell": record.cell.model_copy(update={"suite": "other"})})
    a.write(record, arrays)
    b.write(other, arrays)
    results, problems = merge([a.root, b.root])
    assert [result.record.cell.suite for result in results] == ["lite", "other"] and not problems
    worse, answers = made.finished(made.student(), 0.2)
    b.write(other.model_copy(update={"metrics": worse.metrics}), answers)
    results, problems = merge([a.root, b.root])
    assert [result.record.status for result in results] == ["skipped", "skipped"] and len(problems) == 1


def test_the_committed_bundles_contradict_nothing() -> None:
    files = sorted(Path("results/reference").glob(f"*/{RECORDS}"))
    results, problems = merge([file.parent for file in files])
    records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    cells = {(each["key"], each["cell"]["suite"], each["cell"]["variant"]) for each in records}
    assert len(results) == len(cells) and not problems
    assert all(result.record.status == "done" for result in results)


def test_of_two_copies_the_newer_schema_is_taken(new_store: made.Stores) -> None:
    a, b = new_store("a"), new_store("b")
    record, arrays = made.finished(made.student(), 0.7)
    old = record.model_copy(update={"schema_version": 2})
    a.write(old, {name: array for name, array in arrays.items() if name != "predicted"})
    b.write(record, arrays)
    [result], [problem] = merge([a.root, b.root])
    assert result.predicted is not None and problem.note


def test_different_results_of_one_record_are_named_and_neither_is_shown(new_store: made.Stores) -> None:
    a, b, c = new_store("a"), new_store("b"), new_store("c")
    record, arrays = made.finished(made.student(), 0.7)
    other, others = made.finished(made.student(), 0.2)
    assert other.key == record.key
    for store in (a, c):
        store.write(record, arrays)
    b.write(other, others)
    a.write(*made.finished(made.student(seed=1), 0.7))
    results, [problem] = merge([a.root, b.root, c.root])
    assert not problem.note and "different results: delete all but one" in str(problem)
    assert all(f"{store.root}/{record.key}.json" in str(problem) for store in (a, b, c))
    [row] = summarise(results)
    assert [seed for seed, _ in row.by_seed] == [1]
    assert row.unfinished[0].startswith("seed 0 skipped: ") and str(b.root) in row.unfinished[0]


def test_different_answers_of_the_same_accuracy_are_different_results(new_store: made.Stores) -> None:
    a, b = new_store("a"), new_store("b")
    record, arrays = made.finished(made.student(), 0.5)
    a.write(record, arrays)
    wrong = arrays["correct"] == 0
    b.write(record, arrays | {"predicted": np.where(wrong, np.int16(-1), arrays["predicted"])})
    [result], [problem] = merge([a.root, b.root])
    assert result.record.status == "skipped" and "different results" in str(problem)


def test_a_cell_with_two_identities_is_named_with_what_differs(new_store: made.Stores, tmp_path: Path) -> None:
    a, b = new_store("a"), new_store("b")
    record, arrays = made.finished(made.student(), 0.7)
    short, long = trained(record), trained(record, base={"base": {"epochs": 20, "lr": 0.1}}, episodic={"lr": 1e-3})
    a.write(short, arrays)
    b.write(long, arrays)
    b.write(*made.finished(made.student("resnet50"), 0.7))
    results, [problem] = merge([a.root, b.root])
    text = str(problem)
    assert "resnet18/none, 5-shot, seed 0 of lite with different identities" in text
    assert "base.base.epochs 15 -> 20, trained.episodic.lr 0.0001 -> 0.001)" in text
    assert f"{a.root}/{short.key}.json" in text and f"{b.root}/{long.key}.json" in text
    rows = {row.setting.model: row for row in summarise(results)}
    assert rows["resnet18"].accuracy is None and "epochs 15 -> 20" in rows["resnet18"].why
    assert rows["resnet50"].accuracy is not None
    page = write_report([a.root, b.root], tmp_path / "out")
    assert "epochs 15 -&gt; 20" in page.read_text()
    assert [result.record.status for result in merge([a.root, b.root], keys=[short.key])[0]] == ["done"]


def test_seeds_that_were_not_trained_alike_are_noted(new_store: made.Stores) -> None:
    a, b = new_store("a"), new_store("b")
    for seed, store in ((0, a), (1, a), (2, b), (3, b)):
        record, arrays = made.finished(made.student(seed=seed), 0.7)
        store.write(trained(record, episodic={"lr": 1e-4 if store is a else 1e-3}), arrays)
    results, problems = merge([a.root, b.root])
    assert len(results) == 4 and all(result.record.status == "done" for result in results)
    assert [problem.note for problem in problems] == [True]
    assert "trained.episodic.lr" in str(problems[0]) and "0.0001" in str(problems[0])
    assert merge([a.root])[1] == []


def test_differences_are_paths_with_both_values() -> None:
    record, _ = made.finished(made.student(), 0.7)
    one = trained(record, teacher=None, sizes=[2, 3], on=True)
    two = trained(record, teacher="f" * 64, sizes=[2], on=1)
    assert differences(one, one) == []
    assert differences(one, two) == [
        "trained.on True -> 1", "trained.sizes[1] 3 -> (none)", "trained.teacher None -> ffffffffffff",
    ]  # fmt: skip
    bare = [each.model_copy(update={"settings": {}}) for each in (one, two)]  # as schema 2 has them
    assert differences(*bare) == [f"trained {bare[0].identity['trained'][:12]} -> {bare[1].identity['trained'][:12]}"]
    assert differences_but_seed(*bare) == [] and differences_but_seed(one, two) == differences(one, two)
