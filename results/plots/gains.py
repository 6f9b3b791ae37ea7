"""What each distillation, or each variant, is worth: paired gains with their intervals, a line each."""

import functools
from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from fewdistill.results import ResultError
from fewdistill.results.plots.style import SMALLEST, STYLE, WIDTH, colours, folded, legend_above, save, shapes
from fewdistill.results.summary.rows import Row, Setting, at_of, labels

_LINE = 0.165  # inches
_LETTERS = 28  # of a name, to a line


def gains_plot(rows: Sequence[Row], shot: int | None, stem: Path | str, variants: bool = False) -> list[Path]:
    """Gains of one shot in points of accuracy, students above and teachers below on a scale of their own.

    What each distillation gains over plain training, or each variant over the suite as it stands.

    Thick bar: 95 % over other test episodes; thin: over other seeds as well (where there are several). A filled mark
    is a gain that may be claimed. Writes ``stem``.svg, .png and .pdf; raises ResultError without a gain.
    """
    found = [row for row in rows if row.shot == shot and row.gain and bool(row.setting.variant) == variants]
    if not found:
        what = "variant" if variants else "record"
        raise ResultError(f"no {at_of(rows, shot)} {what} has a paired gain; nothing to plot")
    main = found[0].main
    settings = [row.setting for row in found]
    parts = [
        _grouped([row for row in found if row.setting.role == role], labels(settings))
        for role in ("student", "teacher")
        if any(setting.role == role for setting in settings)
    ]
    counts = [sum(1 + 2 * _more(name) + len(group) for name, group in part.items()) for part in parts]
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(
            len(parts), 1, figsize=(WIDTH, 0.55 + sum(0.35 + _LINE * count for count in counts)), squeeze=False,
            layout="constrained", height_ratios=counts,
        )  # fmt: skip
        for axes, part in zip(panels[:, 0], parts, strict=True):
            _panel(axes, part, [row.setting for row in rows])
        panels[-1, 0].set_xlabel(f"{found[0].at} gain ({main.points} of {main.name})")
        dot = functools.partial(plt.Line2D, [], [], ls="", color="#444444", marker="o", ms=4.5)
        handles = [
            plt.Line2D([], [], color="#444444", lw=2.2, label=f"95 %, {found[0].setting.metrics.sample}s"),
            plt.Line2D([], [], color="#444444", lw=0.8, label="95 %, seeds too"),
            dot(label="claimed"),
            dot(label="not claimed", mfc="white"),
        ]
        legend_above(figure, handles, 2)
        return save(figure, stem)


def _grouped(rows: Sequence[Row], model: dict[Setting, str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        setting = row.setting
        name = model[setting] if not setting.variant else f"{model[setting]} / {setting.distillation}"
        if setting.role == "teacher":  # of one suite, or one for every stream
            name = f"teacher {model[setting]}" if setting.metrics.stream_teachers else "teacher"
        groups.setdefault(name, []).append(row)
    return groups


def _more(name: str) -> float:
    """How much further from its middle than one line a group's folded name reaches, in lines."""
    return 0.35 * folded(name, _LETTERS).count("\n")


def _panel(axes: Axes, part: dict[str, list[Row]], settings: Sequence[Setting]) -> None:
    colour, shape = colours(settings), shapes(settings)
    ticks: list[tuple[float, str, bool]] = []
    y = 0.0
    for name, group in part.items():
        y -= _more(name)
        ticks.append((y, name, True))
        y -= _more(name)
        for row in group:
            y -= 1
            gain, kind, scale = row.gain, row.setting.distillation, row.main.scale
            assert gain
            spans = [(gain.headline, 0.8), (gain.episodes, 2.2)]
            for span, width in spans:
                axes.plot(
                    [scale * span.low, scale * span.high], [y, y], color=colour[kind], lw=width, solid_capstyle="butt"
                )
            axes.plot(
                scale * gain.mean, y, marker=shape[kind], ms=6 if kind == "-" else 4.5, mew=0.9, mec=colour[kind],
                mfc=colour[kind] if row.claimed else "white", zorder=3,
            )  # fmt: skip
            wide = gain.headline
            figures = f"{scale * gain.mean:+.1f} [{scale * wide.low:.1f}, {scale * wide.high:.1f}]".replace(
                "-", "\u2212"
            )
            axes.text(1.02, y, figures, transform=axes.get_yaxis_transform(), fontsize=SMALLEST, va="center")
            ticks.append((y, row.setting.variant or kind, False))
        y -= 1
    axes.axvline(0, color="#444444", lw=0.7, zorder=0)
    axes.set_yticks([at for at, _, _ in ticks], [folded(name, _LETTERS) for _, name, _ in ticks])
    for label, (_, _, head) in zip(axes.get_yticklabels(), ticks, strict=True):
        label.set_fontweight("bold" if head else "normal")
    axes.set_ylim(y + 0.4, 0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
