"""Accuracy of each test class, which classes are taken for which, and a record's outcome class by class."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fewdistill.results.records.metrics import Accuracy
from fewdistill.results.records.result import Result
from fewdistill.results.stats import Interval
from fewdistill.results.summary.pairing import done
from fewdistill.results.summary.rows import Setting, model_order

Floats = NDArray[np.float64]


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


def by_class(results: Iterable[Result], shot: int | None) -> list[ClassScores]:
    """Class scores of every finished setting of one shot whose queries have classes, variants aside, teachers first."""
    groups: dict[Setting, list[Result]] = {}
    for result in done(sorted(results, key=lambda result: result.record.cell.seed)):
        setting = Setting.of(result.record.cell)
        asked = result.correct is not None and result.query_class is not None
        if result.record.cell.shot == shot and asked and not setting.variant:
            groups.setdefault(setting, []).append(result)
    return [_scores(setting, groups[setting]) for setting in sorted(groups, key=lambda s: (model_order(s), s))]


def class_names(result: Result) -> dict[int, str] | None:
    """Name of each class number among the queries and the answers; None where a record does not say.

    A record without names has its accuracies by name: the numbers follow the names' order where these agree with the
    outcome.
    """
    if result.query_class is None or result.correct is None:
        return None
    asked = np.unique(result.query_class).tolist()
    answered = [] if result.predicted is None else np.unique(result.predicted[result.predicted >= 0]).tolist()
    numbers = sorted({*asked, *answered})
    if result.class_names is not None:
        return {number: str(result.class_names[number]) for number in numbers}
    metrics = result.record.metrics
    named = sorted(metrics.per_class.items()) if isinstance(metrics, Accuracy) else []
    if len(named) == len(numbers) == len(asked):
        measured = [float(result.correct[result.query_class == number].mean()) for number in numbers]
        if np.allclose(measured, [value for _, value in named], rtol=0, atol=1e-9):
            return dict(zip(numbers, (name for name, _ in named), strict=True))
    return None


def class_name(number: int, *names: dict[int, str] | None) -> str:
    """The name of a class number in the first of ``names`` that knows any, "class 3" where none does."""
    return next((known[number] for known in names if known and number in known), f"class {number}")


def of_class(number: int) -> Callable[[Result], Floats]:
    """Per-episode values of one class: float64 (n,) over the episodes that ask it, whose mean is its accuracy.

    Accuracy of a class is a ratio, hits over questions. Where episodes ask it unequally often, the values are the
    ratio plus each episode's linearised part (delta method), so that their variance is that of the ratio.
    """

    def values(result: Result) -> Floats:
        assert result.correct is not None and result.query_class is not None
        here = result.query_class == number
        asked = here.sum(axis=1, dtype=np.float64)
        hits = np.where(here, result.correct, 0).sum(axis=1, dtype=np.float64)[asked > 0]
        asked = asked[asked > 0]
        ratio = hits.sum() / asked.sum()
        return np.asarray(ratio + (hits - ratio * asked) / asked.mean(), np.float64)

    return values


def episodes_asking(number: int, result: Result) -> int:
    assert result.query_class is not None
    return int((result.query_class == number).any(axis=1).sum())


def _scores(setting: Setting, group: Sequence[Result]) -> ClassScores:
    naming: dict[int, str] = {}
    for result in group:
        assert result.query_class is not None
        known = class_names(result)
        shown = [result.query_class] if result.predicted is None else [result.query_class, result.predicted]
        numbered = np.unique(np.concatenate([part.ravel() for part in shown])).tolist()
        naming |= {number: class_name(number, known) for number in numbered if number >= 0}
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
