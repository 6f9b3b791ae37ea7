"""Figures for paper: accuracy over compute, and learning curves; SVG, PNG and PDF, the same bytes for same records."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from fewdistill.results import ResultError
from fewdistill.results.plots.labels import Bar, name_clusters, side_by_side
from fewdistill.results.plots.style import (
    STYLE,
    TEACHER,
    WIDTH,
    colours,
    dashes,
    distillation_marks,
    folded,
    legend_above,
    save,
    shapes,
    used_distillations,
)
from fewdistill.results.records.metrics import macs_of
from fewdistill.results.records.record import Record
from fewdistill.results.stats import pareto_front
from fewdistill.results.summary.cost import RowCost
from fewdistill.results.summary.rows import Row, Setting, at_of, labels

Line = tuple[Setting, tuple[int, ...], tuple[float, ...]]

COSTS: dict[str, tuple[str, Callable[[RowCost], float | None]]] = {
    "macs": ("GMACs per episode", lambda cost: cost.gmacs_per_episode),
    "latency": ("latency per video (ms)", lambda cost: cost.latency_ms),
    "parameters": ("parameters (M)", lambda cost: cost.parameters_m),
    "bytes": ("size of the model (MB)", lambda cost: cost.size_mb),
}
"""Axes of cost: label, and where a row keeps it."""


def has_cost(rows: Iterable[Row], shot: int | None, cost: str) -> bool:
    """Whether there is anything to draw: students with an accuracy and this cost."""
    pick = COSTS[cost][1]
    return any(row.shot == shot and row.accuracy and pick(row.cost) for row in rows)


def accuracy_over_cost(rows: Sequence[Row], shot: int | None, stem: Path | str, cost: str = "macs") -> list[Path]:
    """Accuracy, or the protocol's main figure, over a cost (log; a key of COSTS) at one shot, and the Pareto front.

    A colour and a marker per distillation, the model's name beside its points, teachers as stars. Thick bars: closed
    95 % over episodes; thin ones: lowest to highest training seed. Settings of one model that cost the same, in the
    supervised protocol with those of its other streams, and models that cost almost the same, are set side by side so
    that none hides another, while the front keeps to their cost. Writes ``stem``.svg, .png and .pdf and returns their
    paths; raises ResultError when no row has both an accuracy and this cost.
    """
    axis, pick = COSTS[cost]
    points = [(row, at, row.accuracy) for row in rows if row.shot == shot and row.accuracy and (at := pick(row.cost))]
    if not points:
        raise ResultError(f"no {at_of(rows, shot)} record has both an accuracy and {axis}; nothing to plot")
    first = points[0][0]
    main, scale = first.main, first.main.scale
    axis = macs_of({row.setting.protocol for row, _, _ in points}) if cost == "macs" else axis
    everything = [row.setting for row in rows]  # so that all figures of these rows have the same colours
    colour, shape = colours(everything), shapes(everything)
    settings = [row.setting for row, _, _ in points]
    model = labels(settings)
    low, high = min(at for _, at, _ in points), max(at for _, at, _ in points)
    step = 0.014 * math.log10(2.6 * high / low)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 2.9), layout="constrained")
        front = pareto_front([at for _, at, _ in points], [main.sign * value.mean for _, _, value in points])
        [line] = axes.step(
            [points[i][1] for i in front], [scale * points[i][2].mean for i in front],
            where="post", color="#999999", lw=0.9, ls=(0, (4, 2)), zorder=1, label="Pareto front",
        )  # fmt: skip
        clusters: dict[str, list[Bar]] = defaultdict(list)
        groups = _equals(points, model)
        middles = side_by_side([math.log10(at) for _, at in groups], [len(group) for group in groups.values()], step)
        for ((name, _), group), middle in zip(groups.items(), middles, strict=True):
            for place, (row, value) in enumerate(group):
                x = 10 ** (middle + step * (place - (len(group) - 1) / 2))
                kind = row.setting.distillation
                mean, seeds = scale * value.mean, [scale * accuracy for _, accuracy in row.by_seed]
                axes.vlines(x, min(seeds), max(seeds), color=colour[kind], lw=0.6, zorder=2)
                axes.errorbar(
                    x, mean, yerr=scale * value.half_width, fmt=shape[kind], color=colour[kind], elinewidth=1.4,
                    ms=8 if kind == "-" else 4.5, mew=0.4, mec="white", zorder=3,
                )  # fmt: skip
                low_end, high_end = mean - scale * value.half_width, mean + scale * value.half_width
                clusters[name].append((x, min(low_end, *seeds), max(high_end, *seeds)))
        axes.set_xscale("log")
        axes.set_xlim(low / 1.8, high * 1.8)
        axes.margins(y=max(0.12, 0.05 + 0.02 * len(clusters)))  # room for names
        axes.xaxis.set_major_locator(LogLocator(10, (1.0, 2.0, 5.0) if high / low < 200 else (1.0,), numticks=12))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(axis)
        axes.set_ylabel(f"{first.at} {main.axis}")
        axes.grid(True, which="major")
        seeds_line = plt.Line2D([], [], color="#444444", lw=0.6, label="lowest to highest seed")
        kinds = [kind for kind in used_distillations(everything) if any(kind == s.distillation for s in settings)]
        lines = [line, seeds_line] if len(front) > 1 else [seeds_line]
        legend_above(figure, [*distillation_marks(kinds, everything), *lines], 3)
        name_clusters(axes, clusters, line)
        return save(figure, stem)


def learning_curves(records: Iterable[Record], stem: Path | str) -> list[Path]:
    """Every quantity of the records' curves over the training step: a panel each, a line for each setting.

    A setting is trained once, whatever shots it is scored at: its records carry the same curve. A curve with one
    point is none.

    A line is the mean over seeds. Quantities with "accuracy" in their name are fractions and shown in %. Quantities
    that are everywhere the same share a panel. Writes ``stem``.svg, .png and .pdf; raises ResultError when no record
    has a curve.
    """
    records = list(records)
    groups = by_setting(records)
    names = quantities(record for group in groups.values() for record in group)
    if not names:
        raise ResultError("no record has a learning curve; nothing to plot")
    panels: dict[tuple[Line, ...], list[str]] = defaultdict(list)
    for name in names:
        curves = [(setting, *mean_curve(group, name)) for setting, group in groups.items()]
        panels[tuple((s, tuple(steps), tuple(values)) for s, steps, values in curves if len(steps) > 1)].append(name)
    settings = sorted({setting for lines in panels for setting, _, _ in lines}, key=list(groups).index)
    everything = [Setting.of(record.cell) for record in records]  # for the same colours as in other figures
    colour, shape, dash = colours(everything), shapes(everything), dashes(settings)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(panels), 1, figsize=(WIDTH, 0.8 + 1.45 * len(panels)), sharex=True, squeeze=False, layout="constrained"
        )
        for axes, (lines, same) in zip(grid[:, 0], panels.items(), strict=True):
            for place, (setting, steps, values) in enumerate(lines):
                every = max(1, len(steps) // 5)
                axes.plot(
                    steps, values, color=colour[setting.distillation], lw=0.9, alpha=0.85, dashes=dash[setting.model],
                    marker="" if setting.role == "teacher" else shape[setting.distillation], ms=3.5,
                    mew=0.3, mec="white", markevery=(place % every, every),
                )  # fmt: skip
            axes.set_ylabel(folded(" and ".join(title(name) for name in same), 26))
            axes.grid(True)
        grid[-1, 0].set_xlabel("training step")
        teachers = {setting.model for setting in settings if setting.role == "teacher"}
        models = [
            plt.Line2D(
                [], [], color=TEACHER if name in teachers else "#444444", lw=0.9, dashes=dash[name],
                label=folded(f"{name} (teacher)" if name in teachers else name, 40),
            )
            for name in sorted(dash, key=lambda name: (name in teachers, name))
        ]  # fmt: skip
        drawn = {setting.distillation for setting in settings} - {"-"}
        kinds = [name for name in used_distillations(everything) if name in drawn]
        marks = distillation_marks(kinds, everything, ls="-", lw=0.9)
        blank = plt.Line2D([], [], ls="", label=" ")  # so that each kind keeps its column
        rows = max(len(marks), len(models))
        columns = [*marks, *[blank] * (rows - len(marks)), *models, *[blank] * (rows - len(models))]
        legend_above(figure, columns if marks else models, 2 if marks else 1)
        return save(figure, stem)


def quantities(records: Iterable[Record]) -> list[str]:
    """Names of the numbers that have a curve (two steps of a record or more), in the order they first occur."""
    names: dict[str, None] = {}
    for record in records:
        seen: set[str] = set()
        for point in record.curve:
            found = [name for name, value in point.items() if name != "step" and _is_number(value)]
            names |= {name: None for name in found if name in seen}
            seen |= set(found)
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


def _equals(points: Sequence[tuple[Row, float, Any]], model: dict[Setting, str]) -> dict[tuple[str, float], list[Any]]:
    """Points of one model at one cost, by its name; of the streams of one network together, by its name and theirs."""
    groups: dict[tuple[str, float], list[Any]] = defaultdict(list)
    for row, at, value in points:
        setting = row.setting
        by_stream = setting.metrics.stream_teachers
        network = setting.model.removesuffix(f"-{setting.stream}") if by_stream else model[setting]
        groups[network, at].append((row, value))
    named = {}
    for (name, at), group in groups.items():
        streams = dict.fromkeys(row.setting.stream for row, _ in group if row.setting.metrics.stream_teachers)
        named[f"{name}{'-' if len(streams) == 1 else ': ' if streams else ''}{', '.join(streams)}", at] = group
    return named
