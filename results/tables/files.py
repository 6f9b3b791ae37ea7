"""Tables as files: CSV with every digit, Markdown and LaTeX (booktabs) with short cells and footnotes."""

import math
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from fewdistill.results import ResultError

DASH = "\N{EN DASH}"
LONGEST_REASON = 18
"""A longer reason leaves its cell and stands beneath the table."""


class Why(str):
    """The reason why a cell holds no figure."""


class Best(str):
    """The best cell of its column: bold where there is type."""


def write_table(
    table: pd.DataFrame, stem: Path | str, shown: pd.DataFrame | None = None, notes: Sequence[str] = ()
) -> list[Path]:
    """Write ``stem``.csv (all digits), .md and .tex (booktabs, escaped); ``shown`` is what the last two print.

    notes: sentences to stand beneath them, before the reasons too long for a cell. Returns the paths. Raises
    ResultError when the folder cannot be written.
    """
    stem = Path(stem)
    text = table if shown is None else shown
    index = [str(name or "") for name in text.index.names]
    columns = [_labels(column) for column in text.columns]
    cells = [[*_labels(place), *map(_text, row)] for place, row in zip(text.index, text.values.tolist(), strict=True)]
    reasons = _footnotes(cells)
    files = {
        ".csv": table.to_csv(lineterminator="\n"),
        ".md": _markdown(index, columns, cells, [*notes, *reasons]),
        ".tex": _latex(index, columns, cells, [*notes, *reasons]),
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


def three_digits(value: float) -> str:
    """Three digits that count, never an exponent: "0.208", "17.8", "1,023"."""
    if not value:
        return "0"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else number(value)


def _labels(place: object) -> list[str]:
    return [str(part) for part in place] if isinstance(place, tuple) else [str(place)]


def _footnotes(cells: list[list[str]]) -> list[str]:
    """Put "see a" in place of each long reason, and return the lines that explain the letters."""
    letters: dict[str, str] = {}
    for line in cells:
        for column, cell in enumerate(line):
            if isinstance(cell, Why) and len(cell) > LONGEST_REASON:
                line[column] = Why(f"see {letters.setdefault(cell, _letter(len(letters)))}")
    return [f"{letter}: {reason}" for reason, letter in letters.items()]


def _letter(place: int) -> str:
    """a, b, ... z, aa, ab, ..."""
    rest = _letter(place // 26 - 1) if place >= 26 else ""
    return rest + "abcdefghijklmnopqrstuvwxyz"[place % 26]


def _markdown(index: list[str], columns: list[list[str]], cells: list[list[str]], notes: Sequence[str]) -> str:
    head = [*index, *(" ".join(part for part in column if part) for column in columns)]
    lines = [head, ["---"] * len(head), *cells]
    table = "".join(f"| {' | '.join(_markdown_cell(cell) for cell in line)} |\n" for line in lines)
    return table + "".join(f"\n{note.replace(chr(10), ' ')}\n" for note in notes)


def _markdown_cell(cell: str) -> str:
    safe = cell.replace("|", "\\|").replace("\n", " ")
    return f"**{safe}**" if isinstance(cell, Best) else safe


def _latex(index: list[str], columns: list[list[str]], cells: list[list[str]], notes: Sequence[str]) -> str:
    """A booktabs tabular; neighbouring columns of one group stand under a spanning head, a model is named once."""
    lines = ["\\begin{tabular}{" + "l" * len(index) + "r" * len(columns) + "}", "\\toprule"]
    for level in range(1, max(map(len, columns), default=1)):
        parts, rules, at = [""] * len(index), "", len(index) + 1
        for group, members in groupby(column[:level] for column in columns):
            width = len(list(members))
            parts.append(f"\\multicolumn{{{width}}}{{c}}{{{_escape(group[-1])}}}")
            rules += f"\\cmidrule(lr){{{at}-{at + width - 1}}}" if group[-1] else ""
            at += width
        if rules:
            lines += [" & ".join(parts) + r" \\", rules]
    heads = [*index, *(column[-1] for column in columns)]
    lines += [" & ".join(_escape(name) for name in heads) + r" \\", "\\midrule"]
    named = index.index("model") + 1 if "model" in index else 0
    models = [list(same) for _, same in groupby(cells, lambda line: line[:named])]
    for place, model in enumerate(models):
        if place and named and len(model) + len(models[place - 1]) > 2:
            lines.append("\\addlinespace")
        for again, line in enumerate(model):
            names = [""] * named if again else line[:named]
            lines.append(" & ".join(_latex_cell(cell) for cell in [*names, *line[named:]]) + r" \\")
    lines += ["\\bottomrule", "\\end{tabular}"]
    if notes:
        lines += ["\\par\\smallskip", "{\\footnotesize\\raggedright"]
        lines += [f"{_escape(note)}\\par" for note in notes] + ["}"]
    return "\n".join([*lines, ""])


def _latex_cell(cell: str) -> str:
    return f"\\textbf{{{_escape(cell)}}}" if isinstance(cell, Best) else _escape(cell)


def _escape(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
               DASH: "--", "<": "$<$", ">": "$>$", "\n": " "}  # fmt: skip
    escaped = "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", escaped)  # a minus, not a hyphen
