"""Records of several folders as one list."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from results import ResultError
from results.store import Problem, RecordStore, Result


def merge(folders: Iterable[Path | str]) -> tuple[list[Result], list[Problem]]:
    """Records of several folders as one list by key.

    The same key may stand in several: a done record wins over an unfinished one. Two done records of one key that
    differ in metrics or outcome raise ResultError naming both files, since nothing says which of them holds. What two
    suites have in common stands in the folder of each: it is kept as a cell of both, under the one key.
    """
    found: dict[tuple[str, str, str], tuple[Path, Result]] = {}
    finished: dict[str, tuple[Path, Result]] = {}
    problems: list[Problem] = []
    for folder in folders:
        store = RecordStore(folder)
        results, bad = store.scan()
        problems += bad
        for result in results:
            record = result.record
            path = store.root / f"{record.key}.json"
            if record.status == "done":
                before, twin = finished.setdefault(record.key, (path, result))
                if not _same_outcome(result, twin):
                    raise ResultError(f"{path} and {before}: the same cell with different results; delete one of them")
            place = (record.key, record.cell.suite, record.cell.variant)
            other_path, other = found.setdefault(place, (path, result))
            done = [record.status == "done", other.record.status == "done"]
            if not any(done) and record.status != other.record.status:
                problems.append(Problem(path, f"{record.status} here, {other.record.status} in {other_path}"))
            if done == [True, False]:
                found[place] = (path, result)
    return [found[place][1] for place in sorted(found)], problems


def _same_outcome(one: Result, two: Result) -> bool:
    assert one.correct is not None and two.correct is not None
    same_episodes = one.episodes == two.episodes and np.array_equal(one.correct, two.correct)
    return same_episodes and one.record.metrics == two.record.metrics
