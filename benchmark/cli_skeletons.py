"""run and status of a suite of the supervised protocol."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import cli_show

if TYPE_CHECKING:
    from benchmark.skeletons.suite import SkeletonSuite
    from benchmark.standing import Standing


def run(
    suite: "SkeletonSuite",
    runs: Path,
    device: str,
    track: Sequence[str],
    only: Sequence[str],
    dry_run: bool,
    overwrite: bool,
    save_scores: bool,
) -> None:
    """Train, distil, score and record what is missing, then report; see ``fewdistill run``."""
    from benchmark.skeletons import running
    from benchmark.skeletons.rows import status

    bench = running.open_bench(suite, runs, device, track)
    if dry_run:
        cli_show.standing([standing for _, standing in status(bench, only)])
        return
    found = running.run(bench, only, overwrite, save_scores)
    cli_show.finish(bench, [standing for _, standing in found], [standing for _, standing in status(bench)])


def standings(suite: "SkeletonSuite", runs: Path) -> "list[Standing]":
    """What stands of each row."""
    from benchmark.skeletons.rows import status
    from benchmark.skeletons.running import open_bench

    return [standing for _, standing in status(open_bench(suite, runs))]
