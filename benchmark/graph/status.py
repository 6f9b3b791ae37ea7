"""What stands of a suite's rows: which records are done, failed, diverged or missing."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from fewdistill.benchmark.evaluation.episodic_record import Row, record_identity, rows
from fewdistill.benchmark.graph.place import Place
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.results import ResultError
from fewdistill.results.records.record import key_of
from fewdistill.results.records.store import RecordStore


@dataclass(frozen=True)
class Standing:
    """A row, and by shot its records' keys and status: done, failed, diverged, started (now or once) or missing."""

    row: Row
    keys: dict[int, str]
    status: dict[int, str]

    @property
    def records(self) -> tuple[str, ...]:
        """The keys of all its records: rows that share them are one thing in two variants."""
        return tuple(self.keys.values())

    @property
    def done(self) -> bool:
        """Whether every shot has its record."""
        return all(status == "done" for status in self.status.values())


def status(ws: Workspace, only: Sequence[str] = ()) -> list[Standing]:
    """Every row of the suite (or those whose name is, or matches, a pattern) and what stands of it."""
    found = []
    for row in rows(ws):
        if only and not any(row.name == pattern or fnmatch.fnmatch(row.name, pattern) for pattern in only):
            continue
        at = ws.varied(row.variant)
        keys = {shot: key_of(record_identity(at, row, shot)) for shot in ws.suite.evaluate.shots}
        found.append(standing_of(ws, row, keys))
    if only and not found:
        raise UserError(f"no row matches {' or '.join(only)}; rows are called {', '.join(r.name for r in rows(ws))}")
    return found


def standing_of(ws: Place, row: Row, keys: dict[int, str]) -> Standing:
    """What stands now of a row with these records, by shot."""
    store = RecordStore(ws.runs / "records")
    return Standing(row, keys, {shot: _status(store, key) for shot, key in keys.items()})


def _status(store: RecordStore, key: str) -> str:
    """A done record without its sound arrays is as good as missing."""
    if key not in store:
        return "missing"
    status = store.read(key).status
    if status == "done":
        try:
            store.arrays(key)
        except ResultError:
            return "missing"
    return status
