"""Run what is missing of a suite: one loop for every protocol and every executor."""

import fnmatch
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.graph.protocol import OpenedSuite, Row
from fewdistill.benchmark.graph.record_index import RowStatus, mark, relabel, row_stage, status_of
from fewdistill.benchmark.graph.watch import track_row
from fewdistill.benchmark.runtime.errors import Diverged, RunError, UserError
from fewdistill.benchmark.runtime.process_group import LostError
from fewdistill.benchmark.runtime.progress import say
from fewdistill.benchmark.stage import Stage, needed
from fewdistill.feature_cache import InUseError, run_lock
from fewdistill.results.records.store import RecordStore


@dataclass(frozen=True)
class Outcome:
    """What came of running a stage; held: another process works at it. reason: of a failure, one line."""

    state: Literal["done", "failed", "diverged", "held"]
    reason: str = ""


Submit = Callable[[Stage, bool], "Future[Outcome]"]
"""(stage, whether to wait for another process that works at it) -> what comes of it."""


class Executor(Protocol):
    """Runs stages: in this process, in worker processes, on a cluster."""

    def drive(self, stages: Sequence[Stage], started: Callable[[Stage], None], ended: "Ended") -> None:
        """Run all stages, the inputs of each before it; see ``drive``."""
        ...


Ended = Callable[[Stage, Outcome], None]


def status(opened: OpenedSuite, only: Sequence[str] = ()) -> list[RowStatus]:
    """Every row of the suite, or those whose name is, or matches, a pattern, and the status of its records."""
    rows = opened.rows()
    chosen = [row for row in rows if not only or any(row.name == p or fnmatch.fnmatch(row.name, p) for p in only)]
    if only and not chosen:
        raise UserError(f"no row matches {' or '.join(only)}; rows are called {', '.join(row.name for row in rows)}")
    store = RecordStore(opened.context.runs / "records")
    return [status_of(row, store) for row in chosen]


def run(
    opened: OpenedSuite,
    executor: "Callable[[list[Row]], Executor]",
    only: Sequence[str] = (),
    overwrite: bool = False,
) -> list[RowStatus]:
    """Run what is missing, each row recorded as soon as it is scored; returns the status at the end.

    executor: made for the rows that are run. Finished rows are skipped and failed ones tried again. A row that fails is
    recorded with its reason and the others go on. Runs of one folder work side by side: each takes the stages at which
    no other works.
    """
    context = opened.context
    every = status(opened)
    owners = {found.row.keys: found.row for found in reversed(every)}  # rows of several variants can be one row
    relabel(context, owners.values())
    asked = dict.fromkeys(found.row.keys for found in status(opened, only) if overwrite or not found.done)
    pending = [owners[keys] for keys in asked]
    failed: set[tuple[str, ...]] = set()
    if pending:  # a finished suite asks for no data and no weights again
        opened.check(pending)
        failed = _run_rows(context, pending, executor(pending), overwrite)
    for keys in dict.fromkeys(found.row.keys for found in status(opened, only) if found.done):
        if (afterwards := owners[keys].afterwards) is not None:
            afterwards()
    return [
        replace(found, status=dict.fromkeys(found.status, "failed")) if found.row.keys in failed else found
        for found in status(opened, only)  # an old record outlives a second scoring that failed
    ]


def _run_rows(context: RunContext, pending: Sequence[Row], executor: Executor, overwrite: bool) -> set[tuple[str, ...]]:
    store = RecordStore(context.runs / "records")
    rows = {row_stage(context, row, overwrite).key: row for row in pending}
    order = {row.keys: number for number, row in enumerate(pending, start=1)}
    failed: set[tuple[str, ...]] = set()
    reasons: set[str] = set()

    def started(stage: Stage) -> None:
        for row in pending:
            if stage.key == row.trained.key:
                mark(context, row, store, "started")
        if (own := rows.get(stage.key)) is not None:
            mark(context, own, store, "started")
            say(f"[{order[own.keys]}/{len(pending)}] {own.name}")

    def ended(stage: Stage, outcome: Outcome) -> None:
        row = rows.get(stage.key)
        if row is None:
            if outcome.state != "done" and outcome.reason not in reasons:  # what needs it fails for the same reason
                reasons.add(outcome.reason)
                say(f"  {stage.title}: {outcome.reason}")
            return
        if outcome.state == "done":
            for line in status_of(row, store).lines(store):
                say(line)
            return
        failed.add(row.keys)
        mark(context, row, store, "diverged" if outcome.state == "diverged" else "failed", outcome.reason)
        track_row(context, row, [], outcome.reason)
        say(f"  {row.name}: {outcome.reason}")

    executor.drive(needed(row_stage(context, row, overwrite) for row in pending), started, ended)
    return failed


def drive(stages: Sequence[Stage], submit: Submit, slots: int, started: Callable[[Stage], None], ended: Ended) -> None:
    """Run stages, inputs first, at most ``slots`` at a time; whatever needs a failed stage fails with it.

    started and ended are called in this process, ended once a stage. A stage at which another process works is put
    off, and waited for when nothing else is left.
    """
    todo = {stage.key: stage for stage in stages}
    blocked = {key: {parent.key for parent in stage.needs} & todo.keys() for key, stage in todo.items()}
    running: dict[Future[Outcome], Stage] = {}
    held: deque[Stage] = deque()

    def start(stage: Stage, patient: bool) -> None:
        started(stage)
        running[submit(stage, patient)] = stage

    def fail(stage: Stage, outcome: Outcome) -> None:
        ended(stage, outcome)
        for key in [key for key, needs in blocked.items() if stage.key in needs and key in todo]:
            if key in todo:
                fail(todo.pop(key), outcome)

    while todo or running or held:
        for stage in [stage for key, stage in todo.items() if not blocked[key]]:
            if len(running) >= slots:
                break
            del todo[stage.key]
            start(stage, False)
        if not running:
            start(held.popleft(), True)
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            stage, outcome = running.pop(future), future.result()
            if outcome.state == "held":
                held.append(stage)
            elif outcome.state == "done":
                ended(stage, outcome)
                for needs in blocked.values():
                    needs.discard(stage.key)
            else:
                fail(stage, outcome)


def run_stage(context: RunContext, stage: Stage, patient: bool) -> Outcome:
    """Run one stage in this process, unless it is finished by now; whatever fails is told, not raised.

    patient: wait for another process that works at it. LostError alone is raised: then the whole run is lost.
    """
    waiting = (lambda owner: say(f"[waiting for {stage.title}: {owner}]")) if patient else None
    try:
        with run_lock(stage.folder, waiting):
            if not stage.done:
                assert stage.run is not None
                stage.run(stage)
        return Outcome("done")
    except InUseError:
        return Outcome("held")
    except LostError:
        raise
    except Diverged as error:
        return Outcome("diverged", str(error))
    except Exception as error:  # a user's plug-in or a device may raise anything: the row fails, the others go on
        return Outcome("failed", _reason(context, stage, error))


def _reason(context: RunContext, stage: Stage, error: Exception) -> str:
    """One line; of an error that is not the project's own, its traceback goes to a file that the line names."""
    message = " ".join(str(error).split()) or type(error).__name__
    if type(error).__module__.startswith("fewdistill."):
        return str(error)
    path = context.runs / "errors" / f"{stage.folder.name}.txt"
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)))
    return f"{type(error).__name__}: {message} (traceback: {path})"


class InThisProcess:
    """The executor that runs one stage after the other here."""

    def __init__(self, context: RunContext) -> None:
        self.context = context

    def drive(self, stages: Sequence[Stage], started: Callable[[Stage], None], ended: Ended) -> None:
        """See ``drive``."""

        def submit(stage: Stage, patient: bool) -> "Future[Outcome]":
            future: Future[Outcome] = Future()
            future.set_result(self.run_one(stage, patient))
            return future

        drive(stages, submit, 1, started, ended)

    def run_one(self, stage: Stage, patient: bool) -> Outcome:
        """Run a stage; torchrun's executor has the other processes take part."""
        return run_stage(self.context, stage, patient)


def unfinished(found: Sequence[RowStatus]) -> None:
    """RunError naming the rows that did not finish, if any."""
    names = [each.row.name for each in found if not each.done]
    if names:
        raise RunError(f"{len(names)} rows did not finish: {', '.join(names)}; run again to retry")
