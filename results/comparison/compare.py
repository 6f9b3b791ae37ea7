"""A against B: paired over shared episodes where there are any, overall and for each class."""

from dataclasses import dataclass, replace

import numpy as np

from fewdistill.results import ResultError
from fewdistill.results.comparison.matching import groups_of, named, nothing_shared, shared_settings, two_rows
from fewdistill.results.comparison.other_classes import OtherClasses, over_classes
from fewdistill.results.comparison.selection import RecordSelection
from fewdistill.results.records.metrics import MainFigure
from fewdistill.results.records.record import at_shot
from fewdistill.results.records.result import Result
from fewdistill.results.stats import Needed, Paired, detectable, holm, needed, paired_over_seeds
from fewdistill.results.stats.unpaired import estimate, unpaired_difference
from fewdistill.results.summary.pairing import by_episode
from fewdistill.results.summary.per_class import Floats, class_name, class_names, episodes_asking, of_class
from fewdistill.results.summary.rows import Setting


@dataclass(frozen=True)
class ClassDifference:
    """One test class: what A and B get right of its queries, fractions, and the difference over episodes that ask it.

    p: Holm-corrected over the classes of this comparison.
    """

    name: str
    a: float
    b: float
    difference: Paired
    p: float


@dataclass(frozen=True)
class Difference:
    """A - B of one setting at one shot. Accuracies and differences are fractions.

    headline: over training seeds and episodes (over episodes alone with one seed); episodes: over other test episodes
    for these very trained models, None where A and B are not paired. detectable: the least true difference that these
    seeds and episodes find with a probability of 80 %, None likewise; needed: what would find one as large as the
    measured one, None where seeds do not share their episodes, too. seeds: of A and of B, those that were used.
    unpaired: why there is no pairing, else "". same: every answer is alike. p: of the headline, Holm-corrected over
    the comparison. other_classes: over other test classes, for these trained models, None where A and B are not paired
    or there is one class. notes: what else a reader must know. classes: empty where not asked for or not to be named.
    """

    a: Setting
    b: Setting
    shot: int | None
    accuracy: tuple[float, float]
    n_episodes: int
    seeds: tuple[tuple[int, ...], tuple[int, ...]]
    headline: Paired
    episodes: Paired | None
    detectable: float | None
    needed: Needed | None
    unpaired: str
    same: bool
    p: float
    other_classes: OtherClasses | None = None
    notes: tuple[str, ...] = ()
    classes: tuple[ClassDifference, ...] = ()

    @property
    def at(self) -> str:
        """The shot in words: "5-shot", or the protocol's name where it has none."""
        return at_shot(self.shot, self.a.protocol)

    @property
    def main(self) -> MainFigure:
        """How to show what is compared: name, unit and scale."""
        return self.a.metrics.main

    @property
    def a_is_better(self) -> bool:
        return self.main.sign * self.headline.mean > 0

    @property
    def n_seeds(self) -> int:
        return min(len(self.seeds[0]), len(self.seeds[1]))


@dataclass(frozen=True)
class Comparison:
    """Everything A and B have in common. only: names of what just one of them has. notes: files that were not read."""

    a: str
    b: str
    differences: tuple[Difference, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    notes: tuple[str, ...] = ()


def compare(a: RecordSelection, b: RecordSelection, shot: int | None = None, by_class: bool = False) -> Comparison:
    """Two rows with each other, or every setting that two folders share; Holm's correction over all that comes of it.

    shot: this one alone. by_class: the classes, too. Raises ResultError where the two are of different data set,
    split, way or shot, where one is a row and the other a folder, and where nothing is finished.
    """
    if a.whole != b.whole:
        row, folder = (b, a) if a.whole else (a, b)
        asked = row.name.rpartition(":")[2]
        raise ResultError(
            f"{row.name!r} is one row, {folder.name!r} a whole folder: name a row of both, such as"
            f" {folder.name}:{asked}, or a folder of both"
        )
    groups = groups_of(a, shot), groups_of(b, shot)
    pairs = shared_settings(*groups) if a.whole else two_rows(a, b, *groups)
    if not pairs:
        raise ResultError(nothing_shared(a, b, *groups))
    found = [_difference(groups[0][one], groups[1][other], by_class) for one, other in pairs]
    corrected = holm([difference.headline.p for difference in found])
    used = [{pair[at] for pair in pairs} for at in (0, 1)]
    alone = [named([match for match in group if match not in taken]) for group, taken in zip(groups, used, strict=True)]
    return Comparison(
        a.name,
        b.name,
        tuple(replace(difference, p=p) for difference, p in zip(found, corrected, strict=True)),
        only=(alone[0], alone[1]) if a.whole else ((), ()),
        notes=tuple(note for name, selection in (("A", a), ("B", b)) for note in _left_out(name, selection)),
    )


def _left_out(name: str, selection: RecordSelection) -> list[str]:
    """Records that are not finished (of a whole folder, how many) and files that could not be read."""
    open_ = [r.record for r in selection.results if r.record.status != "done"]
    if selection.whole:
        notes = [f"{len(open_)} records of {name} are not finished"] if open_ else []
    else:
        named_seeds = [(r, f": {r.reason}" if r.reason else "") for r in open_]
        notes = [f"seed {r.cell.seed} of {name}, {r.cell.at}, {r.status}{reason}" for r, reason in named_seeds]
    return notes + [f"not read: {line}" for line in selection.left_out]


def _difference(ones: list[Result], others: list[Result], by_class: bool) -> Difference:
    """A - B of two groups of finished records, each of one setting and shot."""
    a, b, why = _pair(ones, others)
    shared = _shared(a), _shared(b)
    values = [by_episode(result) for result in a], [by_episode(result) for result in b]
    headline, episodes = _measure(*values, shared, not why)
    first, second = Setting.of(a[0].record.cell), Setting.of(b[0].record.cell)
    seeds = tuple(tuple(result.record.cell.seed for result in group) for group in (a, b))
    return Difference(
        a=first,
        b=second,
        shot=a[0].record.cell.shot,
        accuracy=(_mean(values[0]), _mean(values[1])),
        n_episodes=len(values[0][0]),
        seeds=(seeds[0], seeds[1]),
        headline=headline,
        episodes=episodes,
        detectable=None if why else detectable(*values, shared[0]),
        needed=None if why or not shared[0] else needed(*values),
        unpaired=why,
        same=not why and all(_alike(x, y) for x, y in zip(a, b, strict=True)),
        p=headline.p,
        other_classes=None if why else over_classes(a, b),
        notes=_notes(first, second, (ones, a), (others, b)),
        classes=_by_class(a, b, shared, not why) if by_class else (),
    )


def _pair(ones: list[Result], others: list[Result]) -> tuple[list[Result], list[Result], str]:
    """The records to use, A's and B's in the same order of seeds; and why they are not paired, else ""."""
    if len(by_episode(ones[0])) < 2 or len(by_episode(others[0])) < 2:
        raise ResultError(f"{Setting.of(ones[0].record.cell).name}: one episode cannot be tested")
    theirs = {result.record.cell.seed: result for result in others}
    common = [result for result in ones if result.record.cell.seed in theirs]
    if len(ones) == len(others) == 1:  # two records asked for by name, or all there is: the episodes pair them
        a, b = ones, others
    elif common:
        a, b = common, [theirs[result.record.cell.seed] for result in common]
    else:
        return ones, others, "no seed in common"
    strangers = [(x, y) for x, y in zip(a, b, strict=True) if x.episodes != y.episodes]
    if not strangers:
        return a, b, ""
    contents = {result.record.identity.get("content") for result in strangers[0]}
    return ones, others, "different episodes" if len(contents) == 1 else "different test videos"


def _measure(a: list[Floats], b: list[Floats], shared: tuple[bool, bool], paired: bool) -> tuple[Paired, Paired | None]:
    """A - B over seeds and episodes; and over episodes alone, where the two are paired."""
    if not paired:
        return unpaired_difference(estimate(a, shared[0]), estimate(b, shared[1])), None
    found = paired_over_seeds(a, b, shared[0])
    return found.headline, found.episodes


def _alike(a: Result, b: Result) -> bool:
    return np.array_equal(
        by_episode(a) if a.correct is None else a.correct, by_episode(b) if b.correct is None else b.correct
    )


def _shared(group: list[Result]) -> bool:
    return len({result.episodes for result in group}) == 1


def _mean(values: list[Floats]) -> float:
    return sum(float(value.mean()) for value in values) / len(values)


def _notes(a: Setting, b: Setting, *used: tuple[list[Result], list[Result]]) -> tuple[str, ...]:
    """Sizes and heads that differ, and seeds that the pairing leaves out."""
    axes = [axis for axis in ("head", "query", "frames", "image_size") if getattr(a, axis) != getattr(b, axis)]
    notes = [f"{axis.replace('_', ' ')} {getattr(a, axis)} against {getattr(b, axis)}" for axis in axes]
    for name, (there, taken) in zip("AB", used, strict=True):
        lost = sorted({r.record.cell.seed for r in there} - {r.record.cell.seed for r in taken})
        if lost:
            notes.append(f"seed {', '.join(map(str, lost))} of {name} left out: the other side has none")
    return tuple(notes)


def _by_class(a: list[Result], b: list[Result], shared: tuple[bool, bool], paired: bool) -> tuple[ClassDifference, ...]:
    """Every class that each record asks in two episodes at least; without pairing, those of one name."""
    found = []
    for name, numbers in _same_classes(a[0], b[0], paired):
        both = list(zip(numbers, (a, b), strict=True))
        if min(episodes_asking(number, result) for number, group in both for result in group) < 2:
            continue
        left, right = ([of_class(number)(result) for result in group] for number, group in both)
        headline, _ = _measure(left, right, shared, paired)
        found.append(ClassDifference(name, _mean(left), _mean(right), headline, headline.p))
    corrected = holm([each.difference.p for each in found])
    return tuple(replace(each, p=p) for each, p in zip(found, corrected, strict=True))


def _same_classes(a: Result, b: Result, paired: bool) -> list[tuple[str, tuple[int, int]]]:
    """Names of the classes that both ask, with their number in A and in B."""
    ours, theirs = class_names(a), class_names(b)
    if paired:  # the same queries: the same numbers
        if a.query_class is None:
            return []
        numbers = np.unique(a.query_class).tolist()
        return [(class_name(number, ours, theirs), (number, number)) for number in numbers]
    there = {name: number for number, name in (theirs or {}).items()}
    return [(name, (number, there[name])) for number, name in (ours or {}).items() if name in there]
