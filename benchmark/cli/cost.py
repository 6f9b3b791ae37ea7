"""`fewdistill cost`: what networks cost, before any is trained."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fewdistill.benchmark.cli.output import OUT, add_row, print_line
from fewdistill.benchmark.runtime.progress import bar

if TYPE_CHECKING:
    from fewdistill.benchmark.cost.table import Compared, Row

_LEAST_WIDTH = 110  # a narrower terminal folds lines, but loses no digit
_GIGA = 1e9

Names = Annotated[list[str] | None, typer.Option("--student", help="Backbones; default all. Repeatable.")]
Heads = Annotated[list[str] | None, typer.Option("--head", help="Heads; default all. Repeatable.")]


def cost_command(
    student: Names = None,
    head: Heads = None,
    way: Annotated[int, typer.Option()] = 5,
    shot: Annotated[int, typer.Option()] = 5,
    query: Annotated[int, typer.Option(help="Query videos a class.")] = 1,
    frames: Annotated[int, typer.Option(help="Frames a clip.")] = 8,
    image_size: Annotated[int, typer.Option()] = 224,
    width: Annotated[int, typer.Option(help="Token width.")] = 2048,
    published: Annotated[bool, typer.Option("--published", help="Our counts beside the published figures.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """MACs of students and heads: per video, per support and query video, per episode, beside thop's count."""
    from fewdistill.benchmark.cost.episode_cost import Episode
    from fewdistill.benchmark.cost.table import compare, table
    from fewdistill.benchmark.suite.registry import load_plugins
    from fewdistill.students.heads import HEADS
    from fewdistill.students.trunks import BACKBONES

    load_plugins()
    if published:
        with bar("published networks", "networks") as tick:
            compared = compare(tick=tick)
        _print_json([_of_compared(row) for row in compared]) if as_json else _print_compared(compared)
        return
    students, heads = student or list(BACKBONES), head or list(HEADS)
    with bar("counting", "parts") as tick:
        rows = table(students, heads, Episode(way, shot, query, frames, image_size), width, tick=tick)
    if as_json:
        _print_json([{"student": row.backbone, "head": row.head, **asdict(row.cost)} for row in rows])
    else:
        _print_rows(rows, f"{way}-way {shot}-shot, {query} query a class, {frames} x {image_size} px, width {width}")


def _print_rows(rows: "list[Row]", title: str) -> None:
    columns = (
        "student",
        "head",
        "M parameters",
        "GMACs a video",
        "a support",
        "a query",
        "an episode",
        "thop, episode",
    )
    shown = _table(columns, title, named=2)
    for row in rows:
        cost = row.cost
        counts = (cost.macs_per_video, cost.macs_per_support, cost.macs_per_query, cost.macs_per_episode)
        add_row(
            shown,
            row.backbone,
            row.head,
            f"{cost.parameters / 1e6:.2f}",
            *(f"{count / _GIGA:.3f}" for count in counts),
            f"{cost.thop_macs_per_episode / _GIGA:.3f}",
        )
    _print_table(shown)
    print_line(
        "GMACs. A video is encoded once; a support video is encoded and projected; a query is matched too. "
        "thop: the published count, which does not see attention or distances."
    )


def _print_compared(rows: "list[Compared]") -> None:
    columns = ("network", "printed GFLOPs", "released, thop", "ours, thop", "to released", "to printed", "MACs")
    shown = _table(columns, "5-way 5-shot, 1 query a class, 8 x 224 px; GMACs an episode", named=1)
    for row in rows:
        add_row(
            shown,
            row.name,
            f"{row.printed:.1f} {row.source}" if row.printed else "",
            f"{row.counted:.3f}",
            f"{row.ours:.3f}",
            f"{row.ours / row.counted:.5f}",
            f"{row.ours / row.printed:.4f}" if row.printed else "",
            f"{row.cost.macs_per_episode / _GIGA:.3f}",
        )
    _print_table(shown)
    print_line("The authors print thop's multiply-accumulates as \"GFLOPs\"; MACs: the dispatcher's count of ours.")


def _table(columns: tuple[str, ...], title: str, named: int) -> Table:
    """Numbers to the right; the first ``named`` columns are names and keep their whole width."""
    shown = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        name = number < named
        shown.add_column(column, justify="left" if name else "right", no_wrap=name)
    return shown


def _print_table(shown: Table) -> None:
    Console(width=max(OUT.width, _LEAST_WIDTH)).print(shown)


def _of_compared(row: "Compared") -> dict[str, object]:
    return {
        "network": row.name,
        "source": row.source,
        "printed": row.printed,
        "released_thop_gmacs": row.counted,
        "ours_thop_gmacs": row.ours,
        "ratio": row.ours / row.counted,
        "printed_ratio": row.ours / row.printed if row.printed else None,
        "gmacs": row.cost.macs_per_episode / _GIGA,
    }


def _print_json(value: object) -> None:
    OUT.print_json(data=value)
