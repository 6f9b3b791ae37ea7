"""Accuracy of each test class, and which classes are taken for which."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fewdistill.results import ResultError
from fewdistill.results.records.result import Result
from fewdistill.results.stats import Interval
from fewdistill.results.summary.pairing import done
from fewdistill.results.summary.rows import Setting, labels, model_order
from fewdistill.results.tables.files import Why, number

NO_ANSWERS = Why("the records keep no answers")
CLASSES_NOTE = "Accuracy of each class over its own queries: mean over seeds, ± closed 95 % over the episodes it is in."
CONFUSION_NOTE = (
    "Share of each class's queries that were given each answer, over all seeds; rows add up to 1. An answer must be"
    " one of the episode's classes, so that a confusion needs both in one episode. A tie is no answer."
)


@dataclass(frozen=True)
class ClassScores:
    """A setting at one shot, class by class. accuracy: class name -> mean over seeds with its closed 95 % interval.

    by_seed: class name -> accuracy of each seed. confusion: float64 (C, A + 1), share of the queries of each class (in
    the order of ``accuracy``) that were given each of the ``answers``, ties last; None where a record keeps none.
    """

    setting: Setting
    accuracy: dict[str, Interval]
    by_seed: dict[str, tuple[float, ...]]
    answers: tuple[str, ...]
    confusion: NDArray[np.float64] | None


def by_class(results: Iterable[Result], shot: int) -> list[ClassScores]:
    """Class scores of every finished setting of one shot, variants aside, teachers first."""
    groups: dict[Setting, list[Result]] = {}
    for result in done(sorted(results, key=lambda result: result.record.cell.seed)):
        setting = Setting.of(result.record.cell)
        if result.record.cell.shot == shot and not setting.variant:
            groups.setdefault(setting, []).append(result)
    return [_scores(setting, groups[setting]) for setting in sorted(groups, key=lambda s: (model_order(s), s))]


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


def class_names(result: Result) -> dict[int, str]:
    """Name of each class number among the queries and the answers.

    A record without names has its accuracies by name: the numbers follow the names' order where these agree with the
    outcome, and are called "class 3" where they do not.
    """
    assert result.query_class is not None and result.correct is not None and result.record.metrics
    asked = np.unique(result.query_class).tolist()
    answered = [] if result.predicted is None else np.unique(result.predicted[result.predicted >= 0]).tolist()
    numbers = sorted({*asked, *answered})
    if result.class_names is not None:
        return {number: str(result.class_names[number]) for number in numbers}
    named = sorted(result.record.metrics.per_class.items())
    if len(named) == len(numbers) == len(asked):
        measured = [float(result.correct[result.query_class == number].mean()) for number in numbers]
        if np.allclose(measured, [value for _, value in named], rtol=0, atol=1e-9):
            return dict(zip(numbers, (name for name, _ in named), strict=True))
    return {number: f"class {number}" for number in numbers}


def _scores(setting: Setting, group: Sequence[Result]) -> ClassScores:
    naming: dict[int, str] = {}
    for result in group:
        naming |= class_names(result)
    numbers = sorted(naming)
    tallies = [_tally(result, numbers) for result in group]
    shared = len({result.episodes for result in group}) == 1
    accuracy: dict[str, Interval] = {}
    by_seed: dict[str, tuple[float, ...]] = {}
    for place, name in enumerate(naming[one] for one in numbers):
        seeds = [(hits[:, place], count[:, place]) for hits, count in tallies if count[:, place].any()]
        if seeds:
            by_seed[name] = tuple(float(hits.sum() / count.sum()) for hits, count in seeds)
            accuracy[name] = _over_seeds(seeds, shared)
    confusion = _confusion(group, numbers)
    answers = () if confusion is None else tuple(naming[one] for one in numbers)
    return ClassScores(setting, accuracy, by_seed, answers, confusion)


def _tally(result: Result, numbers: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right answers and queries of each class in each episode, float64 (E, C)."""
    assert result.query_class is not None and result.correct is not None
    places = np.searchsorted(numbers, result.query_class)
    flat = (np.arange(len(places))[:, None] * len(numbers) + places).ravel()
    size, shape = len(places) * len(numbers), (len(places), len(numbers))
    hits = np.bincount(flat, weights=result.correct.ravel(), minlength=size).reshape(shape).astype(np.float64)
    return hits, np.bincount(flat, minlength=size).reshape(shape).astype(np.float64)


def _over_seeds(seeds: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], shared: bool) -> Interval:
    """Accuracy of a class over seeds, each the hits (E,) and queries (E,) of its episodes.

    The closed interval of a ratio (linearised: 1.96 times the root of the summed squares of hits - mean * queries,
    over the queries), which is the usual closed interval where each episode asks the same number.
    """
    if shared:
        seeds = [(np.mean([hits for hits, _ in seeds], axis=0), seeds[0][1])]
    means = [float(hits.sum() / count.sum()) for hits, count in seeds]
    errors = [
        float(np.square(hits - mean * count).sum()) / float(count.sum()) ** 2
        for mean, (hits, count) in zip(means, seeds, strict=True)
    ]
    mean, half = float(np.mean(means)), 1.96 * float(np.sqrt(sum(errors))) / len(seeds)
    return Interval(mean, mean - half, mean + half, sum(int((count > 0).sum()) for _, count in seeds))


def _confusion(group: Sequence[Result], numbers: Sequence[int]) -> NDArray[np.float64] | None:
    """Shares (classes that were asked for, C answers and ties), or None where a record keeps no answers."""
    size = len(numbers)
    total = np.zeros((size, size + 1))
    for result in group:
        if result.predicted is None:
            return None
        assert result.query_class is not None
        true, answer = result.query_class.ravel(), result.predicted.ravel()
        column = np.where(answer < 0, size, np.searchsorted(numbers, answer))
        flat = np.searchsorted(numbers, true) * (size + 1) + column
        total += np.bincount(flat, minlength=total.size).reshape(total.shape)
    asked = total[total.any(axis=1)]
    return asked / asked.sum(axis=1, keepdims=True)


def _some(scores: Sequence[ClassScores]) -> None:
    if not scores:
        raise ResultError("no finished record of this shot; nothing to tabulate by class")
