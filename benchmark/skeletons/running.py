"""A suite of skeleton networks opened and run: row by row, each recorded as soon as it is scored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmark.errors import RunError
from benchmark.progress import say
from benchmark.row_run import row_lock, write_unfinished
from benchmark.runner import device_named
from benchmark.skeletons.bench import Bench, read_clips
from benchmark.skeletons.precision import settled
from benchmark.skeletons.rows import SHOT, Sum, cell_of, record_identity, status
from benchmark.skeletons.scoring import added, keep_scores, score, scores_path
from benchmark.skeletons.stages import train
from benchmark.skeletons.suite import SkeletonSuite
from benchmark.skeletons.tracked import track_row
from benchmark.standing import Standing, standing_of
from benchmark.tracking import Trackers
from benchmark.train import Diverged
from feature_cache import CacheError, InUseError
from results.record import Status
from results.store import RecordStore


def open_bench(suite: SkeletonSuite, runs: Path, device: str = "auto", track: Sequence[str] = ()) -> Bench:
    """The suite's clips, read and divided, and its run folder below ``runs``. device: auto, cpu or cuda.

    UserError for what does not fit the data, DataError with what to download where there are none.
    """
    trackers, on = Trackers(track), torch.device(device_named(device))
    clips, folder = read_clips(suite.data), runs / suite.name
    bench = Bench(suite, clips, folder, on, trackers=trackers)
    if suite.bf16 == "auto":
        bench = Bench(settled(bench), clips, folder, on, trackers=trackers)
    for variant, _ in suite.versions():
        bench.varied(variant)  # whose parts may be empty
    return bench


def run(
    bench: Bench, only: Sequence[str] = (), overwrite: bool = False, save_scores: bool = False
) -> list[tuple[Sum, Standing]]:
    """Run what is missing; returns the standing at the end.

    Done rows are skipped, unless their scores are to be saved and are not, and failed ones tried again. A row that
    fails is recorded with its reason and the others go on. Runs of one folder live side by side, see runner.run.
    """
    owners: dict[str, tuple[Sum, Standing]] = {}
    for found, standing in status(bench):
        owners.setdefault(standing.keys[SHOT], (found, standing))
    _relabel(bench, owners)
    keys = dict.fromkeys(standing.keys[SHOT] for _, standing in status(bench, only))
    scores = bench.runs / "scores" if save_scores else None
    pending = [owners[key] for key in keys if overwrite or not owners[key][1].done]
    failed: set[str] = set()
    left = list(enumerate(pending, start=1))
    for wait in (False, True):
        held = []
        for number, (found, standing) in left:
            try:
                place = f"[{number}/{len(pending)}] "
                if run_row(bench, found, standing, scores, overwrite=overwrite, wait=wait, place=place):
                    failed.add(standing.keys[SHOT])
            except InUseError:
                held.append((number, (found, standing)))
        left = held
    if scores is not None:
        for key in keys:
            _keep(bench, owners[key][0], scores, key)
    return [
        (found, replace(s, status={SHOT: "failed"}) if s.keys[SHOT] in failed else s)
        for found, s in status(bench, only)
    ]


def run_row(
    bench: Bench, found: Sum, standing: Standing, scores: Path | None, *, overwrite: bool, wait: bool, place: str = ""
) -> str:
    """Train, score and record one row, unless another process did meanwhile; the reason of a failure, else "".

    wait: for another process that works at the row; else it is an InUseError.
    """
    row, at, store = found.row, bench.varied(found.row.variant), RecordStore(bench.runs / "records")
    with row_lock(bench, standing, (lambda owner: say(f"[waiting for {row.name}: {owner}]")) if wait else None):
        standing = standing_of(bench, row, standing.keys)
        if standing.done and not overwrite:
            return ""
        say(f"{place}{row.name}")
        _unfinished(at, found, standing, store, "started")
        try:
            for lesson, _ in found.members:
                train(at, lesson)
            record, arrays = score(at, found, scores)
        except (RunError, CacheError, torch.OutOfMemoryError) as error:
            _unfinished(at, found, standing, store, "diverged" if isinstance(error, Diverged) else "failed", str(error))
            track_row(at, found, None, str(error))
            say(f"  {row.name}: {error}")
            return str(error)
        store.write(record, arrays)
        assert record.metrics is not None
        say(f"  {record.metrics.accuracy:.2%} of {record.metrics.episodes} test clips")
        track_row(at, found, record)
    return ""


def _unfinished(
    bench: Bench, found: Sum, standing: Standing, store: RecordStore, status: Status, reason: str = ""
) -> None:
    """A record of no result, where there is no finished one."""
    if not standing.done:
        identity, cell = record_identity(bench, found), cell_of(bench, found)
        write_unfinished(bench, found.row, identity, cell, store, status, reason)


def _keep(bench: Bench, found: Sum, scores: Path, key: str) -> None:
    """The scores of a row that was done before they were asked for."""
    path, at = scores_path(scores, found, key), bench.varied(found.row.variant)
    if standing_of(bench, found.row, {SHOT: key}).done and not path.exists():
        keep_scores(path, at, added(at, found))


def _relabel(bench: Bench, owners: dict[str, tuple[Sum, Standing]]) -> None:
    """Give finished records the label of the row that owns them now: variants may have been renamed since."""
    store = RecordStore(bench.runs / "records")
    for key, (found, standing) in owners.items():
        if standing.done:
            record, cell = store.read(key), cell_of(bench.varied(found.row.variant), found)
            if record.cell != cell:
                with row_lock(bench, standing, lambda owner: say(f"[waiting for {owner}]")):
                    store.write(record.model_copy(update={"cell": cell}), store.arrays(key))
