"""Finished and failed rows for trackers: their axes, test results and costs."""

from collections.abc import Sequence

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.graph.protocol import Row
from fewdistill.benchmark.tracking import Run
from fewdistill.benchmark.tracking.base import Value
from fewdistill.results.records.record import Record, key_of


def track_row(context: RunContext, row: Row, records: Sequence[Record], reason: str = "") -> None:
    """Give the trackers a row's records. reason: why it failed, "" if it did not."""
    if not context.trackers.names:
        return
    axes = row.cells[0][0].model_dump(mode="json", exclude={"shot"})
    key = key_of({"trained": row.trained.key, "axes": axes})
    run = Run(
        key=key,
        name=f"row-{row.name.replace('/', '-')}-{key[:12]}",
        suite=context.runs.name,
        kind="row",
        config={**axes, "trained": row.trained.identity},
        folder=context.runs / "tracking",
    )
    with context.trackers.follow(run) as followed:
        for record in records:
            followed.summary |= record_values(record)
        if reason:
            followed.status = "failed"
            followed.summary["reason"] = reason


def record_values(record: Record) -> dict[str, Value]:
    """A record's test results and costs, by shot: accuracies and interval ends in 0..1, units as in Cost."""
    found: dict[str, Value] = {}
    for kind, part in {"test": record.metrics, "cost": record.cost}.items():
        values = part.model_dump(exclude={"per_class"}) if part is not None else {}
        for name, value in values.items():
            if value is not None:
                found[f"{kind}/{record.cell.at}/{name}"] = value
    return found | {f"record/{record.cell.at}": record.key}
