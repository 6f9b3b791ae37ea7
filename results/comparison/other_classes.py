"""How a difference would stand on other test classes, and on other videos of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewdistill.results import ResultError
from fewdistill.results.records.result import Result
from fewdistill.results.stats import Interval, class_bootstrap, hierarchical_difference

_SEED = 0  # of the draws: the same records give the same interval


@dataclass(frozen=True)
class OtherClasses:
    """A 95 % interval of a difference, fractions. videos: other videos and seeds count, too, not classes alone."""

    interval: Interval
    videos: bool


def over_classes(a: Sequence[Result], b: Sequence[Result]) -> OtherClasses | None:
    """A - B over other test classes: finished records on the same episodes, seed by seed in the same order.

    Where the records name their videos, those are drawn within the classes and the seeds' spread is added; old records
    do not, and have their classes drawn for the mean over seeds. None where all queries are of one class, or of none.
    """
    asked = [result.query_class for result in a if result.query_class is not None]
    if any(result.record.status != "done" for result in (*a, *b)):
        raise ResultError("only finished records can be compared")
    if len(asked) < len(a) or len(np.unique(asked[0])) < 2:
        return None
    ours, theirs = ([np.asarray(result.correct, np.float64) for result in group] for group in (a, b))
    rng = np.random.default_rng(_SEED)
    if all(result.query is not None for result in a):
        found = hierarchical_difference(ours, theirs, asked, [result.query for result in a], rng)
        return OtherClasses(found, videos=True)
    difference = np.concatenate([one - other for one, other in zip(ours, theirs, strict=True)])
    return OtherClasses(class_bootstrap(difference, np.concatenate(asked), rng), videos=False)
