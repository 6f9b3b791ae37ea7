"""The records of rows in a run folder: their status, their labels, and the stage that writes them."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.evaluation.provenance import provenance
from fewdistill.benchmark.graph.protocol import Row
from fewdistill.benchmark.graph.watch import track_row
from fewdistill.benchmark.stage import Stage
from fewdistill.feature_cache import InUseError, run_lock
from fewdistill.results import ResultError
from fewdistill.results.records.record import Record, Status
from fewdistill.results.records.store import RecordStore


@dataclass(frozen=True)
class RowStatus:
    """A row, and by record key its status: done, failed, diverged, started (now or once) or missing."""

    row: Row
    status: dict[str, str]

    @property
    def done(self) -> bool:
        """Whether every cell has its record."""
        return all(status == "done" for status in self.status.values())

    @property
    def by_cell(self) -> dict[str, str]:
        """The status by what tells the cells of a row apart: "5-shot", "supervised"."""
        return {cell.at: self.status[record.key] for cell, record in self.row.cells}

    def lines(self, store: RecordStore) -> list[str]:
        """A line on the outcome of each finished record."""
        return [_outcome(store.read(key)) for key, status in self.status.items() if status == "done"]


def status_of(row: Row, store: RecordStore) -> RowStatus:
    """The present status of a row's records; a done record without its sound arrays is as good as missing."""

    def of(key: str) -> str:
        if key not in store:
            return "missing"
        status = store.read(key).status
        if status == "done":
            try:
                store.arrays(key)
            except ResultError:
                return "missing"
        return status

    return RowStatus(row, {key: of(key) for key in row.keys})


def row_stage(context: RunContext, row: Row, overwrite: bool = False) -> Stage:
    """The stage that scores a row and writes its records; overwrite: even where they are finished."""
    store = RecordStore(context.runs / "records")

    def write(stage: Stage) -> None:
        written = []
        for record, arrays in row.score():
            store.write(record, arrays)
            written.append(record)
        track_row(context, row, written)

    return Stage(
        "row",
        1,
        {"records": list(row.keys)},
        context.runs,
        row.name,
        write,
        row.needs,
        present=lambda: not overwrite and status_of(row, store).done,
        at=_lock_folder(context, row),
    )


def mark(context: RunContext, row: Row, store: RecordStore, status: Status, reason: str = "") -> None:
    """Write records without a result for the row's unfinished cells, unless another process works at them."""
    with suppress(InUseError), _lock(context, row):
        standing = status_of(row, store).status
        for cell, record in row.cells:
            if standing[record.key] != "done":
                store.write(
                    Record(
                        key=record.key,
                        identity=record.identity,
                        status=status,
                        reason=reason,
                        cell=cell,
                        provenance=provenance(context, row.name),
                    )
                )


def relabel(context: RunContext, rows: Iterable[Row]) -> None:
    """Give finished records the axes of the rows that own them now: suites and variants may have been renamed."""
    store = RecordStore(context.runs / "records")
    for row in rows:
        standing = status_of(row, store).status
        for cell, stage in row.cells:
            if standing[stage.key] == "done" and (record := store.read(stage.key)).cell != cell:
                with suppress(InUseError), _lock(context, row):
                    store.write(record.model_copy(update={"cell": cell}), store.arrays(record.key))


def _lock_folder(context: RunContext, row: Row) -> Path:
    return context.runs / "locks" / f"{row.name.replace('/', '-')}-{row.keys[0][:12]}"


def _lock(context: RunContext, row: Row) -> AbstractContextManager[None]:
    """Held by the process that writes the row's records; InUseError where another one does."""
    return run_lock(_lock_folder(context, row))


def _outcome(record: Record) -> str:
    found = record.metrics
    assert found is not None
    main, (low, high) = found.main, found.interval
    value, half = main.scale * found.value, main.scale * (high - low) / 2
    return f"  {record.cell.at} {main.name} {value:.2f} ± {half:.2f} {main.unit} ({found.episodes} {found.sample}s)"
