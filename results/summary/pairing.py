"""Two settings over the seeds and episodes that both have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fewdistill.results import ResultError
from fewdistill.results.records.result import Result
from fewdistill.results.stats import PairedOverSeeds, paired_over_seeds


@dataclass(frozen=True, eq=False)
class Scored:
    """Outcome of one seed. accuracy: float64 (E,), the main figure of each episode; episodes: their digest."""

    accuracy: NDArray[np.float64]
    episodes: str


def by_episode(result: Result) -> NDArray[np.float64]:
    """The main figure of each episode or sample, float64 (E,), whose mean is the record's; ResultError without one."""
    if result.values is not None:
        return result.values
    if result.correct is None:
        raise ResultError(f"record {result.record.key} is {result.record.status} and has no episodes")
    return result.correct.mean(axis=1, dtype=np.float64)


def done(group: Sequence[Result]) -> list[Result]:
    return [result for result in group if result.record.status == "done"]


def by_seed(finished: Sequence[Result]) -> dict[int, Scored]:
    return {r.record.cell.seed: Scored(by_episode(r), r.episodes) for r in finished}


def pair(ours: Mapping[int, Scored], theirs: Mapping[int, Scored]) -> tuple[PairedOverSeeds | None, str]:
    """Difference ours - theirs, each a seed's outcome by seed; or None and the reason why there is none."""
    seeds = [seed for seed in ours if seed in theirs]
    if not seeds:
        return None, "nothing finished to compare with at these seeds"
    strangers = [seed for seed in seeds if ours[seed].episodes != theirs[seed].episodes]
    if strangers:
        return None, f"not paired: seed {strangers[0]} met other episodes than its twin"
    if len(ours[seeds[0]].accuracy) < 2:
        return None, "one episode cannot be tested"
    shared = len({ours[seed].episodes for seed in seeds}) == 1
    a, b = ([side[seed].accuracy for seed in seeds] for side in (ours, theirs))
    return paired_over_seeds(a, b, shared), ""
