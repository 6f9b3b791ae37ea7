"""What trackers are told of a row of skeleton networks: its axes, its test results and costs."""

from benchmark.skeletons.bench import Bench
from benchmark.skeletons.rows import Sum, cell_of, trained_identity
from benchmark.tracked_row import told
from benchmark.tracking import Run
from results.record import Record, key_of


def track_row(bench: Bench, found: Sum, record: Record | None, reason: str = "") -> None:
    """Tell the trackers what came of a row. reason: why it failed, "" if it did not."""
    if not bench.trackers.names:
        return
    trained = trained_identity(bench, found)
    axes = cell_of(bench, found).model_dump(mode="json", exclude={"shot"})
    key = key_of({"trained": key_of(trained), "axes": axes})
    run = Run(
        key=key,
        name=f"row-{found.row.name.replace('/', '-')}-{key[:12]}",
        suite=bench.suite.name,
        kind="row",
        config={**axes, "trained": trained},
        folder=bench.runs / "tracking",
    )
    with bench.trackers.follow(run) as followed:
        if record is not None:
            followed.summary |= told(record)
        if reason:
            followed.status = "failed"
            followed.summary["reason"] = reason
