"""`fewdistill compare`: is A better than B, by how much, and how sure is it."""

import csv
import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fewdistill.benchmark.cli.output import OUT, add_row, print_line
from fewdistill.benchmark.runtime.errors import UserError

if TYPE_CHECKING:
    from fewdistill.results.comparison.compare import Comparison
    from fewdistill.results.comparison.published import VersusPublished
    from fewdistill.results.stats import Interval, Paired

_LEAST_WIDTH = 110  # a narrower terminal folds lines, but loses no digit
_PUBLISHED = "published:"
_ENDINGS = (".md", ".csv")

Rows = list[dict[str, Any]]


def compare_command(
    a: Annotated[str, typer.Argument(metavar="A", help="What to compare; see below.")],
    b: Annotated[str, typer.Argument(metavar="B", help="With what.")],
    shot: Annotated[int | None, typer.Option(help="This shot alone; default all that both have.")] = None,
    by_class: Annotated[bool, typer.Option("--by-class", help="The test classes, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write it to a file as well: .md or .csv.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of run folders, where names of suites are looked up.")] = Path(
        "runs"
    ),
) -> None:
    """A - B on the same test episodes: a 95 % interval over training seeds and episodes, and a verdict in words.

    A and B each name a row, or each a whole folder (then every setting that both have is compared):

    [bold]embedded:resnet18/d2m[/bold]  a row of a run, PLACE:MODEL/DISTILLATION, all its seeds; or embedded:teacher

    [bold]embedded:resnet18/d2m/s0[/bold]  one seed of it; [bold]defects:resnet18/d2m@flips[/bold]  a variant

    [bold]embedded:040704fb[/bold]  one record, by the start of its key; or the path of its JSON

    [bold]embedded[/bold]  a whole run. PLACE is a suite's name under --runs, a run folder or a folder of records

    [bold]published:lite-mkd/resnet18/hmdb51[/bold]  a printed figure (`fewdistill list published`), never paired
    """
    if out is not None and out.suffix not in _ENDINGS:
        raise UserError(f"--out {out}: the name ends in {' or '.join(_ENDINGS)}")
    named = [text.startswith(_PUBLISHED) for text in (a, b)]
    if all(named):
        raise UserError("two published figures have no interval between them: name a row of yours on one side")
    if any(named):
        if by_class:
            raise UserError("a published figure has no classes: leave --by-class out")
        _versus_published(a, b, named[0], shot, as_json, out, runs)
    else:
        _compare(a, b, shot, by_class, as_json, out, runs)


def _compare(a: str, b: str, shot: int | None, by_class: bool, as_json: bool, out: Path | None, runs: Path) -> None:
    from fewdistill.results.comparison.compare import compare
    from fewdistill.results.comparison.selection import find_selection

    left, right = find_selection(a, runs), find_selection(b, runs)
    found = compare(left, right, shot, by_class)
    rows, lines = _rows(found), _said(found, whole=left.whole)
    classes = _class_rows(found)
    if out is not None:
        _write(out, rows, classes, lines)
    if as_json:
        _print_json(_as_json(found))
        return
    _print_lines([f"A: {a}", f"B: {b}", "accuracies in percent, differences in percentage points", *_legend(found)])
    _print_table(rows)
    for each in (difference for difference in found.differences if difference.classes):
        chosen = [row for row in classes if (row["setting"], row["shot"]) == (each.a.name, each.shot)]
        _print_table(
            [{name: value for name, value in row.items() if name not in ("setting", "shot")} for row in chosen],
            f"{each.a.name}, {each.at}: by class, p Holm-corrected over {len(chosen)} classes",
        )
    _print_lines(lines)


def _said(found: "Comparison", whole: bool) -> list[str]:
    """The verdicts, or their summary, and what else must be known."""
    from fewdistill.results.comparison.verdicts import called, summary, verdict

    family = len(found.differences)
    if whole:
        lines = [summary(found)]
    else:
        lines = [f"{d.at}: {verdict(d, *called(found, d), family)}" for d in found.differences]
    for difference in found.differences:
        lines += [f"{difference.a.name}, {difference.at}: {note}" for note in difference.notes]
    lines += [f"only in {name}: {'; '.join(places)}" for name, places in zip("AB", found.only, strict=True) if places]
    return [*lines, *found.notes]


def _rows(found: "Comparison") -> Rows:
    """One row for each difference; numbers in percent and points."""
    from fewdistill.results.comparison.verdicts import outcome

    rows = []
    for d in found.differences:
        name = d.a.name if d.a.name == d.b.name else f"{d.a.name} - {d.b.name}"
        row = {"setting": name, "shot": d.shot, "A": 100 * d.accuracy[0], "B": 100 * d.accuracy[1]}
        row |= _span(d.headline) | {"episodes": _ends(d.episodes) if d.episodes else "unpaired"}
        row |= {
            "classes": _ends(d.other_classes.interval) if d.other_classes else "one class" if d.episodes else "unpaired"
        }
        shown = str(d.n_seeds) if len(set(map(len, d.seeds))) == 1 else f"{len(d.seeds[0])}, {len(d.seeds[1])}"
        rows.append(row | {"seeds": shown, "p (Holm)": d.p, "better": outcome(d)})
    return rows


def _legend(found: "Comparison") -> list[str]:
    """What the intervals beside the headline cover."""
    videos = {d.other_classes.videos for d in found.differences if d.other_classes}
    if not videos:
        return []
    also = "with their videos, and other seeds" if videos == {True} else "for these trained models"
    return [
        "low, high: 95 % over other episodes and, from two seeds on, other seeds; episodes: over those alone; "
        f"classes: over other test classes, {also}"
    ]


def _class_rows(found: "Comparison") -> Rows:
    from fewdistill.results.summary.rows import ALPHA

    rows = []
    for d in found.differences:
        for each in sorted(d.classes, key=lambda each: -each.difference.mean):
            better = "" if each.p >= ALPHA else "A" if each.difference.mean > 0 else "B"
            row = {"setting": d.a.name, "shot": d.shot, "class": each.name, "A": 100 * each.a, "B": 100 * each.b}
            rows.append(row | _span(each.difference) | {"p (Holm)": each.p, "better": better})
    return rows


def _span(span: "Paired") -> dict[str, float]:
    return {"A - B": 100 * span.mean, "low": 100 * span.low, "high": 100 * span.high}


def _ends(span: "Paired | Interval") -> str:
    return f"{100 * span.low:.2f} to {100 * span.high:.2f}"


def _as_json(found: "Comparison") -> dict[str, Any]:
    """Everything, accuracies and differences as fractions."""
    from fewdistill.results.comparison.verdicts import called, outcome, verdict

    family = len(found.differences)
    differences = [
        asdict(d) | {"outcome": outcome(d), "verdict": verdict(d, *called(found, d), family)} for d in found.differences
    ]
    return asdict(found) | {"differences": differences}


def _versus_published(
    a: str, b: str, first: bool, shot: int | None, as_json: bool, out: Path | None, runs: Path
) -> None:
    """One of ours against a printed figure; first: the printed one is A."""
    from fewdistill.results.comparison.published import find_figures, versus_published
    from fewdistill.results.comparison.selection import find_selection
    from fewdistill.results.comparison.verdicts import published_verdict
    from fewdistill.results.published.figures import load

    published = load()
    printed, ours = (a, b) if first else (b, a)
    figures = find_figures(printed, published)
    found = versus_published(find_selection(ours, runs), figures, published, shot)
    lines = []
    for each in found:
        lines.append(f"{each.at}: {published_verdict(each, ours)}")
        lines += [f"  {text}" for text in each.differs]
        link = f", {each.source.link}" if each.source.link else ""
        lines.append(f"  source: {each.source.title}{link}. {each.source.note}".rstrip())
    rows = [_published_row(each) for each in found]
    if out is not None:
        _write(out, rows, [], lines)
    if as_json:
        _print_json([_published_json(each, published_verdict(each, ours)) for each in found])
        return
    _print_lines(lines)


def _published_row(found: "VersusPublished") -> dict[str, Any]:
    span = found.difference
    row: dict[str, Any] = {"setting": found.setting.name, "printed": found.figure.slug, "shot": found.shot}
    row |= {"ours": 100 * found.ours.mean, "theirs": float(found.figure.accuracy), "ours - theirs": 100 * span.mean}
    row |= {"low": 100 * span.low, "high": 100 * span.high, "seeds": str(len(found.seeds))}
    return row | {"p": span.p if found.tested else "no interval"}


def _published_json(found: "VersusPublished", verdict: str) -> dict[str, Any]:
    figure = found.figure.model_dump(mode="json", exclude={"accuracy", "std"})
    figure |= {"accuracy": float(found.figure.accuracy) / 100}
    figure |= {"std": None if found.figure.std is None else float(found.figure.std) / 100}
    difference = asdict(found.difference) | ({} if found.tested else {"p": None})
    return {
        "setting": asdict(found.setting),
        "shot": found.shot,
        "ours": {name: value for name, value in asdict(found.ours).items() if name != "p"},
        "seeds": found.seeds,
        "published": figure | {"source": found.source.model_dump()},
        "ours_minus_published": difference,
        "paired": False,
        "inside": found.inside,
        "differs": found.differs,
        "verdict": verdict,
    }


def list_published(as_json: bool) -> None:
    """Every printed figure under the name that ``published:`` takes."""
    from fewdistill.results.published.figures import load

    published = load()
    if as_json:
        _print_json([figure.model_dump(mode="json") | {"slug": figure.slug} for figure in published.figures])
        return
    for block in published.blocks():
        shots = ["top-1" if shot is None else f"{shot}-shot" for shot in block.shots]
        rows = []
        for line in block.lines:
            known = next(figure for figure in line if figure)
            cells = (f"{f.accuracy}{f' ± {f.std}' if f.std is not None else ''}" if f else "" for f in line)
            row = {block.title: known.slug, "model": known.model} | dict(zip(shots, cells, strict=True))
            rows.append(row | {"source": known.source})
        _print_table(rows)
    _print_lines([*published.cautions, "In percent; sources and protocols: `--json`, and the report."])


def _print_table(rows: Rows, title: str | None = None) -> None:
    shown = Table(title=title and escape(title), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    for name in rows[0]:
        words = isinstance(rows[0][name], str)
        shown.add_column(escape(name), justify="left" if words else "right", no_wrap=not words)
    for row in rows:
        add_row(shown, *(_shown(name, value) for name, value in row.items()))
    Console(width=max(OUT.width, _LEAST_WIDTH)).print(shown)


def _shown(name: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if name.startswith("p"):
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    return f"{value:+.2f}" if "-" in name else f"{value:.2f}"


def _print_lines(lines: list[str]) -> None:
    print_line("\n".join(lines))


def _write(path: Path, rows: Rows, classes: Rows, lines: list[str]) -> None:
    """The table in full digits (csv), or table and verdicts as one reads them (md); whole or not at all."""
    text = _csv(classes or rows) if path.suffix == ".csv" else _markdown(rows, classes, lines)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error})") from error


def _csv(rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _markdown(rows: Rows, classes: Rows, lines: list[str]) -> str:
    parts = [_markdown_table(part) for part in (rows, classes) if part]
    return "\n\n".join([*parts, "\n".join(f"* {line.strip()}" for line in lines)]) + "\n"


def _markdown_table(rows: Rows) -> str:
    head = [str(name) for name in rows[0]]
    body = [[_shown(name, value).replace("|", "\\|") for name, value in row.items()] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *body])


def _print_json(value: Any) -> None:
    OUT.print_json(json.dumps(value, allow_nan=False))
