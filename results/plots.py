"""Figures for paper: accuracy over compute, and learning curves; SVG and PNG, the same bytes for the same records."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from results import ResultError
from results.record import Record
from results.stats import pareto_front
from results.summary import Row, Setting

WIDTH = 3.5  # inches: one column of a paper

# Okabe and Ito, "Color Universal Design" (2008): told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
PLAIN, TEACHER = "#7f7f7f", "#000000"
MARKERS = "os^Dv<>Ph"

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "svg.hashsalt": "fewdistill",
    "path.simplify": True,
}


def colours(settings: Iterable[Setting]) -> dict[str, str]:
    """Colour of each distillation: plain training grey, teachers black, the others by name."""
    names = sorted({setting.distillation for setting in settings} - {"none", "-"})
    return {"none": PLAIN, "-": TEACHER} | {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def markers(settings: Iterable[Setting]) -> dict[str, str]:
    """Marker of each student by name; a teacher is a star."""
    settings = list(settings)
    students = sorted({setting.model for setting in settings if setting.role == "student"})
    teachers = {setting.model: "*" for setting in settings if setting.role == "teacher"}
    return teachers | {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(students)}


def accuracy_over_cost(rows: Sequence[Row], shot: int, stem: Path | str) -> list[Path]:
    """Accuracy (%) over GMACs per episode (log) at one shot, with closed 95 % intervals and the Pareto front.

    A marker per model, a colour per distillation, teachers as stars. Students of one model cost the same; their marks
    are set side by side about that cost so that none hides another, while the front keeps to it. Writes ``stem``.svg
    and ``stem``.png and returns their paths; raises ResultError when no row has both an accuracy and a count of MACs.
    """
    points = [
        (row, row.cost.gmacs_per_episode, row.accuracy)
        for row in rows
        if row.shot == shot and row.accuracy and row.cost.gmacs_per_episode
    ]
    if not points:
        raise ResultError(f"no {shot}-shot record has both an accuracy and MACs per episode; nothing to plot")
    settings = [row.setting for row, _, _ in points]
    colour, marker = colours(settings), markers(settings)
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 2.9))
        front = pareto_front([cost for _, cost, _ in points], [100 * value.mean for _, _, value in points])
        axes.step(
            [points[i][1] for i in front], [100 * points[i][2].mean for i in front],
            where="post", color="#999999", lw=0.9, ls=(0, (4, 2)), zorder=1,
        )  # fmt: skip
        low, high = min(cost for _, cost, _ in points), max(cost for _, cost, _ in points)
        names = sorted(
            {setting.distillation for setting in settings if setting.role == "student"}, key=list(colour).index
        )
        step = 0.012 * math.log10(2.6 * high / low)
        for row, cost, value in points:
            name = row.setting.distillation
            aside = step * (names.index(name) - (len(names) - 1) / 2) if name in names else 0.0
            axes.errorbar(
                cost * 10**aside, 100 * value.mean, yerr=100 * value.half_width, fmt=marker[row.setting.model],
                color=colour[name], ms=8 if row.setting.role == "teacher" else 4.5,
                elinewidth=0.8, capsize=1.5, mew=0.4, mec="white", alpha=0.95, zorder=3,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlim(low / 1.6, high * 1.6)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("GMACs per episode (equal costs set side by side)" if len(names) > 1 else "GMACs per episode")
        axes.set_ylabel(f"{shot}-shot accuracy (%)")
        axes.grid(True, which="major")
        axes.set_axisbelow(True)
        _legend(figure, settings, colour, marker)
        return _save(figure, Path(stem))


def learning_curves(records: Iterable[Record], stem: Path | str) -> list[Path]:
    """Every quantity of the records' curves over the training step: a panel each, a line for each setting.

    A setting is trained once, whatever shots it is scored at: its records carry the same curve.

    A line is the mean over seeds. Quantities with "accuracy" in their name are fractions and shown in %.
    Writes ``stem``.svg and ``stem``.png; raises ResultError when no record has a curve.
    """
    groups = by_setting(records)
    names = quantities(record for group in groups.values() for record in group)
    if not names:
        raise ResultError("no record has a learning curve; nothing to plot")
    settings = list(groups)
    colour, marker = colours(settings), markers(settings)
    dashes = {name: [(None, None), (4, 1.5), (1, 1), (5, 1, 1, 1)][i % 4] for i, name in enumerate(sorted(marker))}
    with plt.rc_context(_STYLE):
        figure, panels = plt.subplots(
            len(names), 1, figsize=(WIDTH, 0.5 + 1.55 * len(names)), sharex=True, squeeze=False
        )
        for axes, name in zip(panels[:, 0], names, strict=True):
            for setting, group in groups.items():
                steps, values = mean_curve(group, name)
                axes.plot(
                    steps, values, color=colour[setting.distillation], lw=0.9, alpha=0.85, dashes=dashes[setting.model]
                )
            axes.set_ylabel(title(name))
            axes.grid(True)
        panels[-1, 0].set_xlabel("training step")
        _legend(figure, settings, colour, marker, dashes)
        return _save(figure, Path(stem))


def quantities(records: Iterable[Record]) -> list[str]:
    """Names of the numbers in the records' curves, "step" aside, in the order they first occur."""
    names: dict[str, None] = {}
    for record in records:
        for point in record.curve:
            names |= {name: None for name, value in point.items() if name != "step" and _is_number(value)}
    return list(names)


def mean_curve(records: Sequence[Record], name: str) -> tuple[list[int], list[float]]:
    """Steps which every record has, and the records' mean of one quantity there; accuracies in %."""
    scale = 100 if "accuracy" in name else 1
    each = [{point["step"]: point[name] for point in r.curve if _is_number(point.get(name))} for r in records]
    steps = sorted(set.intersection(*(set(values) for values in each)))
    return steps, [scale * sum(values[step] for values in each) / len(each) for step in steps]


def by_setting(records: Iterable[Record]) -> dict[Setting, list[Record]]:
    """Records with a curve, one a seed, the seeds of a setting together; of several shots the first counts."""
    groups: dict[Setting, dict[int, Record]] = {}
    for record in records:
        if record.curve:
            groups.setdefault(Setting.of(record.cell), {}).setdefault(record.cell.seed, record)
    return {setting: list(seeds.values()) for setting, seeds in groups.items()}


def title(name: str) -> str:
    return name.replace("_", " ") + (" (%)" if "accuracy" in name else "")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _legend(
    figure: Figure,
    settings: Sequence[Setting],
    colour: dict[str, str],
    marker: dict[str, str],
    dashes: dict[str, Any] | None = None,
) -> None:
    """Two short rows above the axes: shapes are models, colours are distillations."""
    used = [name for name in colour if any(setting.distillation == name for setting in settings) and name != "-"]
    teachers = {setting.model for setting in settings if setting.role == "teacher"}
    models = [
        plt.Line2D(
            [],
            [],
            color=TEACHER if name in teachers else "#444444",
            ms=7 if name in teachers else 4.5,
            lw=0.9,
            marker="" if dashes else marker[name],
            ls="-" if dashes else "",
            label=f"{name} (teacher)" if name in teachers else name,
            **({"dashes": dashes[name]} if dashes else {}),
        )
        for name in sorted(marker, key=lambda name: (name in teachers, name))
    ]
    losses = [
        plt.Line2D([], [], color=colour[name], lw=3, label="no distillation" if name == "none" else name)
        for name in used
    ]
    axes: Axes = figure.axes[0]
    first = axes.legend(
        handles=[*losses, *models],
        loc="lower left",
        bbox_to_anchor=(-0.16, 1.02),
        ncols=2,
        frameon=False,
        handlelength=1.6,
        columnspacing=1.0,
        handletextpad=0.5,
        borderaxespad=0,
        labelspacing=0.3,
    )
    first.set_in_layout(True)


def _save(figure: Figure, stem: Path) -> list[Path]:
    paths = [stem.with_name(stem.name + suffix) for suffix in (".svg", ".png")]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(paths[0], bbox_inches="tight", pad_inches=0.02, metadata={"Date": None})
        figure.savefig(paths[1], bbox_inches="tight", pad_inches=0.02, dpi=300, metadata={"Software": None})
    except OSError as error:
        raise ResultError(f"{stem}: cannot be written ({error})") from error
    finally:
        plt.close(figure)
    return paths
