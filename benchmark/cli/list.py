"""`fewdistill list`: the names that suites and commands know."""

import json
from typing import Annotated

import typer

from fewdistill.benchmark.cli import compare as cli_compare
from fewdistill.benchmark.cli.output import OUT, print_line
from fewdistill.benchmark.runtime.errors import UserError

LISTED = (
    "students",
    "skeletons",
    "protocols",
    "heads",
    "distillers",
    "fusions",
    "experts",
    "layouts",
    "trackers",
    "suites",
    "published",
)


def list_command(
    what: Annotated[str, typer.Argument(help=f"One of {', '.join(LISTED)}.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Names of what a suite or a command can name, and the figures published by others."""
    if what not in LISTED:
        raise UserError(f"nothing called {what!r} to list: choose one of {', '.join(LISTED)}")
    if what == "published":
        cli_compare.list_published(as_json)
        return
    from fewdistill.benchmark.suite.load import SUITES
    from fewdistill.benchmark.suite.registry import CATALOGUES, load_plugins

    load_plugins()
    names = list(CATALOGUES[what]) if what in CATALOGUES else sorted(path.stem for path in SUITES.glob("*.toml"))
    if as_json:
        OUT.print_json(json.dumps(names))
    else:
        print_line("\n".join(names))
