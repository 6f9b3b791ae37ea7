"""The outcome of a record class by class."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fewdistill.results import ResultError
from fewdistill.results.records.result import Result

Floats = NDArray[np.float64]


def class_names(result: Result) -> dict[int, str] | None:
    """Number of each class that was asked -> its name; None where the record's names do not answer to its numbers.

    A record names its classes in the order of their numbers, which is alphabetical. Their accuracies tell whether
    that holds: each must be what the outcome gives for the number.
    """
    asked, right = _counts(result)
    numbers = np.flatnonzero(asked)
    metrics = result.record.metrics
    if metrics is None or len(metrics.per_class) != len(numbers):
        return None
    names = sorted(metrics.per_class)
    said = np.array([metrics.per_class[name] for name in names])
    if not np.allclose(said, right[numbers] / asked[numbers], rtol=0, atol=1e-9):
        return None
    return {int(number): name for number, name in zip(numbers, names, strict=True)}


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


def _counts(result: Result) -> tuple[Floats, Floats]:
    """How often each class number was asked, and how often rightly answered."""
    if result.correct is None or result.query_class is None:
        raise ResultError(f"record {result.record.key} is {result.record.status} and has no outcome")
    classes = result.query_class.ravel()
    right = np.bincount(classes, weights=result.correct.ravel())
    return np.bincount(classes).astype(np.float64), right.astype(np.float64)
