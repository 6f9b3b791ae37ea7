"""The loop of all protocols: order, failures, and stages that others hold."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.graph.execute import Outcome, drive, run_stage
from fewdistill.benchmark.runtime.errors import DataError, Diverged
from fewdistill.benchmark.runtime.process_group import LostError
from fewdistill.benchmark.stage import Stage, in_parts, needed
from fewdistill.feature_cache import run_lock
from tests.graph.stages import a_stage


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
