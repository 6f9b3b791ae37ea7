"""The report: one HTML file that opens without a network, with the tables and figures as files beside it."""

import json
import shlex
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import escape
from plotly.offline import get_plotlyjs

from results import ResultError
from results.findings import fronts, headline, warnings
from results.merge import merge
from results.plots import (
    accuracy_over_cost,
    by_setting,
    colours,
    learning_curves,
    markers,
    mean_curve,
    quantities,
    title,
)
from results.published import load
from results.stats import class_bootstrap
from results.store import Problem, Result
from results.summary import Row, Setting, summarise, table_of
from results.tables import (
    axes_of,
    cost_table,
    gains_table,
    main_table,
    number,
    p_text,
    readable,
    write_table,
)

TEMPLATES = Path(__file__).with_name("templates")

# matplotlib's marker -> plotly's
_SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "<": "triangle-left",
    ">": "triangle-right",
    "P": "cross",
    "h": "hexagon",
    "*": "star",
}


def write_report(
    folders: Path | str | Sequence[Path | str], out: Path | str, keys: Collection[str] | None = None
) -> Path:
    """Write ``out``/report.html, ``out``/tables and ``out``/plots from one or several folders of records.

    keys: the records to report, by default all; a run's folder may hold those of other settings, too.
    Returns the path of the HTML. Unreadable files are listed in it, not dropped. Raises ResultError when a folder is
    missing or holds no record, or when ``out`` cannot be written.
    """
    places = [folders] if isinstance(folders, str | Path) else list(folders)
    results, problems = merge(places, keys)
    if not results:
        named = ", ".join(str(place) for place in places)
        raise ResultError("\n".join([f"{named}: no readable record; run a suite first", *map(str, problems)]))
    rows, out = summarise(results), Path(out)
    files = _write_files(results, rows, out)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _minus(number), "signed": _minus("{:+.2f}".format), "p_text": p_text}
    html = environment.get_template("report.html").render(
        **_context(results, rows, problems), files=[file.relative_to(out).as_posix() for file in files]
    )
    path = out / "report.html"
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ResultError(f"{path}: cannot be written ({error})") from error
    return path


def _minus(shown: Callable[..., str]) -> Callable[..., str]:
    """The same figure with a minus sign in place of the hyphen."""

    def typeset(*arguments: object) -> str:
        text = shown(*arguments)
        return "\N{MINUS SIGN}" + text[1:] if text[:1] == "-" and len(text) > 1 else text

    return typeset


def _write_files(results: Sequence[Result], rows: Sequence[Row], out: Path) -> list[Path]:
    """Tables over everything; figures for each comparable table and shot."""
    table = main_table(rows)
    files = write_table(table, out / "tables" / "main", readable(table))
    files += write_table(cost_table(rows), out / "tables" / "cost")
    if any(row.gain for row in rows):
        files += write_table(gains_table(rows), out / "tables" / "gains")
    kinds = sorted({table_of(row.setting) for row in rows}, key=str)
    for kind in kinds:
        prefix = (
            "" if len(kinds) == 1 else "-".join("".join(c if c.isalnum() else "_" for c in str(k)) for k in kind) + "-"
        )
        chosen = [row for row in rows if table_of(row.setting) == kind and not row.setting.variant]
        for shot in sorted({row.shot for row in chosen}):
            name = f"{prefix}{shot}-shot"
            if any(row.shot == shot and row.accuracy and row.cost.gmacs_per_episode for row in chosen):
                files += accuracy_over_cost(chosen, shot, out / "plots" / f"accuracy-over-cost-{name}")
        settings = ((result.record, Setting.of(result.record.cell)) for result in results)
        records = [record for record, setting in settings if table_of(setting) == kind and not setting.variant]
        if quantities(records):
            files += learning_curves(records, out / "plots" / f"{prefix}learning-curves")
    return files


def _context(results: Sequence[Result], rows: Sequence[Row], problems: Sequence[Problem]) -> dict[str, Any]:
    axes = axes_of(rows)
    values = {axis: list(dict.fromkeys(str(getattr(row.setting, axis)) for row in rows)) for axis in axes}
    values["shot"] = sorted({str(row.shot) for row in rows}, key=int)
    cost = cost_table(rows).reset_index()
    suites = sorted({row.setting.suite for row in rows})
    data = {"points": _points(rows, axes), "curves": _curves(results, axes)}
    ends = [100 * max(abs(row.gain.headline.low), abs(row.gain.headline.high)) for row in rows if row.gain]
    widest = max(ends, default=0.0) or 1.0  # two models may answer alike in every episode
    return {
        "suites": ", ".join(suites),
        "datasets": ", ".join(sorted({f"{row.setting.dataset} ({row.setting.split})" for row in rows})),
        "headline": headline(rows),
        "counts": {"records": len(results), "done": sum(result.record.status == "done" for result in results)},
        "warnings": warnings(results, rows, problems),
        "rows": rows,
        "axes": axes,
        "values": values,
        "widest": widest,
        "fronts": fronts(rows),
        "cost_head": list(cost.columns),
        "cost_rows": [[number(cell) for cell in line] for line in cost.astype(object).values.tolist()],
        "details": _details(results),
        "published": load(),
        "data": data,
        "plotly": get_plotlyjs(),
    }


def _points(rows: Sequence[Row], axes: Sequence[str]) -> list[dict[str, Any]]:
    """What the interactive figure draws: one point for each finished row, accuracies and gains in percent."""
    settings = [row.setting for row in rows]
    colour, marker = colours(settings), markers(settings)
    found = []
    for index, row in enumerate(rows):
        if not row.accuracy:
            continue
        found.append(
            {
                "row": index,
                "table": str(table_of(row.setting)),
                "axes": {axis: str(getattr(row.setting, axis)) for axis in axes} | {"shot": str(row.shot)},
                "role": row.setting.role,
                "accuracy": 100 * row.accuracy.mean,
                "half": 100 * row.accuracy.half_width,
                "gmacs": row.cost.gmacs_per_episode,
                "latency": row.cost.latency_ms,
                "parameters": row.cost.parameters_m,
                "colour": colour[row.setting.distillation],
                "symbol": _SYMBOLS[marker[row.setting.model]],
                "text": _hover(row),
            }
        )
    return found


def _hover(row: Row) -> str:
    accuracy, cost = row.accuracy, row.cost
    assert accuracy
    lines = [
        f"<b>{escape(row.setting.name)}</b>, {row.shot}-shot",
        f"{100 * accuracy.mean:.2f} ± {100 * accuracy.half_width:.2f} % over episodes",
    ]
    if row.seeds:
        lines.append(f"{100 * row.seeds.low:.2f} to {100 * row.seeds.high:.2f} % over {row.seeds.n} seeds")
    lines += [f"seed {seed}: {100 * value:.2f} %" for seed, value in row.by_seed]
    if row.gain:
        lines.append(f"gain {100 * row.gain.mean:+.2f} points, {escape(p_text(row.p or 0.0))} (Holm)")
    lines.append(f"{number(cost.gmacs_per_episode)} GMACs per episode, {number(cost.parameters_m)} M parameters")
    threads = f", {cost.latency_threads} threads" if cost.latency_threads else ""
    return "<br>".join([*lines, f"{number(cost.latency_ms)} ms per video{threads}"])


def _curves(results: Sequence[Result], axes: Sequence[str]) -> list[dict[str, Any]]:
    """Seed means of every quantity, one entry for each setting and quantity."""
    groups = by_setting(result.record for result in results)
    colour = colours(groups)
    models = sorted({setting.model for setting in groups})
    found = []
    for setting, records in sorted(groups.items()):
        for name in sorted(quantities(records), key=lambda name: "accuracy" not in name):
            steps, values = mean_curve(records, name)
            dash = ("solid", "dash", "dot", "dashdot")[models.index(setting.model) % 4]
            found.append(
                {"label": setting.name, "quantity": title(name), "x": steps, "y": values, "dash": dash,
                 "axes": {axis: str(getattr(setting, axis)) for axis in axes},
                 "teacher": setting.role == "teacher", "colour": colour[setting.distillation]}
            )  # fmt: skip
    return found


def _details(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Everything known of each cell, with the accuracy's interval over test classes."""
    found = []
    for result in sorted(results, key=lambda r: (Setting.of(r.record.cell), r.record.cell.shot, r.record.cell.seed)):
        record, classes = result.record, None
        if result.correct is not None and result.query_class is not None and np.ptp(result.query_class) > 0:
            rng = np.random.default_rng(int(record.key[:16], 16))
            classes = class_bootstrap(result.correct, result.query_class, rng)
        argv = record.provenance.get("argv")
        found.append(
            {
                "record": record,
                "name": Setting.of(record.cell).name,
                "classes": classes,
                "command": shlex.join(map(str, argv)) if isinstance(argv, list) else "",
                "blocks": {
                    name: json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)
                    for name, value in (
                        ("identity", record.identity),
                        ("selection", record.selection),
                        ("cost", record.cost.model_dump(exclude_none=True) if record.cost else {}),
                        ("provenance", record.provenance),
                    )
                    if value
                },
            }
        )
    return found
