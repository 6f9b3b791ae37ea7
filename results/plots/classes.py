"""One student class by class: accuracy beside its teacher's, and which classes it takes for which."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from numpy.typing import NDArray

from fewdistill.results import ResultError
from fewdistill.results.plots.style import (
    SMALLEST,
    STYLE,
    WIDTH,
    colours,
    distillation_marks,
    folded,
    legend_above,
    save,
    shapes,
    used_distillations,
)
from fewdistill.results.records.record import at_shot
from fewdistill.results.summary.per_class import ClassScores

_LINE = 0.19  # inches


def class_plot(scores: Sequence[ClassScores], model: str, shot: int | None, stem: Path | str) -> list[Path]:
    """Accuracy (%) of each class: a mark for each distillation of one student, and for the teachers.

    scores: of one shot. Thick bars: closed 95 % over episodes; thin ones: lowest to highest training seed. Hardest
    class for the teacher (or the student, without one) below. Writes ``stem``.svg, .png and .pdf; raises ResultError
    where the student has no finished record.
    """
    drawn = [one for one in scores if one.setting.role == "teacher" or one.setting.model == model]
    if all(one.setting.role == "teacher" for one in drawn):
        raise ResultError(f"no finished {_at(scores, shot)} record of {model}; nothing to plot by class")
    everything, settings = [one.setting for one in scores], [one.setting for one in drawn]
    colour, shape = colours(everything), shapes(everything)
    first = drawn[0]  # teachers stand first
    names = sorted(
        {name for one in drawn for name in one.accuracy},
        key=lambda name: (first.accuracy[name].mean if name in first.accuracy else 2.0, name),
    )
    kinds = [kind for kind in used_distillations(everything) if any(kind == s.distillation for s in settings)]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            figsize=(WIDTH, 0.75 + _LINE * len(names) + 0.16 * ((len(kinds) + 3) // 3)), layout="constrained"
        )
        for place, one in enumerate(drawn):
            kind = one.setting.distillation
            aside = 0.3 - 0.6 * (place + 0.5) / len(drawn)
            for y, name in enumerate(names):
                if name not in one.accuracy:
                    continue
                value, seeds = one.accuracy[name], one.by_seed[name]
                axes.plot([100 * min(seeds), 100 * max(seeds)], [y + aside] * 2, color=colour[kind], lw=0.6, zorder=2)
                axes.errorbar(
                    100 * value.mean, y + aside, xerr=100 * value.half_width, fmt=shape[kind], color=colour[kind],
                    elinewidth=1.4, ms=6 if kind == "-" else 3.8, mew=0.3, mec="white", zorder=3,
                )  # fmt: skip
        axes.set_yticks(range(len(names)), [folded(name, 26) for name in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.axvline(100 / settings[0].way, color="#444444", lw=0.7, ls=(0, (1, 1.5)), zorder=0)
        axes.set_xlabel(f"{model}: {_at(scores, shot)} {settings[0].metrics.main.axis}")
        axes.grid(True, axis="x")
        chance = plt.Line2D([], [], color="#444444", lw=0.7, ls=(0, (1, 1.5)), label="chance")
        seeds_line = plt.Line2D([], [], color="#444444", lw=0.6, label="lowest to highest seed")
        legend_above(figure, [*distillation_marks(kinds, everything), chance, seeds_line], 3)
        return save(figure, stem)


def confusion_plot(plain: ClassScores, taught: ClassScores, shot: int | None, stem: Path | str) -> list[Path]:
    """Confusions (%) of a student without distillation, with it, and the difference; rows are the true classes.

    Classes are numbered alike in rows and columns; ties have no column. Writes ``stem``.svg, .png and .pdf; raises
    ResultError where a record keeps no answers.
    """
    for one in (plain, taught):
        if one.confusion is None:
            raise ResultError(f"{one.setting.name}, {_at([one], shot)}: the records keep no answers; nothing to plot")
    rows = sorted(set(plain.accuracy) | set(taught.accuracy))
    columns = sorted(set(plain.answers) | set(taught.answers))
    without, after = (100 * _placed(scores, rows, columns) for scores in (plain, taught))
    numbers = {name: number for number, name in enumerate(sorted({*rows, *columns}), 1)}
    titles = ("no distillation", taught.setting.distillation, "difference (points)")
    side = max(1.75, 0.1 * len(rows))
    with plt.rc_context(STYLE | {"axes.spines.top": True, "axes.spines.right": True}):
        figure, panels = plt.subplots(3, 1, figsize=(WIDTH, 0.55 + 3 * (side + 0.42)), layout="constrained")
        top = float(np.nanmax([without, after]))
        widest = max(float(np.nanmax(np.abs(after - without))), 1e-9)
        shares: dict[str, Any] = {"cmap": "Blues", "norm": PowerNorm(0.5, 0, top)}  # so that rare ones show
        for axes, values, title, how in zip(
            panels, (without, after, after - without), titles,
            (shares, shares, {"cmap": "PuOr", "vmin": -widest, "vmax": widest}),
            strict=True,
        ):  # fmt: skip
            image = axes.imshow(values, aspect="auto", interpolation="nearest", **how)
            figure.colorbar(image, ax=axes, pad=0.02, fraction=0.06).ax.tick_params(labelsize=SMALLEST)
            _ticks(axes, [f"{name} {numbers[name]}" for name in rows], [str(numbers[name]) for name in columns])
            axes.set_title(title)
        panels[-1].set_xlabel("answered class")
        figure.suptitle(f"{taught.setting.model}, {_at([taught], shot)}: answers to each class (%)", fontsize=7.5)
        return save(figure, stem)


def _at(scores: Sequence[ClassScores], shot: int | None) -> str:
    return at_shot(shot, scores[0].setting.protocol) if scores else f"{shot}-shot"


def _placed(scores: ClassScores, rows: Sequence[str], columns: Sequence[str]) -> NDArray[np.float64]:
    """Shares (rows, columns); NaN for a class that was never asked, 0 for an answer never given."""
    assert scores.confusion is not None
    found = dict(zip(scores.accuracy, scores.confusion, strict=True))
    place = {name: number for number, name in enumerate(scores.answers)}
    return np.array(
        [
            [found[row][place[column]] if row in found and column in place else (0.0 if row in found else np.nan)
             for column in columns]
            for row in rows
        ]
    )  # fmt: skip


def _ticks(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Every row by name; as many columns as have room."""
    every = 1 + len(columns) // 17
    axes.set_yticks(range(len(rows)), rows, fontsize=SMALLEST)
    axes.set_xticks(range(0, len(columns), every), columns[::every], fontsize=SMALLEST)
    axes.tick_params(length=0)
