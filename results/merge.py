"""Records of several folders as one list."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from results import ResultError
from results.store import Problem, RecordStore, Result


def merge(folders: Iterable[Path | str]) -> tuple[list[Result], list[Problem]]:
    """Records of several folders as one list by key.

    The same key may stand in several: a done record wins over an unfinished one. Two done records of one key that
    differ in metrics or outcome raise ResultError naming both files, since nothing says which of them holds.
    """
    found: dict[str, tuple[Path, Result]] = {}
    problems: list[Problem] = []
    for folder in folders:
        store = RecordStore(folder)
        results, bad = store.scan()
        problems += bad
        for result in results:
            key = result.record.key
            path = store.root / f"{key}.json"
            if key not in found:
                found[key] = (path, result)
                continue
            other_path, other = found[key]
            done = [result.record.status == "done", other.record.status == "done"]
            if all(done) and not _same_outcome(result, other):
                raise ResultError(f"{path} and {other_path}: the same cell with different results; delete one of them")
            if not any(done) and result.record.status != other.record.status:
                problems.append(Problem(path, f"{result.record.status} here, {other.record.status} in {other_path}"))
            if done == [True, False]:
                found[key] = (path, result)
    return [found[key][1] for key in sorted(found)], problems


def _same_outcome(one: Result, two: Result) -> bool:
    assert one.correct is not None and two.correct is not None
    same_episodes = one.episodes == two.episodes and np.array_equal(one.correct, two.correct)
    return same_episodes and one.record.metrics == two.record.metrics
