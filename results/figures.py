"""All figures and class tables of one comparable table of a report."""

from collections.abc import Sequence
from pathlib import Path

from results.classes import (
    CLASSES_NOTE,
    CONFUSION_NOTE,
    ClassScores,
    by_class,
    class_table,
    confusion_table,
    readable_classes,
    readable_confusion,
)
from results.plot_classes import class_plot, confusion_plot
from results.plot_gains import gains_plot
from results.plots import COSTS, accuracy_over_cost, has_cost, learning_curves, quantities
from results.record import at_shot
from results.store import Result
from results.summary import Row, Setting
from results.table_files import write_table


def write_figures(results: Sequence[Result], rows: Sequence[Row], out: Path, prefix: str = "") -> list[Path]:
    """Figures under ``out``/plots and class tables under ``out``/tables, of results and rows of one table.

    Accuracy over MACs, gains and class tables for every shot; the other costs and the students class by class for the
    largest shot. ``prefix`` goes before each name. Returns the paths; what no record holds has no file.
    """
    tables, plots = out / "tables", out / "plots"
    plain = [row for row in rows if not row.setting.variant]
    shots = sorted({row.shot for row in rows})
    files: list[Path] = []
    for shot in shots:
        name = f"{prefix}{at_shot(shot)}"
        costs = COSTS if shot == shots[-1] else ("macs",)
        for cost in (cost for cost in costs if has_cost(plain, shot, cost)):
            stem = "accuracy-over-cost" if cost == "macs" else f"accuracy-over-{cost}"
            files += accuracy_over_cost(plain, shot, plots / f"{stem}-{name}", cost)
        for variants, stem in ((False, "gains"), (True, "gains-of-variants")):
            if any(row.gain and row.shot == shot and bool(row.setting.variant) == variants for row in rows):
                files += gains_plot(rows, shot, plots / f"{stem}-{name}", variants)
        scores = by_class(results, shot)
        if scores:
            classes, confusions = class_table(scores), confusion_table(scores)
            files += write_table(classes, tables / f"classes-{name}", readable_classes(classes), [CLASSES_NOTE])
            shown = readable_confusion(confusions)
            files += write_table(confusions, tables / f"confusions-{name}", shown, [CONFUSION_NOTE])
        if shot == shots[-1]:
            for model in sorted({one.setting.model for one in scores if one.setting.role == "student"}):
                safe = "".join(c if c.isalnum() or c in "-." else "_" for c in model)
                files += class_plot(scores, model, shot, plots / f"classes-{safe}-{name}")
                pair = _with_and_without(plain, scores, model, shot)
                if pair:
                    files += confusion_plot(*pair, shot, plots / f"confusions-{safe}-{name}")
    # Teachers are trained for longer, on a scale of their own.
    for role, stem in (("student", "learning-curves"), ("teacher", "learning-curves-of-teachers")):
        cells = [result.record for result in results if not Setting.of(result.record.cell).variant]
        records = [record for record in cells if record.cell.role == role]
        if quantities(records):
            files += learning_curves(records, plots / f"{prefix}{stem}")
    return files


def _with_and_without(
    rows: Sequence[Row], scores: Sequence[ClassScores], model: str, shot: int
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
