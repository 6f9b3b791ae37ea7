"""`fewdistill view`: test episodes to look at, with what finished networks answered and matched."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewdistill.benchmark.cli.output import print_line
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.feature_cache import write_atomic

if TYPE_CHECKING:
    from fewdistill.benchmark.viewer.collect import Order

EXAMPLES = (
    "Examples: fewdistill view demo resnet18/both/s0 | "
    "fewdistill view demo resnet18/none/s0 resnet18/both/s0 --hardest --shot 5 | "
    "fewdistill view demo teacher/-/s0 --episode 17 --out episode.html"
)


def view_command(
    suite: Annotated[str, typer.Argument(help="A shipped suite's name or a TOML file.")],
    row: Annotated[list[str], typer.Argument(help="Finished rows, model/distillation/seed@variant, side by side.")],
    episode: Annotated[list[int] | None, typer.Option(help="Number of a test episode. Repeatable.")] = None,
    hardest: Annotated[bool, typer.Option("--hardest", help="The episodes with the fewest right answers.")] = False,
    wrong: Annotated[bool, typer.Option("--wrong", help="The first episodes with a wrong answer.")] = False,
    shot: Annotated[int | None, typer.Option(help="Support videos a class. Default: the suite's first.")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes, at most.")] = 12,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("view.html"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change one setting: section.key=value. Repeatable.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of run folders, one a suite.")] = Path("runs"),
    data: Annotated[Path, typer.Option(help="Folder of the embedded data set and the caches.")] = Path("data"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """One page of test episodes: support and query frames, answers, and which frames were matched.

    Shows what was recorded, beside the teacher; nothing is trained. The page opens without a network and stays below
    about 6 MB: the more episodes, the smaller their frames.
    """
    if sum([bool(episode), hardest, wrong]) > 1:
        raise UserError("--episode, --hardest and --wrong choose episodes in different ways: give one of them")
    from fewdistill.benchmark.api import load_suite, open_loaded
    from fewdistill.benchmark.graph.protocol import RunOptions
    from fewdistill.benchmark.viewer.collect import check_present, collect
    from fewdistill.results.report.episode_page import render

    loaded = load_suite(suite, tuple(set_ or ()))
    check_present(loaded, runs, data)
    order: Order = "hardest" if hardest else "wrong" if wrong else "first"
    opened: Any = open_loaded(loaded, RunOptions(runs, data, device))
    page = render(collect(opened, row, shot, episode or (), order, episodes))
    content = page.encode()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out.parent}: cannot be made ({error.strerror}); choose another --out") from error
    write_atomic(out, [content])
    print_line(f"view: {out} ({len(content) / 1e6:.1f} MB)")
