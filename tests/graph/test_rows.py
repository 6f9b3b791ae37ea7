"""The rows of a run: what is trained and scored again, what is told of failures, and the records that come of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.graph.execute import InThisProcess, run, status, unfinished
from fewdistill.benchmark.graph.protocol import Row
from fewdistill.benchmark.graph.record_index import row_stage
from fewdistill.benchmark.runtime.errors import DataError, Diverged, RunError, UserError
from fewdistill.benchmark.stage import Stage
from fewdistill.feature_cache import run_lock
from fewdistill.results.records.record import Cell, Record
from fewdistill.results.records.store import RecordStore
from tests.graph.stages import a_stage
from tests.results import made


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
