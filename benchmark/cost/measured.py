"""The cost of a network, measured once a run folder and machine."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.runtime.machine import processor
from fewdistill.feature_cache import write_atomic
from fewdistill.results.records.record import Cost, key_of


def cost_of(
    context: RunContext,
    name: str,
    settings: dict[str, Any],
    measure: Callable[[], Mapping[str, Any]],
    timed_note: str = "encoder on one video, float32, CPU",
) -> Cost:
    """Measured once a run folder, model, settings and processor: every seed's record has the same figures."""
    path = context.runs / "cost" / f"{name}-{key_of(settings | {'processor': processor()})[:12]}.json"
    with context.once(path.parent, f"the cost of {name}", lambda: not path.exists()) as mine:
        if mine:
            write_atomic(path, [json.dumps(measure()).encode()])
    found = json.loads(path.read_text())
    timed = "p50_ms" in found
    return Cost(
        parameters=found["parameters"],
        bytes=found["bytes"],
        macs_per_video=found["macs_per_video"],
        macs_per_episode=found["macs_per_episode"],
        counter=found["counter"],
        thop_gmacs_per_episode=found["thop_macs_per_episode"] / 1e9,
        thop_note=found["thop_note"],
        latency_ms_p50=found["p50_ms"] if timed else None,
        latency_threads=found["threads"] if timed else None,
        latency_load=found["load"] if timed else None,
        latency_note=timed_note if timed else None,
    )
