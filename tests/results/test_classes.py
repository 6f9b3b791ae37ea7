"""Class accuracies and confusions, counted again one query at a time."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from fewdistill.results.records.metrics import Accuracy
from fewdistill.results.records.result import Result
from fewdistill.results.records.store import RecordStore
from fewdistill.results.summary.per_class import by_class, class_name, class_names
from fewdistill.results.tables.classes import class_table, confusion_table, readable_classes, readable_confusion
from tests.results import made


@pytest.fixture
def some(store: RecordStore) -> list[Result]:
    for distillation in ("none", "d2m"):
        for seed in range(2):
            store.write(*made.finished(made.student(distillation=distillation, seed=seed), 0.6, count=40))
    store.write(*made.finished(made.student("mfm", "-", role="teacher"), 0.9, count=40))
    return store.scan()[0]


def test_class_table_counts_each_query(some: list[Result]) -> None:
    table = class_table(by_class(some, 5))
    assert [column[:2] for column in table.columns][::2] == [("mfm", "-"), ("resnet18", "none"), ("resnet18", "d2m")]
    seeds = [r for r in some if r.record.cell.distillation == "d2m"]
    for number, name in enumerate(made.CLASSES):
        accuracies, hits, asked = [], np.zeros(40), np.zeros(40)
        for result in seeds:
            assert result.correct is not None and result.query_class is not None
            mine = result.query_class == number
            accuracies.append(result.correct[mine].mean())
            for episode in range(40):
                hits[episode] += result.correct[episode][mine[episode]].sum() / len(seeds)
                asked[episode] = mine[episode].sum()
        mean = np.mean(accuracies)
        half = 1.96 * np.sqrt(((hits - mean * asked) ** 2).sum()) / asked.sum()
        assert table.loc[name, ("resnet18", "d2m", "accuracy %")] == pytest.approx(100 * mean)
        assert table.loc[name, ("resnet18", "d2m", "±")] == pytest.approx(100 * half)
        assert readable_classes(table).loc[name, ("resnet18", "d2m")].startswith(f"{100 * mean:.1f}"[:-2])


def test_confusions_count_each_answer(some: list[Result]) -> None:
    table = confusion_table(by_class(some, 5))
    pairs: Counter[tuple[int, int]] = Counter()
    for result in some:
        if result.record.cell.distillation == "none":
            assert result.query_class is not None and result.predicted is not None
            pairs.update(zip(result.query_class.ravel().tolist(), result.predicted.ravel().tolist(), strict=True))
    for number, name in enumerate(made.CLASSES):
        total = sum(count for (true, _), count in pairs.items() if true == number)
        line = table.loc[("resnet18", "none", name)]
        assert line["tie"] == pytest.approx(pairs[number, -1] / total)
        shares = [pairs[number, other] / total for other in range(10)]
        assert line[made.CLASSES].tolist() == pytest.approx(shares)
        assert sum(line) == pytest.approx(1.0)
    assert readable_confusion(table).notna().all().all()


def test_records_without_answers_say_so(some: list[Result]) -> None:
    silent = [replace(result, predicted=None) for result in some]
    table = confusion_table(by_class(silent, 5))
    assert len(table) == 3 and set(table["tie"]) == {"the records keep no answers"}
    mixed = [replace(r, predicted=None) if r.record.cell.role != "teacher" else r for r in some]
    table = confusion_table(by_class(mixed, 5))
    assert table.loc[("resnet18", "none", "any"), "class_0"] == "the records keep no answers"
    assert isinstance(table.loc[("mfm", "-", "class_0"), "class_0"], float)


def test_names_are_proved_or_withheld(some: list[Result]) -> None:
    result = replace(some[0], class_names=None, predicted=None)
    names = class_names(result)
    assert names is not None and list(names.values()) == made.CLASSES
    metrics = result.record.metrics
    assert isinstance(metrics, Accuracy)
    moved = metrics.model_copy(update={"per_class": metrics.per_class | {"class_0": 0.123}})
    strange = replace(result, record=result.record.model_copy(update={"metrics": moved}))
    assert class_names(strange) is None and class_name(3, None) == "class 3"
    named = replace(result, class_names=np.array(list("abcdefghij")))
    assert list(class_names(named).values()) == list("abcdefghij")
