"""A supervised suite opened and run; see ``rules``."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from fewdistill.benchmark.data.skeletons.dataset import read_clips
from fewdistill.benchmark.evaluation.supervised_record import Arrays, added, score, untrained
from fewdistill.benchmark.graph import rules
from fewdistill.benchmark.graph.rules import Rules
from fewdistill.benchmark.graph.runner import device_named
from fewdistill.benchmark.graph.status import Standing, standing_of
from fewdistill.benchmark.protocols.supervised.bench import Bench
from fewdistill.benchmark.protocols.supervised.ensemble import keep_scores, scores_path
from fewdistill.benchmark.protocols.supervised.network import train
from fewdistill.benchmark.protocols.supervised.precision import settled
from fewdistill.benchmark.protocols.supervised.rows import SHOT, Sum, cell_of, record_identity, sums, trained_identity
from fewdistill.benchmark.protocols.supervised.suite import SkeletonSuite
from fewdistill.benchmark.tracking import Trackers
from fewdistill.results.records.record import Record


def open_bench(suite: SkeletonSuite, runs: Path, device: str = "auto", track: Sequence[str] = ()) -> Bench:
    """The suite's clips, read and divided, and its run folder below ``runs``. device: auto, cpu or cuda.

    UserError for what does not fit the data, DataError with what to download where there are none.
    """
    trackers, on = Trackers(track), torch.device(device_named(device))
    bench = Bench(suite, read_clips(suite.data), runs / suite.name, on, trackers=trackers)
    if suite.bf16 == "auto":
        bench = settled(bench, suite.streams[0])
    for variant, _ in suite.versions():
        bench.varied(variant)  # whose parts may be empty
    return bench


def supervised(save_scores: bool = False) -> Rules[Bench, Sum]:
    """The supervised protocol. save_scores: keep the logits of scored rows, too."""

    def work(bench: Bench, found: Sum) -> Iterator[tuple[Record, Arrays]]:
        for lesson in untrained(bench, found):
            train(bench, lesson)
        yield score(bench, found, save_scores)

    return Rules(
        rows=sums,
        shots=lambda bench: (SHOT,),
        trained=trained_identity,
        identity=lambda bench, found, shot: record_identity(bench, found),
        cell=lambda bench, found, shot: cell_of(bench, found),
        work=work,
    )


def status(bench: Bench, only: Sequence[str] = ()) -> list[tuple[Sum, Standing]]:
    """Every row, or those asked for, and what stands of it; see ``rules.status``."""
    return rules.status(bench, supervised(), only)


def run(
    bench: Bench, only: Sequence[str] = (), overwrite: bool = False, save_scores: bool = False
) -> list[tuple[Sum, Standing]]:
    """Run what is missing, see ``rules.run``; save_scores: of rows that were done before, too."""
    protocol = supervised(save_scores)
    found = rules.run(bench, protocol, only, overwrite)
    if save_scores:
        owners = rules.owners_of(bench, protocol)
        for records in dict.fromkeys(standing.records for _, standing in found):
            _keep(bench, owners[records][0], records[0])
    return found


def _keep(bench: Bench, found: Sum, key: str) -> None:
    """The scores of a row that was done before they were asked for."""
    at = bench.varied(found.row.variant)
    if standing_of(bench, found.row, {SHOT: key}).done and not scores_path(at, found).exists():
        keep_scores(at, found, added(at, found))
