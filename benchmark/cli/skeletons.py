"""run and status of a suite of skeleton networks, of either protocol."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewdistill.benchmark.cli import show as cli_show

if TYPE_CHECKING:
    from fewdistill.benchmark.data.skeletons.dataset import SkeletonPlace
    from fewdistill.benchmark.graph.rules import Rules
    from fewdistill.benchmark.graph.status import Standing
    from fewdistill.benchmark.protocols.episodic.skeleton_suite import FewShotSuite
    from fewdistill.benchmark.protocols.supervised.suite import SkeletonSuite


def run(
    suite: "SkeletonSuite | FewShotSuite",
    runs: Path,
    data: Path,
    device: str,
    track: Sequence[str],
    only: Sequence[str],
    dry_run: bool,
    overwrite: bool,
    save_scores: bool,
    report: bool,
) -> None:
    """Train, distil, score and record what is missing, then report; see ``fewdistill run``."""
    from fewdistill.benchmark.graph import rules
    from fewdistill.benchmark.protocols.supervised import running
    from fewdistill.benchmark.protocols.supervised.bench import Bench

    place, protocol = _opened(suite, runs, data, device, track)
    if dry_run:
        cli_show.standing([standing for _, standing in rules.status(place, protocol, only)])
        return
    if isinstance(place, Bench):
        found = [standing for _, standing in running.run(place, only, overwrite, save_scores)]
    else:
        found = [standing for _, standing in rules.run(place, protocol, only, overwrite)]
    cli_show.finish(place, found, [standing for _, standing in rules.status(place, protocol)], report)


def standings(suite: "SkeletonSuite | FewShotSuite", runs: Path, data: Path) -> "list[Standing]":
    """What stands of each row."""
    from fewdistill.benchmark.graph import rules

    place, protocol = _opened(suite, runs, data, "auto", ())
    return [standing for _, standing in rules.status(place, protocol)]


def _opened(
    suite: "SkeletonSuite | FewShotSuite", runs: Path, data: Path, device: str, track: Sequence[str]
) -> "tuple[SkeletonPlace, Rules[Any, Any]]":
    from fewdistill.benchmark.protocols.episodic import skeleton_running as few_shot
    from fewdistill.benchmark.protocols.supervised.running import open_bench, supervised
    from fewdistill.benchmark.protocols.supervised.suite import SkeletonSuite

    if isinstance(suite, SkeletonSuite):
        return open_bench(suite, runs, device, track), supervised()
    return few_shot.open_arena(suite, runs, data, device, track), few_shot.EPISODES
