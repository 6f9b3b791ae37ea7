"""The cost of a row: medians over its seeds."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from fewdistill.results.records.record import Cost


@dataclass(frozen=True)
class RowCost:
    """Cost of a row: medians over its seeds; None where no seed measured it. MACs in units of 1e9 (G), MB of 1e6."""

    parameters_m: float | None
    size_mb: float | None
    gmacs_per_video: float | None
    gmacs_per_episode: float | None
    thop_gmacs_per_episode: float | None
    latency_ms: float | None
    latency_threads: int | None
    training_seconds: float | None
    counter: str


def median_cost(costs: list[Cost]) -> RowCost:
    """The medians of what the seeds of a row measured."""

    def middle(pick: Callable[[Cost], float | None], scale: float = 1.0) -> float | None:
        known = [value for cost in costs if (value := pick(cost)) is not None]
        return median(known) / scale if known else None

    threads = middle(lambda cost: cost.latency_threads)
    return RowCost(
        parameters_m=middle(lambda cost: cost.parameters, 1e6),
        size_mb=middle(lambda cost: cost.bytes, 1e6),
        gmacs_per_video=middle(lambda cost: cost.macs_per_video, 1e9),
        gmacs_per_episode=middle(lambda cost: cost.macs_per_episode, 1e9),
        thop_gmacs_per_episode=middle(lambda cost: cost.thop_gmacs_per_episode),
        latency_ms=middle(lambda cost: cost.latency_ms_p50),
        latency_threads=None if threads is None else int(threads),
        training_seconds=middle(lambda cost: cost.training_seconds),
        counter=", ".join(sorted({cost.counter for cost in costs if cost.counter})),
    )
