"""What a protocol says of a suite's rows, and the run that goes through them: each recorded as soon as it is scored."""

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch

from fewdistill.benchmark.data.skeletons.dataset import SkeletonPlace
from fewdistill.benchmark.evaluation.episodic_record import Row
from fewdistill.benchmark.graph.row_run import row_lock, told, write_unfinished
from fewdistill.benchmark.graph.status import Standing, standing_of
from fewdistill.benchmark.graph.tracked_row import tell
from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.progress import say
from fewdistill.benchmark.training.loop import Diverged
from fewdistill.feature_cache import CacheError, InUseError
from fewdistill.results.records.record import Cell, Record, Status, key_of
from fewdistill.results.records.store import RecordStore


class HasRow(Protocol):
    """What becomes a row's records."""

    @property
    def row(self) -> Row: ...


P = TypeVar("P", bound=SkeletonPlace)
F = TypeVar("F", bound=HasRow)


@dataclass(frozen=True)
class Rules(Generic[P, F]):
    """A protocol, as a run needs it. The place given is always that of the row's variant, but for ``rows``.

    rows: all of a suite; shots: of each row's records; trained: identity of what is scored; identity and cell: of the
    record at a shot, known before anything is trained; work: trains what is missing and gives a row's records.
    """

    rows: Callable[[P], Iterable[F]]
    shots: Callable[[P], tuple[int, ...]]
    trained: Callable[[P, F], dict[str, Any]]
    identity: Callable[[P, F, int], dict[str, Any]]
    cell: Callable[[P, F, int], Cell]
    work: Callable[[P, F], Iterator[tuple[Record, Mapping[str, Any]]]]


def status(place: P, rules: Rules[P, F], only: Sequence[str] = ()) -> list[tuple[F, Standing]]:
    """Every row of the suite (or those whose name is, or matches, a pattern) and what stands of it; UserError."""
    every = list(rules.rows(place))
    chosen = [s for s in every if not only or any(fnmatch.fnmatch(s.row.name, p) or s.row.name == p for p in only)]
    if not chosen:
        names = ", ".join(found.row.name for found in every)
        raise UserError(f"no row matches {' or '.join(only)}; rows are called {names}")
    found = []
    for one in chosen:
        at = place.varied(one.row.variant)
        keys = {shot: key_of(rules.identity(at, one, shot)) for shot in rules.shots(place)}
        found.append((one, standing_of(place, one.row, keys)))
    return found


def run(place: P, rules: Rules[P, F], only: Sequence[str] = (), overwrite: bool = False) -> list[tuple[F, Standing]]:
    """Run what is missing; returns the standing at the end.

    Done rows are skipped and failed ones tried again. A row that fails is recorded with its reason and the others go
    on. Runs of one folder live side by side, see runner.run.
    """
    owners = owners_of(place, rules)
    _relabel(place, rules, owners)
    asked = dict.fromkeys(standing.records for _, standing in status(place, rules, only))
    pending = [owners[records] for records in asked if overwrite or not owners[records][1].done]
    failed: set[tuple[str, ...]] = set()
    left = list(enumerate(pending, start=1))
    for wait in (False, True):
        held = []
        for number, (found, standing) in left:
            try:
                where = f"[{number}/{len(pending)}] "
                if run_row(place, rules, found, standing, overwrite=overwrite, wait=wait, where=where):
                    failed.add(standing.records)
            except InUseError:
                held.append((number, (found, standing)))
        left = held
    # a finished record outlives the failure of its second scoring, but this run did not finish its row
    return [
        (found, replace(s, status=dict.fromkeys(s.status, "failed")) if s.records in failed else s)
        for found, s in status(place, rules, only)
    ]


def owners_of(place: P, rules: Rules[P, F]) -> dict[tuple[str, ...], tuple[F, Standing]]:
    """The row that records are labelled by: the first of those, in any variant, that are the same thing."""
    return {standing.records: (found, standing) for found, standing in reversed(status(place, rules))}


def run_row(
    place: P, rules: Rules[P, F], found: F, standing: Standing, *, overwrite: bool, wait: bool, where: str = ""
) -> str:
    """Train, score and record one row, unless another process did meanwhile; the reason of a failure, else "".

    wait: for another process that works at the row; else it is an InUseError. where: its place among others.
    """
    row, at, store = found.row, place.varied(found.row.variant), RecordStore(place.runs / "records")
    with row_lock(place, standing, (lambda owner: say(f"[waiting for {row.name}: {owner}]")) if wait else None):
        standing = standing_of(place, row, standing.keys)
        if standing.done and not overwrite:
            return ""
        say(f"{where}{row.name}")
        _unfinished(at, rules, found, standing, store, "started")
        written: list[Record] = []
        reason = ""
        try:
            for record, arrays in rules.work(at, found):
                store.write(record, arrays)
                say(told(record))
                written.append(record)
        except (RunError, CacheError, torch.OutOfMemoryError) as error:
            reason = str(error)
            _unfinished(
                at, rules, found, standing, store, "diverged" if isinstance(error, Diverged) else "failed", reason
            )
            say(f"  {row.name}: {reason}")
        if place.trackers.names:
            cell = rules.cell(at, found, next(iter(standing.keys)))
            tell(at, row, rules.trained(at, found), cell, written, reason)
    return reason


def _unfinished(
    at: P, rules: Rules[P, F], found: F, standing: Standing, store: RecordStore, status: Status, reason: str = ""
) -> None:
    """A record of no result at every shot that has no finished one."""
    for shot, stands in standing.status.items():
        if stands != "done":
            write_unfinished(
                at, found.row, rules.identity(at, found, shot), rules.cell(at, found, shot), store, status, reason
            )


def _relabel(place: P, rules: Rules[P, F], owners: dict[tuple[str, ...], tuple[F, Standing]]) -> None:
    """Give finished records the label of the row that owns them now: variants may have been renamed since."""
    store = RecordStore(place.runs / "records")
    for found, standing in owners.values():
        at = place.varied(found.row.variant)
        for shot in (shot for shot, stands in standing.status.items() if stands == "done"):
            record, cell = store.read(standing.keys[shot]), rules.cell(at, found, shot)
            if record.cell != cell:
                with suppress(InUseError), row_lock(place, standing):  # who holds it is writing the record
                    store.write(record.model_copy(update={"cell": cell}), store.arrays(record.key))
