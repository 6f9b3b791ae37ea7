"""Plots and class tables of a report, for each of its comparable tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fewdistill.results.plots.accuracy import COSTS, accuracy_over_cost, has_cost, learning_curves, quantities
from fewdistill.results.plots.classes import class_plot, confusion_plot
from fewdistill.results.plots.gains import gains_plot
from fewdistill.results.records.record import at_shot, shot_order
from fewdistill.results.records.result import Result
from fewdistill.results.summary.per_class import ClassScores, by_class
from fewdistill.results.summary.rows import Row, Setting, table_of
from fewdistill.results.tables.classes import (
    CLASSES_NOTE,
    CONFUSION_NOTE,
    class_table,
    confusion_table,
    readable_classes,
    readable_confusion,
)
from fewdistill.results.tables.files import write_table

Draw = Callable[[Path], list[Path]]
"""Draws a plot to a path without its ending and returns the files it wrote."""


@dataclass(frozen=True)
class Part:
    """Results and rows of one comparable table; prefix: before the names of its files, "" where it is the only one.

    scores: class by class, by shot.
    """

    prefix: str
    results: Sequence[Result]
    rows: Sequence[Row]
    scores: dict[int | None, list[ClassScores]]

    def name_at(self, shot: int | None) -> str:
        """The end of the names of its files at a shot."""
        return f"{self.prefix}{at_shot(shot, self.rows[0].setting.protocol)}"

    @property
    def plain(self) -> list[Row]:
        """The rows of no variant."""
        return [row for row in self.rows if not row.setting.variant]


def parts(results: Sequence[Result], rows: Sequence[Row]) -> list[Part]:
    """A report's results and rows by comparable table."""
    found, kinds = [], sorted({table_of(row.setting) for row in rows}, key=str)
    for kind in kinds:
        name = "-".join("".join(c if c.isalnum() else "_" for c in str(k)) for k in kind) + "-"
        of_kind = [result for result in results if table_of(Setting.of(result.record.cell)) == kind]
        in_kind = [row for row in rows if table_of(row.setting) == kind]
        scores = {shot: by_class(of_kind, shot) for shot in sorted({row.shot for row in in_kind}, key=shot_order)}
        found.append(Part(name if len(kinds) > 1 else "", of_kind, in_kind, scores))
    return found


def write_class_tables(part: Part, tables: Path) -> list[Path]:
    """Classes and confusions of every shot whose records keep answers; returns the files."""
    files: list[Path] = []
    for shot, scores in part.scores.items():
        if scores:
            name, classes, confusions = part.name_at(shot), class_table(scores), confusion_table(scores)
            files += write_table(classes, tables / f"classes-{name}", readable_classes(classes), [CLASSES_NOTE])
            shown = readable_confusion(confusions)
            files += write_table(confusions, tables / f"confusions-{name}", shown, [CONFUSION_NOTE])
    return files


def plots(part: Part) -> dict[str, Draw]:
    """Every plot by its name, not drawn yet; what no record holds has none.

    Accuracy over MACs and gains for every shot; the other costs and the students class by class for the largest shot.
    """
    found: dict[str, Draw] = {}
    last = max(part.scores, key=shot_order)
    for shot, scores in part.scores.items():
        name = part.name_at(shot)
        for cost in COSTS if shot == last else ("macs",):
            if has_cost(part.plain, shot, cost):
                stem = "accuracy-over-cost" if cost == "macs" else f"accuracy-over-{cost}"
                found[f"{stem}-{name}"] = partial(accuracy_over_cost, part.plain, shot, cost=cost)
        for variants, stem in ((False, "gains"), (True, "gains-of-variants")):
            if any(row.gain and row.shot == shot and bool(row.setting.variant) == variants for row in part.rows):
                found[f"{stem}-{name}"] = partial(gains_plot, part.rows, shot, variants=variants)
        if shot == last:
            for model in sorted({one.setting.model for one in scores if one.setting.role == "student"}):
                safe = "".join(c if c.isalnum() or c in "-." else "_" for c in model)
                found[f"classes-{safe}-{name}"] = partial(class_plot, scores, model, shot)
                pair = _with_and_without(part.plain, scores, model, shot)
                if pair:
                    found[f"confusions-{safe}-{name}"] = partial(confusion_plot, *pair, shot)
    # Teachers are trained for longer, on a scale of their own.
    for role, stem in (("student", "learning-curves"), ("teacher", "learning-curves-of-teachers")):
        cells = [result.record for result in part.results if not Setting.of(result.record.cell).variant]
        records = [record for record in cells if record.cell.role == role]
        if quantities(records):
            found[f"{part.prefix}{stem}"] = partial(learning_curves, records)
    return found


def _with_and_without(
    rows: Sequence[Row], scores: Sequence[ClassScores], model: str, shot: int | None
) -> tuple[ClassScores, ClassScores] | None:
    """A student without distillation and with the one that brings it most, where both keep their answers."""
    answered = {one.setting: one for one in scores if one.confusion is not None}
    tried = [
        (row.gain.mean, row.against, row.setting)
        for row in rows
        if row.gain and row.shot == shot and row.setting.model == model
    ]
    pairs = [(gain, plain, taught) for gain, plain, taught in tried if plain in answered and taught in answered]
    if not pairs:
        return None
    _, plain, taught = max(pairs, key=lambda found: found[0])
    assert plain
    return answered[plain], answered[taught]
