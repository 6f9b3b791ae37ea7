"""The loop of all protocols: order, failures, stages that others hold, and the records of rows."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.graph.execute import InThisProcess, Outcome, drive, run, run_stage, status, unfinished
from fewdistill.benchmark.graph.protocol import Row
from fewdistill.benchmark.graph.record_index import row_stage
from fewdistill.benchmark.runtime.errors import DataError, Diverged, RunError, UserError
from fewdistill.benchmark.runtime.process_group import LostError
from fewdistill.benchmark.stage import Stage, in_parts, needed
from fewdistill.feature_cache import Store, run_lock
from fewdistill.results.records.record import Cell, Record
from fewdistill.results.records.store import RecordStore
from tests.results import made


def a_stage(runs: Path, name: str, *needs: Stage, run: Callable[[Stage], None] | None = None, **more: Any) -> Stage:
    """A stage that writes nothing but its done.json."""
    return Stage("toy", 1, {"name": name}, runs, name, run or (lambda stage: stage.finish({}, {})), needs, **more)


def labels(stages: Sequence[Stage]) -> list[str]:
    return [stage.label for stage in stages]


def test_what_is_needed_comes_inputs_first_and_stops_at_what_is_finished(tmp_path: Path) -> None:
    clips = a_stage(tmp_path, "clips")
    one, two = (a_stage(tmp_path, name, clips) for name in ("one", "two"))
    both = a_stage(tmp_path, "both", one, two)
    assert labels(needed([both, two])) == ["clips", "one", "two", "both"]
    two.finish({}, {})
    one.finish({}, {})
    assert labels(needed([both])) == ["both"], "the inputs of a finished stage are not asked for"
    assert labels(needed([two])) == []


def test_a_stage_in_parts_comes_after_them(tmp_path: Path) -> None:
    parts: list[tuple[int, int]] = []
    before = a_stage(tmp_path, "before")
    whole = a_stage(tmp_path, "whole", before, part=lambda number, of: parts.append((number, of)))
    *each, last = in_parts(whole, 3)
    assert last.key == whole.key and last.needs == (before, *each)
    assert len({stage.key for stage in each}) == len({stage.folder for stage in each}) == 3
    for stage in each:
        assert stage.needs == (before,) and stage.run is not None
        stage.run(stage)
    assert parts == [(1, 3), (2, 3), (3, 3)]
    assert in_parts(whole, 1) == [whole] and in_parts(before, 3) == [before]


@dataclass
class Log:
    """What a drive told."""

    started: list[str] = field(default_factory=list)
    ended: dict[str, Outcome] = field(default_factory=dict)

    def start(self, stage: Stage) -> None:
        self.started.append(stage.label)

    def end(self, stage: Stage, outcome: Outcome) -> None:
        assert stage.label not in self.ended, "a stage ends once"
        self.ended[stage.label] = outcome


def at_once(outcome: Outcome) -> "Future[Outcome]":
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future


@given(
    st.lists(st.sets(st.integers(0, 7), max_size=3), min_size=1, max_size=8),
    st.sets(st.integers(0, 7), max_size=2),
    st.sets(st.integers(0, 7), max_size=2),
    st.integers(1, 3),
)
def test_inputs_come_first_and_what_needs_a_failed_stage_fails_with_it(
    graph: list[set[int]], broken: set[int], elsewhere: set[int], slots: int
) -> None:
    stages: list[Stage] = []
    for number, inputs in enumerate(graph):
        stages.append(a_stage(Path(), str(number), *(stages[i] for i in sorted(inputs) if i < number)))
    log, asked = Log(), list[tuple[str, bool]]()

    def submit(stage: Stage, patient: bool) -> "Future[Outcome]":
        asked.append((stage.label, patient))
        assert all(log.ended[needs.label] == Outcome("done") for needs in stage.needs)
        if int(stage.label) in elsewhere and not patient:
            return at_once(Outcome("held"))
        return at_once(Outcome("failed", stage.label) if int(stage.label) in broken else Outcome("done"))

    drive(stages, submit, slots, log.start, log.end)
    assert log.ended.keys() == {stage.label for stage in stages}
    for stage in stages:
        failed = [log.ended[needs.label].reason for needs in stage.needs if log.ended[needs.label].state == "failed"]
        if failed:
            assert log.ended[stage.label].reason in failed and stage.label not in log.started
        else:
            assert log.ended[stage.label].state == ("failed" if int(stage.label) in broken else "done")
            again = [(stage.label, False), (stage.label, True)][: 1 + (int(stage.label) in elsewhere)]
            assert [one for one in asked if one[0] == stage.label] == again


def test_stages_run_side_by_side_and_never_more_than_there_are_slots(tmp_path: Path) -> None:
    meet, lock, now, most = threading.Barrier(2, timeout=30), threading.Lock(), 0, 0

    def work() -> Outcome:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        meet.wait()  # passes only where two are running
        with lock:
            now -= 1
        return Outcome("done")

    log = Log()
    with ThreadPoolExecutor(4) as pool:
        stages = [a_stage(tmp_path, name) for name in "abcd"]
        drive(stages, lambda stage, patient: pool.submit(work), 2, log.start, log.end)
    assert most == 2 and log.started == list("abcd") and log.ended.keys() == set("abcd")


def test_what_another_process_works_at_is_put_off_and_waited_for_in_the_end(tmp_path: Path) -> None:
    held, other = a_stage(tmp_path, "held"), a_stage(tmp_path, "other")
    after = a_stage(tmp_path, "after", held)
    log, asked = Log(), list[tuple[str, bool]]()

    def submit(stage: Stage, patient: bool) -> "Future[Outcome]":
        asked.append((stage.label, patient))
        return at_once(Outcome("held" if stage is held and not patient else "done"))

    drive([held, after, other], submit, 1, log.start, log.end)
    assert asked == [("held", False), ("other", False), ("held", True), ("after", False)]


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return RunContext(tmp_path / "runs" / "lite", Store(tmp_path / "cache"), torch.device("cpu"))


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*given: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DataError("clip.avi: short"), Outcome("failed", "clip.avi: short")),
        (Diverged("the loss is nan"), Outcome("diverged", "the loss is nan")),
        (TypeError("no\nsuch argument"), Outcome("failed", "TypeError: no such argument (traceback: {path})")),
        (MemoryError(), Outcome("failed", "MemoryError: MemoryError (traceback: {path})")),
    ],
)
def test_whatever_a_stage_raises_is_told(context: RunContext, error: Exception, outcome: Outcome) -> None:
    stage = a_stage(context.runs, "x", run=raising(error))
    path = context.runs / "errors" / f"{stage.folder.name}.txt"
    assert run_stage(context, stage, False) == replace(outcome, reason=outcome.reason.format(path=path))
    assert path.exists() == ("{path}" in outcome.reason) and (not path.exists() or "raise error" in path.read_text())


def test_a_lost_group_and_an_interruption_end_the_run(context: RunContext) -> None:
    for error in (LostError("process 1 is gone"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            run_stage(context, a_stage(context.runs, "x", run=raising(error)), False)


def test_a_stage_is_made_once_and_not_while_another_process_makes_it(context: RunContext) -> None:
    made_by: list[str] = []

    def work(stage: Stage) -> None:
        made_by.append(stage.label)
        stage.finish({}, {})

    stage = a_stage(context.runs, "x", run=work)
    with run_lock(stage.folder):
        assert run_stage(context, stage, False) == Outcome("held")
    assert made_by == []
    assert [run_stage(context, stage, patient) for patient in (False, True)] == [Outcome("done")] * 2
    assert made_by == ["x"]


# --- rows ------------------------------------------------------------------------------------------------------------


class Settings(BaseModel):
    """Of a suite that has none."""


@dataclass
class Opened:
    """A suite whose rows train nothing and are scored as ``made.finished`` has it, unless an error is set.

    names: of models and, behind an @, of variants, which share the records of their model.
    """

    context: RunContext
    names: tuple[str, ...] = ("one", "two")
    training: dict[str, Exception] = field(default_factory=dict)
    scoring: dict[str, Exception] = field(default_factory=dict)
    suite: BaseModel = field(default_factory=Settings)
    checked: list[list[str]] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    seen: dict[str, list[str]] = field(default_factory=dict)

    def rows(self) -> list[Row]:
        return [self._row(name) for name in self.names]

    def check(self, pending: Sequence[Row]) -> None:
        self.checked.append([row.name for row in pending])

    def _row(self, name: str) -> Row:
        model, _, variant = name.partition("@")
        error = self.training.get(model)

        def train(stage: Stage) -> None:
            self.seen[name] = list(status(self, [name])[0].status.values())
            if error is not None:
                raise error
            stage.finish({}, {"seconds": 1.0})

        trained = a_stage(self.context.runs, model, run=train)
        shots = [made.student(model, shot=shot) for shot in (1, 5)]
        cells = tuple((cell.model_copy(update={"variant": variant}), self._record(cell)) for cell in shots)
        return Row(name, cells, trained, (trained,), lambda: self._score(name, variant, shots))

    def _record(self, cell: Cell) -> Stage:
        settings = cell.model_dump(exclude_defaults=True)
        return Stage("cell", 1, settings, self.context.runs, f"{cell.shot}-shot")

    def _score(self, name: str, variant: str, shots: list[Cell]) -> Iterator[tuple[Record, Any]]:
        self.scored.append(name)
        if (error := self.scoring.get(name)) is not None:
            raise error
        for cell in shots:
            record, arrays = made.finished(cell, 0.6, count=40, identity={"stage": "cell"})
            yield record.model_copy(update={"cell": cell.model_copy(update={"variant": variant})}), arrays


def run_here(opened: Opened, only: Sequence[str] = (), overwrite: bool = False) -> dict[str, list[str]]:
    """The status of each row's records after a run in this process."""
    found = run(opened, lambda pending: InThisProcess(opened.context), only, overwrite)
    return {each.row.name: list(each.status.values()) for each in found}


DONE = ["done", "done"]


def test_a_finished_suite_asks_for_nothing_again(context: RunContext) -> None:
    opened = Opened(context)
    assert [each.by_cell for each in status(opened)] == [{"1-shot": "missing", "5-shot": "missing"}] * 2
    assert run_here(opened, ["one"]) == {"one": DONE} and opened.checked == [["one"]]
    assert opened.seen == {"one": ["started", "started"]}, "from when the row's own training begins"
    assert run_here(opened) == {"one": DONE, "two": DONE} and opened.checked == [["one"], ["two"]]
    assert run_here(opened) == {"one": DONE, "two": DONE} and len(opened.checked) == 2
    assert opened.scored == ["one", "two"]
    run_here(opened, ["t*"], overwrite=True)
    assert opened.scored == ["one", "two", "two"] and opened.checked[2:] == [["two"]]
    with pytest.raises(UserError, match="no row matches three; rows are called one, two"):
        status(opened, ["three"])


@pytest.mark.parametrize("where", ["training", "scoring"])
@pytest.mark.parametrize(
    ("error", "state", "says"),
    [
        (DataError("clip.avi: short"), "failed", "clip.avi: short"),
        (TypeError("no such argument"), "failed", "TypeError: no such argument"),
        (Diverged("the loss is nan"), "diverged", "the loss is nan"),
    ],
)
def test_a_row_that_fails_is_named_and_the_others_go_on(
    context: RunContext, where: str, error: Exception, state: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = Opened(context)
    getattr(opened, where)["one"] = error
    assert run_here(opened) == {"one": ["failed", "failed"], "two": DONE}
    records = [RecordStore(context.runs / "records").read(key) for key in opened.rows()[0].keys]
    assert [record.status for record in records] == [state, state]
    assert all(record.reason.startswith(says) for record in records)
    assert says in " ".join(capsys.readouterr().err.split())
    with pytest.raises(RunError, match="1 rows did not finish: one; run again to retry"):
        unfinished(status(opened))
    getattr(opened, where).clear()
    assert run_here(opened) == {"one": DONE, "two": DONE}, "a failed row is tried again"
    unfinished(status(opened))


def test_an_old_record_outlives_a_second_scoring_that_fails(context: RunContext) -> None:
    opened = Opened(context, names=("one",))
    run_here(opened)
    opened.scoring["one"] = RunError("no room")
    assert run_here(opened, overwrite=True) == {"one": ["failed", "failed"]}
    assert [list(each.status.values()) for each in status(opened)] == [DONE]


def test_rows_of_equal_records_are_one_row_and_may_be_renamed(context: RunContext) -> None:
    opened = Opened(context, names=("one@late", "two"))
    assert run_here(opened, ["one*"]) == {"one@late": DONE}
    store = RecordStore(context.runs / "records")
    assert {record.cell.variant for record in store.all()} == {"late"}
    renamed = Opened(context, names=("one", "one@slow", "two", "two@slow"))
    assert run_here(renamed, ["*@slow"]) == {"one@slow": DONE, "two@slow": DONE}
    assert renamed.scored == ["two"], "the first of equal rows stands for them"
    assert {record.cell.variant for record in store.all()} == {""}, "labels are those of the rows that own the records"


def test_the_records_of_a_row_that_another_process_scores_are_left_alone(context: RunContext) -> None:
    opened = Opened(context, names=("one",), training={"one": RunError("no room")})
    (row,) = opened.rows()
    with run_lock(row_stage(context, row).folder):
        assert run_here(opened) == {"one": ["failed", "failed"]}
        assert not (context.runs / "records").exists()


def test_damaged_arrays_are_as_good_as_missing(context: RunContext) -> None:
    opened = Opened(context, names=("one",))
    run_here(opened)
    key = opened.rows()[0].keys[1]
    path = context.runs / "records" / f"{key}.npz"
    path.write_bytes(path.read_bytes()[:-50])
    assert [each.by_cell for each in status(opened)] == [{"1-shot": "done", "5-shot": "missing"}]
    assert run_here(opened) == {"one": DONE}
