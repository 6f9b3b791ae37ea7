"""run and status of a suite of skeleton networks, of either protocol."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import cli_show

if TYPE_CHECKING:
    from benchmark.skeletons.few_shot.suite import FewShotSuite
    from benchmark.skeletons.place import SkeletonPlace
    from benchmark.skeletons.rules import Rules
    from benchmark.skeletons.suite import SkeletonSuite
    from benchmark.standing import Standing


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
    from benchmark.skeletons import rules, running
    from benchmark.skeletons.bench import Bench

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
    from benchmark.skeletons import rules

    place, protocol = _opened(suite, runs, data, "auto", ())
    return [standing for _, standing in rules.status(place, protocol)]


def _opened(
    suite: "SkeletonSuite | FewShotSuite", runs: Path, data: Path, device: str, track: Sequence[str]
) -> "tuple[SkeletonPlace, Rules[Any, Any]]":
    from benchmark.skeletons.few_shot import running as few_shot
    from benchmark.skeletons.running import open_bench, supervised
    from benchmark.skeletons.suite import SkeletonSuite

    if isinstance(suite, SkeletonSuite):
        return open_bench(suite, runs, device, track), supervised()
    return few_shot.open_arena(suite, runs, data, device, track), few_shot.EPISODES
