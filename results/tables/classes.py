"""Accuracies and confusions of the test classes as tables."""

from collections.abc import Sequence

import pandas as pd

from fewdistill.results import ResultError
from fewdistill.results.summary.per_class import ClassScores
from fewdistill.results.summary.rows import labels
from fewdistill.results.tables.files import Why, number

NO_ANSWERS = Why("the records keep no answers")
CLASSES_NOTE = "Accuracy of each class over its own queries: mean over seeds, ± closed 95 % over the episodes it is in."
CONFUSION_NOTE = (
    "Share of each class's queries that were given each answer, over all seeds; rows add up to 1. An answer must be"
    " one of the episode's classes, so that a confusion needs both in one episode. A tie is no answer."
)


def class_table(scores: Sequence[ClassScores]) -> pd.DataFrame:
    """A line for each class, columns (model, distillation, "accuracy %" | "±"); a last line for the spread."""
    _some(scores)
    names = sorted({name for one in scores for name in one.accuracy})
    model = labels(one.setting for one in scores)
    absent = Why("in no episode")
    table: dict[tuple[str, str, str], list[object]] = {}
    for one in scores:
        column = model[one.setting], one.setting.distillation
        found = [one.accuracy.get(name) for name in names]
        table[*column, "accuracy %"] = [100 * value.mean if value else absent for value in found]
        table[*column, "±"] = [100 * value.half_width if value else absent for value in found]
    frame = pd.DataFrame(table, index=pd.Index(names, name="class"), dtype=object)
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def readable_classes(table: pd.DataFrame) -> pd.DataFrame:
    """The class table as text: "39.41 ± 0.96"."""
    shown = {}
    for column in dict.fromkeys(column[:2] for column in table.columns):
        pairs = zip(table[*column, "accuracy %"], table[*column, "±"], strict=True)
        shown[column] = [
            mean if isinstance(mean, Why) else f"{number(mean, 2)} ± {number(half, 2)}" for mean, half in pairs
        ]
    frame = pd.DataFrame(shown, index=table.index, dtype=object)
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def confusion_table(scores: Sequence[ClassScores]) -> pd.DataFrame:
    """Lines (model, distillation, true class), columns the classes answered and "tie": shares in [0, 1].

    A setting whose records keep no answers has one line that says so.
    """
    _some(scores)
    answers = sorted({name for one in scores for name in one.answers})
    model = labels(one.setting for one in scores)
    records: list[dict[str, object]] = []
    for one in scores:
        line: dict[str, object] = {"model": model[one.setting], "distillation": one.setting.distillation}
        if one.confusion is None:
            records.append(line | {"class": "any"} | dict.fromkeys([*answers, "tie"], NO_ANSWERS))
            continue
        for name, row in zip(one.accuracy, one.confusion.tolist(), strict=True):
            shares = dict(zip([*one.answers, "tie"], row, strict=True))
            records.append(line | {"class": name} | {a: shares.get(a, Why("in no episode")) for a in [*answers, "tie"]})
    return pd.DataFrame(records, dtype=object).set_index(["model", "distillation", "class"])


def readable_confusion(table: pd.DataFrame) -> pd.DataFrame:
    return table.map(lambda value: value if isinstance(value, Why) else number(value, 3))


def _some(scores: Sequence[ClassScores]) -> None:
    if not scores:
        raise ResultError("no finished record of this shot; nothing to tabulate by class")
