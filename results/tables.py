"""Rows as tables: numbers for CSV, short readable cells for Markdown, LaTeX and the report."""

import math
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd

from results import ResultError
from results.summary import Row, Setting

DASH = "\N{EN DASH}"

_ALWAYS = ("model", "distillation")
_SHOWN_IF_MIXED = ("suite", "dataset", "split", "way", "query", "frames", "image_size", "head", "variant")

# Numbers of one shot: column of the CSV, and how many decimals a reader wants.
_PER_SHOT = {
    "accuracy %": 2, "±": 2, "seeds": 0, "planned": 0, "gain": 2, "gain low": 2, "gain high": 2,
    "p (Holm)": 4, "GMACs/episode": 1, "thop GMACs/episode": 1, "latency ms/video": 1,
}  # fmt: skip


def main_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Accuracy, gain and cost: rows model x distillation, columns (shot, quantity), then ("", "parameters M").

    Accuracies, half-widths (closed, 95 %) and gains in percentage points; the gain's interval and Holm-corrected p
    cover training seeds and episodes, or episodes alone where there is one seed. Where there is no accuracy or no
    gain the cell says why in words.
    """
    index = _index(rows)
    table: dict[tuple[str, str], dict[tuple[str, ...], object]] = {}
    for shot in sorted({row.shot for row in rows}):
        for name in _PER_SHOT:
            table[f"{shot}-shot", name] = {}
    table["", "parameters M"] = {}
    for row, place in zip(rows, index, strict=True):
        for name, value in _numbers(row).items():
            table[f"{row.shot}-shot", name][place] = value
        if row.cost.parameters_m is not None or place not in table["", "parameters M"]:
            table["", "parameters M"][place] = row.cost.parameters_m
    places = pd.MultiIndex.from_tuples(list(dict.fromkeys(index)), names=axes_of(rows))
    frame = pd.DataFrame(
        {column: [cells.get(place) for place in places] for column, cells in table.items()},
        index=places,
        dtype=object,
    )
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The main table as a reader wants it: "71.2 ± 0.4 (3 seeds)", "+3.1 [2.2, 4.0], p 0.003"; all text."""
    shown: dict[tuple[str, str], list[str]] = {}
    for shot in dict.fromkeys(column[0] for column in table.columns if column[0]):
        block = table[shot].to_dict("records")
        shown[shot, "accuracy %"] = [_accuracy_text(cells) for cells in block]
        shown[shot, "gain (95 %)"] = [_gain_text(cells) for cells in block]
        for name in ("GMACs/episode", "thop GMACs/episode", "latency ms/video"):
            shown[shot, name] = [number(cells[name], _PER_SHOT[name]) for cells in block]
    shown["", "parameters M"] = [number(value, 2) for value in table["", "parameters M"]]
    frame = pd.DataFrame(shown, index=table.index)
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def cost_table(rows: Sequence[Row]) -> pd.DataFrame:
    """What each setting costs at each shot: numbers, NaN where not measured; G means 1e9 multiply-accumulates.

    A column that no row measured is left out.
    """
    records: list[dict[str, object]] = []
    for row, place in zip(rows, _index(rows), strict=True):
        cost = row.cost
        record: dict[str, object] = dict(zip(axes_of(rows), place, strict=True))
        records.append(
            record
            | {
                "shot": row.shot,
                "parameters M": cost.parameters_m,
                "GMACs/video": cost.gmacs_per_video,
                "GMACs/episode": cost.gmacs_per_episode,
                "thop GMACs/episode": cost.thop_gmacs_per_episode,
                "latency ms/video (p50)": cost.latency_ms,
                "threads": cost.latency_threads,
                "training s": cost.training_seconds,
                "counter": cost.counter,
            }
        )
    return pd.DataFrame(records).set_index([*axes_of(rows), "shot"]).dropna(axis=1, how="all")


def gains_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Paired gains over what each setting is compared with in percentage points, with each interval on its own."""
    records = []
    for row, place in zip(rows, _index(rows), strict=True):
        gain = row.gain
        if gain is None:
            continue
        spans = {"episodes": gain.episodes, "seeds": gain.seeds, "both": gain.both}
        record: dict[str, object] = dict(zip(axes_of(rows), place, strict=True))
        record |= {"shot": row.shot, "gain": 100 * gain.mean, "seeds": gain.n_seeds}
        for name, span in spans.items():
            record[f"{name} low"] = 100 * span.low if span else None
            record[f"{name} high"] = 100 * span.high if span else None
        records.append(record | {"p": gain.headline.p, "p (Holm)": row.p, "claimed": row.claimed})
    frame = pd.DataFrame(records)
    return frame.set_index([*axes_of(rows), "shot"]) if records else frame


def write_table(table: pd.DataFrame, stem: Path | str, shown: pd.DataFrame | None = None) -> list[Path]:
    """Write ``stem``.csv (all digits), .md and .tex (booktabs, escaped); ``shown`` is what the last two print.

    Returns the paths. Raises ResultError when the folder cannot be written.
    """
    stem = Path(stem)
    text = table if shown is None else shown
    cells = [[*_labels(place), *(number(v) for v in row)] for place, row in zip(text.index, text.values, strict=True)]
    heads = [[*(str(name or "") for name in text.index.names)], *[_labels(column) for column in text.columns]]
    head = [*heads[0], *(" ".join(part for part in column if part) for column in heads[1:])]
    files = {
        ".csv": table.to_csv(lineterminator="\n"),
        ".md": _markdown(head, cells),
        ".tex": _latex(head[: len(heads[0])], [tuple(column) for column in heads[1:]], cells),
    }
    paths = []
    for suffix, content in files.items():
        path = stem.with_name(stem.name + suffix)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise ResultError(f"{path}: cannot be written ({error})") from error
        paths.append(path)
    return paths


def number(value: object, decimals: int | None = None) -> str:
    """A figure with fixed decimals (None: four digits that count), words as they are, an en dash for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.4g}"


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def _numbers(row: Row) -> dict[str, object]:
    accuracy, gain = row.accuracy, row.gain
    span = gain.headline if gain else None
    return {
        "accuracy %": 100 * accuracy.mean if accuracy else row.why,
        "±": 100 * accuracy.half_width if accuracy else None,
        "seeds": len(row.by_seed) if accuracy else None,
        "planned": row.planned if accuracy else None,
        "gain": 100 * gain.mean if gain else row.gain_why,
        "gain low": 100 * span.low if span else None,
        "gain high": 100 * span.high if span else None,
        "p (Holm)": row.p,
        "GMACs/episode": row.cost.gmacs_per_episode,
        "thop GMACs/episode": row.cost.thop_gmacs_per_episode,
        "latency ms/video": row.cost.latency_ms,
    }


def _accuracy_text(cells: dict[str, object]) -> str:
    if not isinstance(cells["accuracy %"], float):
        return number(cells["accuracy %"])
    seeds, planned = cells["seeds"], cells["planned"]
    count = f"{seeds}" if seeds == planned else f"{seeds} of {planned}"
    return f"{number(cells['accuracy %'], 2)} ± {number(cells['±'], 2)} ({count} seed{'s' if planned != 1 else ''})"


def _gain_text(cells: dict[str, object]) -> str:
    gain, p = cells["gain"], cells["p (Holm)"]
    if not isinstance(gain, float) or not isinstance(p, float):
        return number(gain)
    return f"{gain:+.2f} [{number(cells['gain low'], 2)}, {number(cells['gain high'], 2)}], {p_text(p)}"


def axes_of(rows: Sequence[Row]) -> list[str]:
    """Axes worth a column: the ones that always matter, and those in which the rows differ."""
    varied = {name for name in _SHOWN_IF_MIXED if len({getattr(row.setting, name) for row in rows}) > 1}
    order = [field.name for field in fields(Setting)]
    return [name for name in order if name in varied or name in _ALWAYS]


def _index(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    if not rows:
        raise ResultError("no records to tabulate; run a suite first")
    return [tuple(str(getattr(row.setting, name)) for name in axes_of(rows)) for row in rows]


def _labels(place: object) -> list[str]:
    return [str(part) for part in place] if isinstance(place, tuple) else [str(place)]


def _markdown(head: list[str], cells: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *cells]
    safe = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in safe)


def _latex(index: list[str], columns: list[tuple[str, ...]], cells: list[list[str]]) -> str:
    """A booktabs tabular; neighbouring columns of one shot stand under one spanning head."""
    spans: list[tuple[str, int]] = []
    for column in columns:
        group = column[0] if len(column) > 1 else ""
        if spans and spans[-1][0] == group:
            spans[-1] = (group, spans[-1][1] + 1)
        else:
            spans.append((group, 1))
    lines = ["\\begin{tabular}{" + "l" * len(index) + "r" * len(columns) + "}", "\\toprule"]
    if any(group for group, _ in spans):
        parts, rules, at = [""] * len(index), "", len(index) + 1
        for group, width in spans:
            parts.append(f"\\multicolumn{{{width}}}{{c}}{{{_escape(group)}}}")
            rules += f"\\cmidrule(lr){{{at}-{at + width - 1}}}" if group else ""
            at += width
        lines += [" & ".join(parts) + r" \\", rules]
    lines += [
        " & ".join(_escape(name) for name in [*index, *(column[-1] for column in columns)]) + r" \\",
        "\\midrule",
    ]
    lines += [" & ".join(_escape(cell) for cell in row) + r" \\" for row in cells]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _escape(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
               DASH: "--", "<": "$<$", ">": "$>$", "\n": " "}  # fmt: skip
    escaped = "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", escaped)  # a minus, not a hyphen
