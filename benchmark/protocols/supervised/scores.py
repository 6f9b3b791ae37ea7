"""Logits of the test clips kept in npz files: of every row that is scored with --save-scores.

A sum takes those of its members from here where they are, so that what was trained elsewhere needs no weights.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.protocols.supervised.network import SupervisedRun
from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.stage import Stage
from fewdistill.feature_cache import write_atomic
from fewdistill.results import ResultError
from fewdistill.results.records.arrays import Arrays, load, npz

FOLDER = "scores"  # in a run folder


def scores_path(run: SupervisedRun, name: str, record: Stage) -> Path:
    """The file of a row's logits."""
    return run.context.runs / FOLDER / f"{name.replace('/', '-')}-{record.key[:12]}.npz"


def keep_scores(run: SupervisedRun, name: str, record: Stage, summed: NDArray[np.float64]) -> None:
    """Write an npz: logits float32 (clips, classes), labels int64 (clips,), clips and classes, their names."""
    path = scores_path(run, name, record)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, [npz({"logits": summed.astype(np.float32), **_asked(run)})])


def has_scores(run: SupervisedRun, record: Stage) -> bool:
    """Whether the logits of a row were kept, under any name."""
    return any((run.context.runs / FOLDER).glob(f"*-{record.key[:12]}.npz"))


def kept_scores(run: SupervisedRun, record: Stage) -> NDArray[np.float32] | None:
    """The logits kept of a row, float32 (clips, classes), under any name; None where there are none.

    RunError names a file that is damaged or of other clips.
    """
    path = next(iter(sorted((run.context.runs / FOLDER).glob(f"*-{record.key[:12]}.npz"))), None)
    if path is None:
        return None
    try:
        kept = load(path, "not there")
    except ResultError as error:
        raise RunError(str(error)) from error
    asked = _asked(run)
    if not all(np.array_equal(kept.get(name, np.empty(0)), array) for name, array in asked.items()):
        raise RunError(f"{path}: of other clips or classes than the test part of the suite; delete it and run again")
    logits = kept.get("logits", np.empty(0))
    if logits.dtype != np.float32 or logits.shape != (len(asked["clips"]), len(asked["classes"])):
        raise RunError(f"{path}: logits are {logits.dtype} {logits.shape}, wanted float32 (clips, classes); delete it")
    if not np.isfinite(logits).all():
        raise RunError(f"{path}: holds logits that are no numbers; delete it and run again")
    return logits.astype(np.float32)


def _asked(run: SupervisedRun) -> Arrays:
    return {
        "labels": run.data.labels("test"),
        "clips": np.array(run.data.videos("test")),
        "classes": np.array(run.clips.classes),
    }
