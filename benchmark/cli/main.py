"""The command line. Every error of the house becomes one line and an exit code.

Modules that import torch are imported inside the commands: help and wrong usage must not wait seconds for it.
"""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fewdistill.benchmark.cli import cache as cli_cache
from fewdistill.benchmark.cli import compare as cli_compare
from fewdistill.benchmark.cli import cost as cli_cost
from fewdistill.benchmark.cli import data as cli_data
from fewdistill.benchmark.cli import derive as cli_derive
from fewdistill.benchmark.cli import import_checkpoint as cli_import
from fewdistill.benchmark.cli import list as cli_list
from fewdistill.benchmark.cli import records as cli_records
from fewdistill.benchmark.cli import run
from fewdistill.benchmark.cli import view as cli_view
from fewdistill.benchmark.cli.output import print_line
from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.progress import say
from fewdistill.feature_cache import CacheError
from fewdistill.results import ResultError
from fewdistill.students import StudentError
from fewdistill.students.registry import UnknownNameError
from fewdistill.teachers import TeacherError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Few-shot distillation benchmarks for action recognition.\n\n"
    "Start with [bold]fewdistill demo[/bold]: the whole chain on the embedded data set, in minutes.",
)
app.add_typer(cli_data.app, name="data")
app.add_typer(cli_cache.app, name="cache")
app.add_typer(cli_records.app, name="records")
app.command(
    name="cost",
    epilog="Examples: fewdistill cost --head trx | fewdistill cost --student resnet18 --shot 1 --json | "
    "fewdistill cost --published",
)(cli_cost.cost_command)
app.command(
    name="import-checkpoint",
    epilog="Example: fewdistill import-checkpoint student.pt --out student.safetensors",
)(cli_import.import_command)
app.command(
    name="derive",
    epilog="Examples: fewdistill derive embedded | fewdistill derive my.toml --modality flow,skeleton --workers 8 | "
    "fewdistill derive my.toml --part 3/16",
)(cli_derive.derive_command)
app.command(
    name="compare",
    epilog="Examples: fewdistill compare embedded:resnet18/d2m embedded:resnet18/none | "
    "fewdistill compare runs/embedded other/embedded --out compared.md | "
    "fewdistill compare embedded:teacher embedded:resnet18/both --shot 5 --by-class | "
    "fewdistill compare hmdb:resnet18/d2m published:lite-mkd/resnet18/hmdb51",
)(cli_compare.compare_command)
app.command(name="list", epilog="Example: fewdistill list students")(cli_list.list_command)
app.command(name="view", epilog=cli_view.EXAMPLES)(cli_view.view_command)
app.command(name="run", epilog=run.RUN_EXAMPLES)(run.run_command)
app.command(name="demo", epilog="Example: fewdistill demo")(run.demo)
app.command(name="status", epilog="Example: fewdistill status embedded --json")(run.status_command)


@app.command(
    epilog="Examples: fewdistill report runs/embedded/records --out report | "
    "fewdistill report results/reference/embedded"
)
def report(
    records: Annotated[
        list[Path] | None, typer.Argument(help="Folders of records, merged.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the page, tables and plots.")] = Path("report"),
) -> None:
    """Tables, plots and one self-contained HTML page from folders of records."""
    from fewdistill.results.report.page import write_report

    if not records:
        raise UserError("name one or more folders of records; a run writes runs/<suite>/records")
    for folder in records:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of records; a run writes runs/<suite>/records")
    page = write_report(list(records), out)
    run.main_table(page)
    print_line(f"report: {page}")


USER_ERRORS = (UserError, UnknownNameError, StudentError, TeacherError, CacheError, ResultError)


class _Stopped(BaseException):
    """Ctrl-C. Not KeyboardInterrupt, which the command-line library turns into exit code 1."""


def _stop(signum: int, frame: object) -> None:
    raise _Stopped


def main(command: typer.Typer = app) -> None:
    """Entry point: exit code 2 for wrong usage or input, 1 for a failed run, 130 for Ctrl-C."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    signal.signal(signal.SIGINT, _stop)
    try:
        command()
    except USER_ERRORS as error:
        errors.print(f"error: {error}", markup=False)
        sys.exit(2)
    except RunError as error:
        errors.print(f"failed: {error}", markup=False)
        sys.exit(1)
    except _Stopped:
        say("stopped; finished work is kept, and the same command goes on from there")
        sys.exit(130)


if __name__ == "__main__":
    main()
