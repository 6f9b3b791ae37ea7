"""One of our rows against a printed figure: never paired, since nobody else's episodes are ours."""

import re
from dataclasses import dataclass
from decimal import Decimal

from fewdistill.results import ResultError
from fewdistill.results.comparison.selection import RecordSelection, nearest
from fewdistill.results.published.figures import DATASETS, Figure, Protocol, Published, Source
from fewdistill.results.records.record import at_shot, shot_order
from fewdistill.results.stats import Paired
from fewdistill.results.stats.unpaired import Estimate, estimate, unpaired_difference
from fewdistill.results.summary.pairing import by_episode, done
from fewdistill.results.summary.rows import Setting

PREFIX = "published:"

_ALIASES = {
    "hmdb51": {"hmdb51", "hmdb"},
    "ucf101": {"ucf101", "ucf"},
    "kinetics": {"kinetics", "kinetics100", "k100"},
    "ssv2": {"ssv2"},
    "ssv2-full": {"ssv2full", "ssv2otam"},
    "ssv2-small": {"ssv2small", "ssv2cmn"},
}
"""What a folder of videos may be called (but for case and signs) to count as a printed data set."""


@dataclass(frozen=True)
class VersusPublished:
    """Ours minus printed, fractions. ours: our accuracy. difference: with the error of ours, and of the figure where a
    spread over trainings is printed; ``p`` means something only then. differs: what the two do not share.
    """

    setting: Setting
    shot: int | None
    ours: Paired
    seeds: tuple[int, ...]
    figure: Figure
    source: Source
    difference: Paired
    differs: tuple[str, ...]

    @property
    def at(self) -> str:
        """The shot in words."""
        return at_shot(self.shot, self.setting.protocol)

    @property
    def tested(self) -> bool:
        """Whether the figure has a spread of its own."""
        return self.figure.std is not None

    @property
    def inside(self) -> bool:
        """Whether our interval contains the printed figure."""
        return self.ours.low <= float(self.figure.accuracy) / 100 <= self.ours.high


def find_figures(text: str, published: Published) -> list[Figure]:
    """The figures called ``published:name/backbone/dataset``, at any shot; ResultError with the nearest names."""
    name = text.removeprefix(PREFIX).lower()
    found = [figure for figure in published.figures if figure.slug == name]
    if found:
        return found
    slugs = sorted({figure.slug for figure in published.figures})
    longer = [slug for slug in slugs if name and slug.startswith(f"{name}/")]
    if longer:
        raise ResultError(f"{text!r} is {len(longer)} rows: name one of {', '.join(longer)}")
    raise ResultError(f"{text!r}: no such figure{nearest(name, slugs)}; `fewdistill list published` shows all")


def versus_published(
    selection: RecordSelection, figures: list[Figure], published: Published, shot: int | None = None
) -> list[VersusPublished]:
    """Our row against figures of one method, at every shot that both have.

    Raises ResultError unless the selection is one row of the figure's data set and way, finished at its shot.
    """
    if selection.whole:
        raise ResultError(f"{selection.name!r} is a whole folder: name a row, such as {selection.name}:resnet18/d2m")
    finished = done(selection.results)
    if not finished:
        raise ResultError(f"{selection.name!r}: nothing finished to compare")
    setting = Setting.of(finished[0].record.cell)
    protocol = published.protocols[figures[0].protocol]
    _refuse_other_task(selection.name, setting, figures[0], protocol)
    ours = {result.record.cell.shot for result in finished}
    common = [f for f in figures if f.shot in ours and shot in (None, f.shot)]
    if not common:
        theirs = ", ".join(str(figure.shot) for figure in figures)
        wanted = f", asked for is {shot}" if shot is not None else ""
        shots = ", ".join(map(str, sorted(ours, key=shot_order)))
        raise ResultError(f"{selection.name!r} has shot {shots}, printed is {theirs}{wanted}")
    found = []
    for figure in common:
        group = [result for result in finished if result.record.cell.shot == figure.shot]
        values = [by_episode(result) for result in group]
        if len(values[0]) < 2:
            raise ResultError(f"{selection.name!r}: one episode says nothing of its error")
        known = estimate(values, len({result.episodes for result in group}) == 1)
        found.append(
            VersusPublished(
                setting=setting,
                shot=group[0].record.cell.shot,
                ours=unpaired_difference(known, Estimate(0.0, ())),
                seeds=tuple(sorted(result.record.cell.seed for result in group)),
                figure=figure,
                source=published.sources[figure.source],
                difference=unpaired_difference(known, _printed(figure, protocol)),
                differs=_differs(setting, figure, protocol),
            )
        )
    return found


def _printed(figure: Figure, protocol: Protocol) -> Estimate:
    """The figure with the error of its trainings; "0.0" printed is anything below half of its last digit."""
    mean = float(figure.accuracy) / 100
    if figure.std is None or protocol.seeds is None:
        return Estimate(mean, ())
    exponent = figure.std.as_tuple().exponent
    least = Decimal(5).scaleb(int(exponent) - 1)
    std = float(max(figure.std, least)) / 100
    return Estimate(mean, ((std**2 / protocol.seeds, protocol.seeds - 1),))


def _refuse_other_task(name: str, setting: Setting, figure: Figure, protocol: Protocol) -> None:
    if protocol.way is None:
        raise ResultError(f"{figure.slug} is no few-shot figure ({protocol.note}): nothing here compares with it")
    aliases = _ALIASES[figure.dataset]
    if re.sub(r"[^a-z0-9]", "", setting.dataset.lower()) not in aliases:
        raise ResultError(
            f"{name!r} is on {setting.dataset}, {figure.slug} on {DATASETS[figure.dataset]}: no comparison (a data"
            f" set counts as that when its folder is called {' or '.join(sorted(aliases))})"
        )
    if setting.way != protocol.way:
        raise ResultError(f"{name!r} is {setting.way}-way, {figure.slug} {protocol.way}-way: no comparison")


def _differs(setting: Setting, figure: Figure, protocol: Protocol) -> tuple[str, ...]:
    """What is known to differ between our protocol and theirs, and what is not known of theirs."""
    found = [f"ours is {setting.name} with {setting.head}, theirs {figure.model} on {figure.backbone}"]
    for axis, what in (("query", "queries a class"), ("frames", "frames"), ("image_size", "image size")):
        theirs, ours = getattr(protocol, axis), getattr(setting, axis)
        if theirs is None:
            found.append(f"{what}: ours {ours}, theirs not known")
        elif theirs != ours:
            found.append(f"{what}: ours {ours}, theirs {theirs}")
    found.append("theirs is a data pipeline of their own" if protocol.own_pipeline else "another data pipeline")
    return tuple(text for text in (*found, protocol.note, figure.unclear) if text)
