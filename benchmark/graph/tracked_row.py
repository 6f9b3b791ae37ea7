"""What trackers are told of a row: its axes, and the test results and costs at every shot."""

from collections.abc import Sequence
from typing import Any

from fewdistill.benchmark.evaluation.episodic_record import TEACHER, Row, describe
from fewdistill.benchmark.graph.place import Place
from fewdistill.benchmark.protocols.episodic.student import student_stage
from fewdistill.benchmark.protocols.episodic.teacher import fusion_stage
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.benchmark.tracking import Run
from fewdistill.benchmark.tracking.base import Value
from fewdistill.results.records.record import Cell, Record, key_of


def track_row(ws: Workspace, row: Row, records: Sequence[Record], reason: str = "") -> None:
    """Tell the trackers what came of a row. reason: why it failed, "" if it did not."""
    if not ws.trackers.names:
        return
    if row.model == TEACHER:
        trained = fusion_stage(ws, row.seed)
    else:
        trained = student_stage(ws, row.model, row.distillation, row.seed)
    tell(ws, row, trained.identity, describe(ws, row, ws.suite.evaluate.shots[0]), records, reason)


def tell(
    place: Place, row: Row, trained: dict[str, Any], cell: Cell, records: Sequence[Record], reason: str = ""
) -> None:
    """The same for a row of any protocol. trained: the identity of what is scored; cell: of one of its records."""
    axes = cell.model_dump(mode="json", exclude={"shot"})
    key = key_of({"trained": key_of(trained), "axes": axes})
    run = Run(
        key=key,
        name=f"row-{row.name.replace('/', '-')}-{key[:12]}",
        suite=place.suite.name,
        kind="row",
        config={**axes, "trained": trained},
        folder=place.runs / "tracking",
    )
    with place.trackers.follow(run) as followed:
        for record in records:
            followed.summary |= told(record)
        if reason:
            followed.status = "failed"
            followed.summary["reason"] = reason


def told(record: Record) -> dict[str, Value]:
    """A record's test results and costs, by shot: accuracies and interval ends in 0..1, units as in Cost."""
    found: dict[str, Value] = {}
    for kind, part in {"test": record.metrics, "cost": record.cost}.items():
        values = part.model_dump(exclude={"per_class"}) if part is not None else {}
        for name, value in values.items():
            if value is not None:
                found[f"{kind}/{record.cell.at}/{name}"] = value
    return found | {f"record/{record.cell.at}": record.key}
