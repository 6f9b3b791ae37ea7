"""Per-class accuracy of the page's rows, and which classes were taken for which."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewdistill.results.records.metrics import Accuracy
from fewdistill.results.records.result import Result
from fewdistill.results.report.rows import groups
from fewdistill.results.summary.rows import Row


@dataclass(frozen=True)
class Classes:
    """Accuracy of each test class for the rows that share them; fractions, means over seeds.

    cells: by row number and class, the mean (NaN where no query is of the class) and what a hover tells.
    """

    title: str
    names: list[str]
    cells: dict[int, list[tuple[float, str]]]


def class_tables(rows: Sequence[Row], results: Sequence[Result]) -> list[Classes]:
    """A table for each data set and split whose records tell their classes apart."""
    tables: dict[tuple[str, str], dict[int, dict[str, list[tuple[int, float]]]]] = defaultdict(dict)
    for index, (row, group) in enumerate(zip(rows, groups(rows, results), strict=True)):
        by_class: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for result in group:
            metrics = result.record.metrics
            for name, value in (metrics.per_class if isinstance(metrics, Accuracy) else {}).items():
                by_class[name].append((result.record.cell.seed, value))
        if by_class:
            tables[row.setting.dataset, row.setting.split][index] = by_class
    found = []
    for (dataset, split), chosen in sorted(tables.items()):
        names = sorted({name for by_class in chosen.values() for name in by_class})
        cells = {
            index: [_class_cell(name, by_class.get(name, [])) for name in names] for index, by_class in chosen.items()
        }
        found.append(Classes(f"{dataset} ({split})", names, cells))
    return found


def _class_cell(name: str, values: Sequence[tuple[int, float]]) -> tuple[float, str]:
    if not values:
        return float("nan"), f"{name}: no query of it in these episodes"
    each = ", ".join(f"seed {seed}: {100 * value:.1f}" for seed, value in values)
    return sum(value for _, value in values) / len(values), f"{name} ({each})"


def confusions(rows: Sequence[Row], results: Sequence[Result]) -> dict[int, dict[str, Any]]:
    """By row number, ``names`` (C,) and ``counts`` (C, C + 1): queries of each class by the answer, ties last.

    Counts are summed over seeds. A row whose records keep no answers has ``why`` instead.
    """
    found: dict[int, dict[str, Any]] = {}
    for index, group in enumerate(groups(rows, results)):
        finished = [result for result in group if result.correct is not None]
        why = next((result.no_answers for result in finished if result.predicted is None), "")
        if why:
            found[index] = {"why": why}
        elif finished:
            found[index] = _confusion(finished)
    return found


def _confusion(group: Sequence[Result]) -> dict[str, Any]:
    tallies: dict[tuple[str, str], int] = defaultdict(int)
    for result in group:
        assert result.predicted is not None and result.query_class is not None
        asked = np.stack([result.query_class.ravel(), result.predicted.ravel()])
        pairs, counts = np.unique(asked, axis=1, return_counts=True)
        for (true, answer), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
            tallies[_name(result, true), _name(result, answer)] += count
    names = sorted({name for pair in tallies for name in pair if name})
    return {"names": names, "counts": [[tallies.get((true, answer), 0) for answer in [*names, ""]] for true in names]}


def _name(result: Result, number: int) -> str:
    """Of a class number; "" of a tie, which is no answer."""
    if number < 0:
        return ""
    return f"class {number}" if result.class_names is None else str(result.class_names[number])
