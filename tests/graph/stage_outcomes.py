"""A number or two of the output of every kind of stage, from tiny suites.

``python -m tests.graph.stage_outcomes`` writes them to stage_outcomes.json, for who has raised the version of a kind
whose numbers were meant to change.
"""

import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fewdistill.benchmark.api import load_suite, open_loaded
from fewdistill.benchmark.graph.protocol import OpenedSuite, RunOptions
from fewdistill.benchmark.graph.record_index import row_stage
from fewdistill.benchmark.stage import Stage, with_needs
from fewdistill.feature_cache import Store
from fewdistill.results.records.metrics import Accuracy
from fewdistill.results.records.store import RecordStore
from tests.command import MOBILE
from tests.skeleton_suites import arena_of, bench_of, run_here

GOLDEN = Path(__file__).with_name("stage_outcomes.json")
STEPS = 3  # of a curve: later ones amplify the rounding that processors differ in
SMALL = ("teacher.base.epochs=1", "base.epochs=1", "episodic.episodes=4", "episodic.adapt_episodes=0")
SMALL += ("evaluate.episodes=50", 'teacher.modalities=["rgb", "skeleton"]')


def outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    """By kind: its version, and numbers of its first stage, by name."""
    (folder / "tiny.toml").write_text(MOBILE)
    options = RunOptions(folder / "runs", folder / "data", "cpu")
    opened = [
        open_loaded(load_suite(str(folder / "tiny.toml"), SMALL), options),
        bench_of(folder / "supervised"),
        arena_of(folder / "few"),
    ]
    found: dict[str, dict[str, Any]] = {}
    for suite in opened:
        assert all(row.done for row in run_here(suite))
        for stage in _stages(suite):
            if numbers := _numbers(suite, stage):
                found.setdefault(stage.kind, {"version": stage.version, **numbers})
        cell, record = suite.rows()[-1].cells[-1]
        metrics = RecordStore(suite.context.runs / "records").read(record.key).metrics
        assert isinstance(metrics, Accuracy) and metrics.nll is not None
        found[f"cell {cell.protocol} {cell.head}"] = {"version": record.version, "log nll": math.log1p(metrics.nll)}
    return found


def _stages(suite: OpenedSuite) -> Iterator[Stage]:
    every = with_needs(row_stage(suite.context, row) for row in suite.rows())
    return (stage for stage in sorted(every.values(), key=lambda stage: stage.title) if stage.kind != "row")


def _numbers(suite: OpenedSuite, stage: Stage) -> dict[str, Any]:
    if stage.kind in ("tokens", "fused", "clips"):
        store = Store(suite.context.cache.root)
        digests = [stage.settings["entry"]] if "entry" in stage.settings else stage.settings["entries"]
        entry = next(entry for entry in store.entries() if entry.folder.name == digests[0])
        rows = entry.gather(entry.ids()[:8]).astype(np.float64)
        return {"mean": float(np.abs(rows).mean()), "largest": float(np.abs(rows).max())}
    curve = [point["loss"] for point in stage.summary()["curve"] if "loss" in point]
    return {"loss": curve[:STEPS]} if curve else {}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        GOLDEN.write_text(json.dumps(outcomes(Path(name)), indent=1, sort_keys=True) + "\n")
