"""Records of several folders as one list, without those that contradict each other."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path

import numpy as np

from fewdistill.results.records.bundle import open_records
from fewdistill.results.records.differences import differences, differences_but_seed
from fewdistill.results.records.record import Cell
from fewdistill.results.records.result import Problem, Result

_MOST_LISTED = 6  # differences named of two records


@dataclass(frozen=True)
class _Found:
    path: Path
    result: Result

    @property
    def done(self) -> bool:
        return self.result.record.status == "done"

    @property
    def axes(self) -> tuple[str, str, str]:
        """Its key, and the suite and variant whose cell it is."""
        record = self.result.record
        return record.key, record.cell.suite, record.cell.variant


def merge(folders: Iterable[Path | str], keys: Collection[str] | None = None) -> tuple[list[Result], list[Problem]]:
    """Records of several folders as one list by key, and what is wrong, or worth a note, with their files.

    folders: of a run or of a bundle. keys: the records asked for, by default all. The same key may stand in several
    folders: of two equal outcomes one is taken and a note names both files; a done record wins over one that is not.
    What two suites or variants have in common is kept as a cell of each. Nothing says which holds where two done
    records of one key differ in metrics or outcome, or where two of one cell have different identities: a problem
    names their files and what differs, and they become skipped records, without a figure.
    """
    by_key: dict[str, list[_Found]] = defaultdict(list)
    problems: list[Problem] = []
    for folder in {Path(folder).resolve(): folder for folder in folders}.values():
        records = open_records(folder)
        results, bad = records.scan()
        problems += bad
        for result in results:
            if keys is None or result.record.key in keys:
                path = records.path_of(result.record.key)
                assert path is not None
                by_key[result.record.key].append(_Found(path, result))
    chosen = {found.axes: found for key in sorted(by_key) for found in _of_key(by_key[key], problems)}
    by_cell: dict[Cell, list[_Found]] = defaultdict(list)
    for found in chosen.values():
        if found.done:
            by_cell[found.result.record.cell].append(found)
    for twins in by_cell.values():
        if len(twins) > 1:
            chosen |= {found.axes: found for found in _set_aside(twins, _mismatch(twins), problems)}
    _note_seeds(list(chosen.values()), problems)
    return [found.result for found in chosen.values()], problems


def _of_key(same: Sequence[_Found], problems: list[Problem]) -> list[_Found]:
    """The records of one key that count, one of each suite and variant."""
    done = [found for found in same if found.done]
    if any(not _same_outcome(done[0].result, other.result) for other in done[1:]):
        same = _set_aside(done, "the same cell with different results: delete all but one", problems)
        return list({found.axes: found for found in same}.values())
    by_axes: dict[tuple[str, str, str], list[_Found]] = defaultdict(list)
    for found in same:
        by_axes[found.axes].append(found)
    return [_one_of(by_axes[axes], problems) for axes in sorted(by_axes)]


def _one_of(same: Sequence[_Found], problems: list[Problem]) -> _Found:
    done = [found for found in same if found.done]
    if not done:
        one, *others = same
        for other in others:
            if other.result.record.status != one.result.record.status:
                said = f"{other.result.record.standing} here, {one.result.record.standing} in {one.path}"
                problems.append(Problem(other.path, said, note=True))
        return one
    one = max(done, key=lambda found: found.result.record.schema_version)  # a newer one keeps more; the first of equals
    if len(done) > 1:
        copies = ", ".join(str(found.path) for found in done if found is not one)
        problems.append(Problem(one.path, f"the same record as {copies}; counted once", note=True))
    return one


def _same_outcome(one: Result, two: Result) -> bool:
    """Whether the answers are the same, and all that follows from them; scores may differ as float32 does."""
    same = one.episodes == two.episodes
    for ours, theirs in ((one.correct, two.correct), (one.predicted, two.predicted), (one.values, two.values)):
        if ours is not None and theirs is not None:
            same = same and np.array_equal(ours, theirs)
    a, b = one.record.metrics, two.record.metrics
    assert a is not None and b is not None
    scores = [(getattr(a, name), getattr(b, name)) for name in a.inexact]
    near = all(x == y or (x is not None and y is not None and isclose(x, y, rel_tol=1e-3)) for x, y in scores)
    return same and near and a == b.model_copy(update={name: getattr(a, name) for name in a.inexact})


def _set_aside(found: Sequence[_Found], why: str, problems: list[Problem]) -> list[_Found]:
    """Done records as skipped ones: their cell says why it is empty, and no figure of theirs is left."""
    problems += [Problem(one.path, f"left out with {_others(one, found)}: {why}") for one in found[:1]]
    skipped = []
    for one in found:
        reason = f"{one.path} and {_others(one, found)} contradict each other: {why}"
        emptied: dict[str, object] = {"status": "skipped", "reason": reason, "metrics": None, "cost": None, "curve": []}
        skipped.append(_Found(one.path, Result(one.result.record.model_copy(update=emptied))))
    return skipped


def _others(one: _Found, found: Sequence[_Found]) -> str:
    return ", ".join(str(other.path) for other in found if other is not one)


def _mismatch(twins: Sequence[_Found]) -> str:
    cell, first = twins[0].result.record.cell, twins[0].result.record
    name = f"{cell.model}/{cell.distillation}, {cell.at}, seed {cell.seed} of {cell.suite}"
    name += f" ({cell.variant})" if cell.variant else ""
    unlike = "; ".join(_listed(differences(first, twin.result.record)) for twin in twins[1:])
    return f"{name} with different identities ({unlike}): name the variants apart in the suite, or remove one"


def _listed(found: Sequence[str]) -> str:
    more = [f"and {len(found) - _MOST_LISTED} more"] if len(found) > _MOST_LISTED else []
    return ", ".join([*found[:_MOST_LISTED], *more])


def _note_seeds(chosen: Sequence[_Found], problems: list[Problem]) -> None:
    """Note the rows whose seeds were not made with the same settings: their mean is of unlike things."""
    rows: dict[Cell, list[_Found]] = defaultdict(list)
    for found in chosen:
        if found.done:
            rows[found.result.record.cell.model_copy(update={"seed": 0})].append(found)
    for first, *others in rows.values():
        noted: set[str] = set()
        for other in others:
            unlike = _listed(differences_but_seed(first.result.record, other.result.record))
            if unlike and unlike not in noted:
                noted.add(unlike)
                said = f"another seed of the row of {first.path}, made with other settings: {unlike}"
                problems.append(Problem(other.path, said, note=True))
