"""What two sides have in common: the settings and shots at which A can be compared with B."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from fewdistill.results import ResultError
from fewdistill.results.comparison.selector import Side
from fewdistill.results.records.record import at_shot
from fewdistill.results.records.result import Result
from fewdistill.results.summary.pairing import done
from fewdistill.results.summary.rows import Setting

Place = tuple[Setting, int]
"""A setting at a shot."""
Groups = dict[Place, list[Result]]


def groups_of(side: Side, shot: int | None) -> Groups:
    """A side's finished records by setting and shot; raises ResultError where there is none, or a cell stands twice."""
    groups: Groups = defaultdict(list)
    for result in sorted(done(side.results), key=lambda result: result.record.cell.seed):
        groups[Setting.of(result.record.cell), result.record.cell.shot].append(result)
    if not groups:
        states = sorted({f"{r.record.status} {r.record.reason}".strip() for r in side.results})
        raise ResultError(f"{side.name!r}: nothing finished to compare ({'; '.join(states)})")
    shots = sorted({at for _, at in groups})
    if shot is not None and shot not in shots:
        raise ResultError(f"{side.name!r}: no {at_shot(shot)} record; there is {', '.join(map(str, shots))}-shot")
    for (setting, at), group in groups.items():
        if len({result.record.cell.seed for result in group}) < len(group):
            raise ResultError(f"{side.name!r}: {setting.name}, {at_shot(at)}, stands twice for a seed: name its key")
    return {place: group for place, group in groups.items() if shot in (None, place[1])}


def named(places: Iterable[Place]) -> tuple[str, ...]:
    """Settings with all their shots: "resnet18 / d2m, 1- and 5-shot"."""
    shots: dict[Setting, list[int]] = defaultdict(list)
    for setting, shot in sorted(places):
        shots[setting].append(shot)
    return tuple(f"{setting.name}, {'- and '.join(map(str, found))}-shot" for setting, found in shots.items())


def two_rows(a: Side, b: Side, ours: Groups, theirs: Groups) -> list[tuple[Place, Place]]:
    """Two rows at each shot that both have; they may differ in anything but the task."""
    (one,), (other,) = {setting for setting, _ in ours}, {setting for setting, _ in theirs}
    for axis, what in (("dataset", "data set"), ("split", "split"), ("way", "way")):
        left, right = getattr(one, axis), getattr(other, axis)
        if left != right:
            raise ResultError(f"{a.name!r} has {what} {left}, {b.name!r} {right}: not the same task, no comparison")
    return [((one, at), (other, at)) for at in sorted(at for _, at in ours) if (other, at) in theirs]


def shared_settings(ours: Groups, theirs: Groups) -> list[tuple[Place, Place]]:
    """Settings alike but for their suite; and where the sizes or the head differ, those of one task and model."""
    pairs = _meet(lambda place: (replace(place[0], suite=""), place[1]), ours, theirs)
    left = [place for place in ours if place not in {one for one, _ in pairs}]
    right = [place for place in theirs if place not in {other for _, other in pairs}]
    return sorted(pairs + _meet(_model_and_task, left, right))


def _model_and_task(place: Place) -> tuple[object, ...]:
    s, shot = place
    return s.dataset, s.split, s.way, s.role, s.model, s.distillation, s.variant, shot


def _meet(
    key: Callable[[Place], tuple[object, ...]], ours: Iterable[Place], theirs: Iterable[Place]
) -> list[tuple[Place, Place]]:
    """Places that answer to the same key, where no other of their side does."""
    left, right = (_unique(key, places) for places in (ours, theirs))
    return [(left[name], right[name]) for name in left if name in right]


def _unique(key: Callable[[Place], tuple[object, ...]], places: Iterable[Place]) -> dict[tuple[object, ...], Place]:
    found: dict[tuple[object, ...], list[Place]] = defaultdict(list)
    for place in places:
        found[key(place)].append(place)
    return {name: group[0] for name, group in found.items() if len(group) == 1}


def nothing_shared(a: Side, b: Side, ours: Groups, theirs: Groups) -> str:
    """Why two sides have no setting at one shot in common."""
    for what, pick in _TASK:
        left, right = ({pick(place) for place in group} for group in (ours, theirs))
        if not left & right:
            had, has = (", ".join(sorted(map(str, values))) for values in (left, right))
            return f"{a.name!r} has {what} {had}, {b.name!r} {has}: not the same task, no comparison"
    return f"{a.name!r} and {b.name!r} have no model and distillation of one task in common: name a row of each"


_TASK: tuple[tuple[str, Callable[[Place], object]], ...] = (
    ("data set", lambda place: place[0].dataset),
    ("split", lambda place: place[0].split),
    ("way", lambda place: place[0].way),
    ("shot", lambda place: place[1]),
)
