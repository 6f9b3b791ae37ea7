"""What all figures share: one column wide, colours told apart with any vision, marks told apart in grey, same bytes."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fewdistill.results import ResultError
from fewdistill.results.summary.rows import Setting

WIDTH = 3.5  # inches: one column of a paper
SMALLEST = 6.5  # points: the smallest print

# Okabe and Ito, "Color Universal Design" (2008): told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
PLAIN, TEACHER = "#7f7f7f", "#000000"
MARKERS = "os^Dv<>Ph"
DASHES: tuple[Any, ...] = ((None, None), (4, 1.5), (1, 1), (5, 1, 1, 1))

STYLE: dict[Any, Any] = {
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "svg.hashsalt": "fewdistill",
    "pdf.fonttype": 42,  # letters stay letters
    "path.simplify": True,
}


def colours(settings: Iterable[Setting]) -> dict[str, str]:
    """Colour of each distillation: plain training grey, teachers black, the others by name."""
    names = sorted({setting.distillation for setting in settings} - {"none", "-"})
    return {"none": PLAIN, "-": TEACHER} | {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def shapes(settings: Iterable[Setting]) -> dict[str, str]:
    """Marker of each distillation, which goes with its colour; a teacher is a star."""
    names = sorted({setting.distillation for setting in settings} - {"none", "-"})
    return {"none": "o", "-": "*"} | {name: "s^DvPh<>"[i % 8] for i, name in enumerate(names)}


def markers(settings: Iterable[Setting]) -> dict[str, str]:
    """Marker of each student by name; a teacher is a star."""
    settings = list(settings)
    students = sorted({setting.model for setting in settings if setting.role == "student"})
    teachers = {setting.model: "*" for setting in settings if setting.role == "teacher"}
    return teachers | {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(students)}


def dashes(settings: Iterable[Setting]) -> dict[str, Any]:
    """Line of each model: teachers whole, students by name."""
    settings = list(settings)
    students = sorted({setting.model for setting in settings if setting.role == "student"})
    teachers = {setting.model: DASHES[0] for setting in settings if setting.role == "teacher"}
    return teachers | {name: DASHES[i % len(DASHES)] for i, name in enumerate(students)}


def folded(text: str, width: int) -> str:
    """Lines of at most ``width`` characters, broken behind a space, a plus, a hyphen or an underscore."""
    for mark in "+_":
        text = text.replace(mark, f"{mark}\u200b")
    lines = wrap(text.replace("\u200b", " \u200b"), width)
    return "\n".join(line.replace(" \u200b", "").replace("\u200b", "") for line in lines)


def distillation_marks(names: Iterable[str], settings: Sequence[Setting], **more: Any) -> list[Line2D]:
    """Legend entries of these distillations ("-": the teacher)."""
    colour, shape = colours(settings), shapes(settings)
    words = {"none": "no distillation", "-": "teacher"}
    return [
        plt.Line2D(
            [], [], color=colour[name], marker=shape[name], ms=7 if name == "-" else 4.5, mew=0.4, mec="white",
            label=words.get(name, name), **({"ls": ""} | more),
        )
        for name in names
    ]  # fmt: skip


def used_distillations(settings: Sequence[Setting]) -> list[str]:
    """Distillations that occur, plain training first, the teacher's "-" last."""
    used = {setting.distillation for setting in settings}
    return [name for name in colours(settings) if name in used and name != "-"] + ["-"] * ("-" in used)


def legend_above(figure: Figure, handles: Sequence[Line2D], columns: int) -> None:
    figure.legend(
        handles=list(handles), loc="outside upper left", ncols=columns, handlelength=1.6, columnspacing=1.0,
        handletextpad=0.5, borderaxespad=0.2, labelspacing=0.3,
    )  # fmt: skip


def save(figure: Figure, stem: Path | str) -> list[Path]:
    """Write ``stem``.svg, .png (300 dpi) and .pdf, the same bytes for the same figure, and close it.

    Raises ResultError when the folder cannot be written.
    """
    stem = Path(stem)
    kinds: dict[str, dict[str, Any]] = {
        ".svg": {"metadata": {"Date": None}},
        ".png": {"metadata": {"Software": None}, "dpi": 300},
        ".pdf": {"metadata": {"CreationDate": None, "Producer": None, "Creator": None}},
    }
    paths = [stem.with_name(stem.name + suffix) for suffix in kinds]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # laid out once, not again for each format
        for path, how in zip(paths, kinds.values(), strict=True):
            figure.savefig(path, **how)
    except OSError as error:
        raise ResultError(f"{stem}: cannot be written ({error})") from error
    finally:
        plt.close(figure)
    return paths
