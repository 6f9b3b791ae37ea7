"""One row: trained, scored and recorded, by one process at a time; and all of them by this process."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from fewdistill.benchmark.evaluation.episodic_record import (
    TEACHER,
    Row,
    describe,
    record_identity,
    score_student,
    score_teacher,
)
from fewdistill.benchmark.graph.place import Place
from fewdistill.benchmark.graph.status import Standing, standing_of
from fewdistill.benchmark.graph.tracked_row import track_row
from fewdistill.benchmark.protocols.episodic.student import reads_teacher, train_student
from fewdistill.benchmark.protocols.episodic.teacher import Teacher, teacher_key, train_teacher
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.runtime.process_group import LostError
from fewdistill.benchmark.runtime.progress import say
from fewdistill.benchmark.runtime.provenance import provenance
from fewdistill.benchmark.training.loop import Diverged
from fewdistill.feature_cache import CacheError, InUseError, run_lock
from fewdistill.results.records.record import Cell, Record, Status, key_of
from fewdistill.results.records.store import RecordStore


def run_here(ws: Workspace, pending: Sequence[Standing], overwrite: bool) -> set[tuple[str, ...]]:
    """Run rows one after the other, first those at which no other process works; the records of those that failed."""
    failed: set[tuple[str, ...]] = set()
    teachers: dict[str, Teacher] = {}
    left = list(enumerate(pending, start=1))
    for wait in (False, True):
        held = []
        for number, standing in left:
            try:
                if run_row(ws, standing, teachers, overwrite, wait, f"[{number}/{len(pending)}] "):
                    failed.add(standing.records)
            except InUseError:
                held.append((number, standing))
        left = held
    return failed


def run_row(
    ws: Workspace, standing: Standing, teachers: dict[str, Teacher], overwrite: bool, wait: bool, place: str = ""
) -> str:
    """Run what another process has not finished meanwhile; the reason of a failure, recorded too, "" for none.

    teachers: the last one made, by key, kept from row to row. wait: for another process that works at the row; else
    it is an InUseError. place: the row's place among others, for the line that tells of it.
    """
    row, store = standing.row, RecordStore(ws.runs / "records")
    at = ws.varied(row.variant)
    with row_lock(ws, standing, (lambda owner: say(f"[waiting for {row.name}: {owner}]")) if wait else None):
        standing = standing_of(ws, row, standing.keys)
        if standing.done and not overwrite:
            return ""
        say(f"{place}{row.name}")
        _record_unfinished(at, standing, store, "started")
        try:
            teacher = None
            if needs_teacher(at, row):
                key = teacher_key(at, row.seed)
                if key not in teachers:
                    teachers.clear()
                    teachers[key] = train_teacher(at, row.seed)
                teacher = teachers[key]
            _record(at, row, teacher, store)
        except LostError:
            raise
        except (RunError, CacheError, torch.OutOfMemoryError) as error:
            record_failure(at, standing, store, error)
            track_row(at, row, [], str(error))
            say(f"  {row.name}: {error}")
            return str(error)
    return ""


def needs_teacher(ws: Workspace, row: Row) -> bool:
    """Whether a row is a teacher or reads one."""
    return row.model == TEACHER or reads_teacher(ws, row.model, row.distillation)


def row_lock(
    ws: Place, standing: Standing, waiting: Callable[[str], None] | None = None
) -> AbstractContextManager[None]:
    """Held by the process that writes a row's records; see run_lock."""
    return run_lock(ws.runs / "locks" / f"{standing.row.name.replace('/', '-')}-{standing.records[0][:12]}", waiting)


def _record(ws: Workspace, row: Row, teacher: Teacher | None, store: RecordStore) -> None:
    if row.model == TEACHER:
        assert teacher is not None
        scored = score_teacher(ws, row, teacher)
    else:
        scored = score_student(ws, row, train_student(ws, row.model, row.distillation, row.seed, teacher))
    written = []
    for record, arrays in scored:
        store.write(record, arrays)
        say(told(record))
        written.append(record)
    track_row(ws, row, written)


def told(record: Record) -> str:
    """A line of a done record's outcome."""
    found = record.metrics
    assert found is not None
    if record.cell.shot is None:
        return f"  {found.value:.2%} of {found.episodes} test {found.sample}s"
    low, high = found.interval
    return f"  {record.cell.at} {found.value:.2%} ± {(high - low) / 2:.2%} ({found.episodes} {found.sample}s)"


def record_failure(ws: Workspace, standing: Standing, store: RecordStore, error: Exception) -> None:
    """The reason, at every shot that has no finished record."""
    _record_unfinished(ws, standing, store, "diverged" if isinstance(error, Diverged) else "failed", str(error))


def _record_unfinished(ws: Workspace, standing: Standing, store: RecordStore, status: Status, reason: str = "") -> None:
    row = standing.row
    for shot in (shot for shot, status in standing.status.items() if status != "done"):
        write_unfinished(ws, row, record_identity(ws, row, shot), describe(ws, row, shot), store, status, reason)


def write_unfinished(
    place: Place, row: Row, identity: dict[str, Any], cell: Cell, store: RecordStore, status: Status, reason: str
) -> None:
    """A record of a cell that has no result."""
    store.write(
        Record(
            key=key_of(identity),
            identity=identity,
            status=status,
            reason=reason,
            cell=cell,
            provenance=provenance(place, row.name),
        )
    )
