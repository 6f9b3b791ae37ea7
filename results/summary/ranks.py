"""The place of a setting among others, and the places that the paired intervals leave open."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewdistill.results.records.result import Result
from fewdistill.results.summary.pairing import by_episode, by_seed, pair

MOST = 64
"""Among more settings than this no range is worked out: the pairs grow with the square."""


@dataclass(frozen=True)
class Rank:
    """place: 1 + how many of the ``of`` settings have a higher mean accuracy; equal means share a place.

    best: 1 + how many are better by a paired 95 % interval that leaves out zero; worst: ``of`` less those that are
    worse in the same way. Each pair stands at 95 %, uncorrected. None among more than ``MOST`` settings.
    """

    place: int
    best: int | None
    worst: int | None
    of: int


def ranks(field: Sequence[Sequence[Result]], sign: int = 1) -> list[Rank]:
    """Rank of each setting, given as its finished seeds (at least one); pairs without common episodes stay open.

    sign: 1 where a higher figure is better, -1 where a lower one is.
    """
    # Means that are equal as fractions may differ in their last bits.
    means = [sign * round(float(np.mean([by_episode(result).mean() for result in seeds])), 9) for seeds in field]
    places = [1 + sum(other > mean for other in means) for mean in means]
    count = len(field)
    if count > MOST:
        return [Rank(place, None, None, count) for place in places]
    scored = [by_seed(seeds) for seeds in field]
    better, worse = [0] * count, [0] * count
    for i in range(count):
        for j in range(i):
            gain, _ = pair(scored[i], scored[j])
            if gain and gain.headline.low <= 0 <= gain.headline.high:
                continue
            if gain:
                ahead, behind = (i, j) if sign * gain.mean > 0 else (j, i)
                better[behind], worse[ahead] = better[behind] + 1, worse[ahead] + 1
    # The means are over all seeds of a setting and the pairs over common ones: a place may lie outside its range.
    return [
        Rank(place, min(place, 1 + up), max(place, count - down), count)
        for place, up, down in zip(places, better, worse, strict=True)
    ]
