"""Logits of the test clips kept in npz files: of every row that is scored with --save-scores.

A sum takes those of its members from here where they are, so that what was trained elsewhere needs no weights.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.protocols.supervised.bench import Bench
from fewdistill.benchmark.protocols.supervised.rows import Sum, record_identity
from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.feature_cache import write_atomic
from fewdistill.results import ResultError
from fewdistill.results.records.arrays import Arrays, load, npz
from fewdistill.results.records.record import key_of

FOLDER = "scores"  # in a run folder


def scores_path(bench: Bench, found: Sum) -> Path:
    """The file of a row's logits."""
    return bench.runs / FOLDER / f"{found.row.name.replace('/', '-')}-{key_of(record_identity(bench, found))[:12]}.npz"


def keep_scores(bench: Bench, found: Sum, summed: NDArray[np.float64]) -> None:
    """Write an npz: logits float32 (clips, classes), labels int64 (clips,), clips and classes, their names."""
    path = scores_path(bench, found)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, [npz({"logits": summed.astype(np.float32), **_asked(bench)})])


def kept_scores(bench: Bench, found: Sum) -> NDArray[np.float32] | None:
    """The logits kept of a row, float32 (clips, classes), whatever it was called then; None where there are none.

    RunError names a file that is damaged or of other clips.
    """
    key = key_of(record_identity(bench, found))[:12]
    path = next(iter(sorted((bench.runs / FOLDER).glob(f"*-{key}.npz"))), None)
    if path is None:
        return None
    try:
        kept = load(path, "not there")
    except ResultError as error:
        raise RunError(str(error)) from error
    asked = _asked(bench)
    if not all(np.array_equal(kept.get(name, np.empty(0)), array) for name, array in asked.items()):
        raise RunError(f"{path}: of other clips or classes than the test part of the suite; delete it and run again")
    logits = kept.get("logits", np.empty(0))
    if logits.dtype != np.float32 or logits.shape != (len(asked["clips"]), len(asked["classes"])):
        raise RunError(f"{path}: logits are {logits.dtype} {logits.shape}, wanted float32 (clips, classes); delete it")
    if not np.isfinite(logits).all():
        raise RunError(f"{path}: holds logits that are no numbers; delete it and run again")
    return logits.astype(np.float32)


def _asked(bench: Bench) -> Arrays:
    test = bench.parts["test"]
    return {
        "labels": bench.clips.labels[test],
        "clips": np.array([bench.clips.entries[place].id for place in test]),
        "classes": np.array(bench.clips.classes),
    }
