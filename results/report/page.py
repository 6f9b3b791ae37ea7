"""The report: one HTML file that opens without a network, with the tables and figures as files beside it."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from fewdistill.results import ResultError
from fewdistill.results.published.figures import load
from fewdistill.results.records.merge import merge
from fewdistill.results.records.result import Problem, Result
from fewdistill.results.report.classes import class_tables, confusions
from fewdistill.results.report.figures import Part, parts, plots, write_class_tables
from fewdistill.results.report.fronts import areas, front_draws, front_odds
from fewdistill.results.report.records import record_data
from fewdistill.results.report.rows import AXES, columns, cost_axes, curve_data, filters, protocol, row_data
from fewdistill.results.summary.findings import headline, warnings
from fewdistill.results.summary.rows import Row, summarise
from fewdistill.results.tables.files import Why, number, p_text, write_table
from fewdistill.results.tables.tables import ablation_table, axes_of, cost_table, gains_table, main_table
from fewdistill.results.tables.text import (
    ABLATION_NOTE,
    COST_NOTE,
    GAINS_NOTE,
    main_notes,
    readable,
    readable_ablation,
    readable_gains,
)

TEMPLATES = Path(__file__).with_name("templates")


def write_report(
    folders: Path | str | Sequence[Path | str], out: Path | str, keys: Collection[str] | None = None
) -> Path:
    """Write ``out``/report.html, ``out``/tables and ``out``/plots from one or several folders of records.

    keys: the records to report, by default all; a run's folder may hold those of other settings, too.
    Returns the path of the HTML. Unreadable files are listed in it, not dropped. Raises ResultError when a folder is
    missing or holds no record, or when ``out`` cannot be written.
    """
    places = [Path(place) for place in ([folders] if isinstance(folders, str | Path) else folders)]
    results, problems = merge(places, keys)
    if not results:
        named = ", ".join(str(place) for place in places)
        raise ResultError("\n".join([f"{named}: no readable record; run a suite first", *map(str, problems)]))
    rows, out = summarise(results), Path(out)
    of = parts(results, rows)
    files = write_tables(rows, of, out / "tables")
    for name, draw in (plot for part in of for plot in plots(part).items()):
        files += draw(out / "plots" / name)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _minus(number),
        "signed": _minus("{:+.2f}".format),
        "p_text": p_text,
    }
    environment.tests["reason"] = lambda value: isinstance(value, Why)
    html = environment.get_template("report.html").render(
        **_context(results, rows, problems, places, out), files=[file.relative_to(out).as_posix() for file in files]
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


def write_tables(rows: Sequence[Row], of: Sequence[Part], out: Path) -> list[Path]:
    """Write tables over everything, and class tables for each comparable part, to ``out``; returns the files."""
    plain = [row for row in rows if not row.setting.variant] or rows
    table, gains, cost = main_table(plain), gains_table(rows), cost_table(rows)
    files = write_table(table, out / "main", readable(table), main_notes(table))
    if len(cost.columns):  # records may come without costs
        files += write_table(cost, out / "cost", notes=[COST_NOTE])
    if len(gains):
        files += write_table(gains, out / "gains", readable_gains(gains), [GAINS_NOTE])
    if any(row.setting.variant for row in rows):
        ablation = ablation_table(rows)
        files += write_table(ablation, out / "ablation", readable_ablation(ablation), [ABLATION_NOTE])
    return files + [file for part in of for file in write_class_tables(part, out)]


def _context(
    results: Sequence[Result], rows: Sequence[Row], problems: Sequence[Problem], places: Sequence[Path], out: Path
) -> dict[str, Any]:
    cost = cost_table(rows).reset_index()
    draws = front_draws(rows, results)
    gains = [(index, row) for index, row in enumerate(rows) if row.gain and row.accuracy]
    return {
        "suites": ", ".join(sorted({row.setting.suite for row in rows})),
        "datasets": ", ".join(sorted({f"{row.setting.dataset} ({row.setting.split})" for row in rows})),
        "protocol": protocol(rows),
        "headline": headline(rows),
        "counts": {
            "records": len({result.record.key for result in results}),
            "done": len({result.record.key for result in results if result.record.status == "done"}),
        },
        "warnings": warnings(results, rows, problems),
        "rows": rows,
        "main": rows[0].main,
        "columns": columns(rows),
        "filters": filters(rows),
        "costs": cost_axes(rows),
        "sizes": any(row.cost.size_mb for row in rows),
        "distilled": [(index, row) for index, row in gains if not row.setting.variant],
        "variants": [(index, row) for index, row in gains if row.setting.variant],
        "classes": class_tables(rows, results),
        "fronts": areas(rows, draws),
        "cost_head": list(cost.columns),
        "cost_words": len(axes_of(rows)),
        "cost_rows": cost.astype(object).values.tolist(),
        "published": load(),
        "data": {
            "axes": AXES,
            "main": {"axis": rows[0].main.axis, "sign": rows[0].main.sign},
            "rows": row_data(rows, results),
            "records": record_data(rows, results, places, out),
            "curves": curve_data(rows, results),
            "confusions": confusions(rows, results),
            "odds": front_odds(rows, draws),
        },
        "plotly": get_plotlyjs(),
    }
