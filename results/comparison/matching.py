"""What two selections of records have in common: the settings and shots at which A can be compared with B."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from fewdistill.results import ResultError
from fewdistill.results.comparison.selection import RecordSelection
from fewdistill.results.records.record import at_shot, shot_order
from fewdistill.results.records.result import Result
from fewdistill.results.summary.pairing import done
from fewdistill.results.summary.rows import Match, Setting

Groups = dict[Match, list[Result]]


def groups_of(selection: RecordSelection, shot: int | None) -> Groups:
    """Finished records by setting and shot; raises ResultError where there is none, or a cell stands twice."""
    groups: Groups = defaultdict(list)
    for result in sorted(done(selection.results), key=lambda result: result.record.cell.seed):
        groups[Setting.of(result.record.cell), result.record.cell.shot].append(result)
    if not groups:
        states = sorted({f"{r.record.status} {r.record.reason}".strip() for r in selection.results})
        raise ResultError(f"{selection.name!r}: nothing finished to compare ({'; '.join(states)})")
    shots = sorted({at for _, at in groups}, key=shot_order)
    if shot is not None and shot not in shots:
        protocol = next(iter(groups))[0].protocol
        raise ResultError(f"{selection.name!r}: no {shot}-shot record; there is {_shots(shots, ', ', protocol)}")
    for (setting, at), group in groups.items():
        if len({result.record.cell.seed for result in group}) < len(group):
            what = f"{setting.name}, {at_shot(at, setting.protocol)}"
            raise ResultError(f"{selection.name!r}: {what}, stands twice for a seed: name its key")
    return {match: group for match, group in groups.items() if shot in (None, match[1])}


def named(matches: Iterable[Match]) -> tuple[str, ...]:
    """Settings with all their shots: "resnet18 / d2m, 1- and 5-shot"."""
    shots: dict[Setting, list[int | None]] = defaultdict(list)
    for setting, shot in sorted(matches):
        shots[setting].append(shot)
    return tuple(f"{setting.name}, {_shots(found, '- and ', setting.protocol)}" for setting, found in shots.items())


def _shots(shots: Sequence[int | None], between: str, protocol: str) -> str:
    """Several shots in words: "1, 5-shot"; the protocol's name where there are none."""
    return protocol if None in shots else f"{between.join(map(str, shots))}-shot"


def two_rows(a: RecordSelection, b: RecordSelection, ours: Groups, theirs: Groups) -> list[tuple[Match, Match]]:
    """Two rows at each shot that both have; they may differ in anything but the task."""
    (one,), (other,) = {setting for setting, _ in ours}, {setting for setting, _ in theirs}
    for axis, what in (("dataset", "data set"), ("split", "split"), ("way", "way")):
        left, right = getattr(one, axis), getattr(other, axis)
        if left != right:
            raise ResultError(f"{a.name!r} has {what} {left}, {b.name!r} {right}: not the same task, no comparison")
    return [((one, at), (other, at)) for at in sorted((at for _, at in ours), key=shot_order) if (other, at) in theirs]


def shared_settings(ours: Groups, theirs: Groups) -> list[tuple[Match, Match]]:
    """Settings alike but for their suite; and where the sizes or the head differ, those of one task and model."""
    pairs = _meet(lambda match: (replace(match[0], suite=""), match[1]), ours, theirs)
    left = [match for match in ours if match not in {one for one, _ in pairs}]
    right = [match for match in theirs if match not in {other for _, other in pairs}]
    return sorted(pairs + _meet(_model_and_task, left, right))


def _model_and_task(match: Match) -> tuple[object, ...]:
    s, shot = match
    return s.dataset, s.split, s.way, s.role, s.model, s.distillation, s.variant, shot


def _meet(
    key: Callable[[Match], tuple[object, ...]], ours: Iterable[Match], theirs: Iterable[Match]
) -> list[tuple[Match, Match]]:
    """Places that answer to the same key, where no other of its selection does."""
    left, right = (_unique(key, matches) for matches in (ours, theirs))
    return [(left[name], right[name]) for name in left if name in right]


def _unique(key: Callable[[Match], tuple[object, ...]], matches: Iterable[Match]) -> dict[tuple[object, ...], Match]:
    found: dict[tuple[object, ...], list[Match]] = defaultdict(list)
    for match in matches:
        found[key(match)].append(match)
    return {name: group[0] for name, group in found.items() if len(group) == 1}


def nothing_shared(a: RecordSelection, b: RecordSelection, ours: Groups, theirs: Groups) -> str:
    """Why two selections have no setting at one shot in common."""
    for what, pick in _TASK:
        left, right = ({pick(match) for match in group} for group in (ours, theirs))
        if not left & right:
            had, has = (", ".join(sorted(map(str, values))) for values in (left, right))
            return f"{a.name!r} has {what} {had}, {b.name!r} {has}: not the same task, no comparison"
    return f"{a.name!r} and {b.name!r} have no model and distillation of one task in common: name a row of each"


_TASK: tuple[tuple[str, Callable[[Match], object]], ...] = (
    ("data set", lambda match: match[0].dataset),
    ("split", lambda match: match[0].split),
    ("way", lambda match: match[0].way),
    ("shot", lambda match: match[1]),
)
