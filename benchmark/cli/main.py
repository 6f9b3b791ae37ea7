"""The command line. Every error of the house becomes one line and an exit code.

Modules that import torch are imported inside the commands: help and wrong usage must not wait seconds for it.
"""

import json
import signal
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fewdistill.benchmark.cli import cache as cli_cache
from fewdistill.benchmark.cli import compare as cli_compare
from fewdistill.benchmark.cli import cost as cli_cost
from fewdistill.benchmark.cli import data as cli_data
from fewdistill.benchmark.cli import derive as cli_derive
from fewdistill.benchmark.cli import import_checkpoint as cli_import
from fewdistill.benchmark.cli import list as cli_list
from fewdistill.benchmark.cli import readme as cli_readme
from fewdistill.benchmark.cli import records as cli_records
from fewdistill.benchmark.cli import show as cli_show
from fewdistill.benchmark.cli import skeletons as cli_skeletons
from fewdistill.benchmark.cli import view as cli_view
from fewdistill.benchmark.runtime.allocator import keep_freed_memory
from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.progress import say
from fewdistill.feature_cache import CacheError
from fewdistill.results import ResultError
from fewdistill.results.records.metrics import SUPERVISED
from fewdistill.students import StudentError
from fewdistill.students.registry import UnknownNameError
from fewdistill.teachers import TeacherError

if TYPE_CHECKING:
    from fewdistill.benchmark.graph.runner import Engine
    from fewdistill.benchmark.protocols.episodic.workspace import Workspace

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
    epilog="Examples: fewdistill import-checkpoint student.pt --as student --out student.safetensors | "
    "fewdistill import-checkpoint teacher.pt --as teacher --json",
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
OUT = Console()
NO_SCORES = "--save-scores is of the supervised protocol; {} is a suite of episodes"

SuiteName = Annotated[str, typer.Argument(help="A shipped suite's name or a TOML file.")]
Runs = Annotated[Path, typer.Option(help="Folder of run folders, one a suite.")]
Data = Annotated[Path, typer.Option(help="Folder of the embedded data set and the caches.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change one setting: section.key=value. Repeatable.")]
Only = Annotated[
    list[str] | None, typer.Option(help="Rows to run, as a pattern on model/distillation/seed@variant. Repeatable.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Address = Annotated[
    str | None, typer.Option(help="Of the Ray cluster, host:port. Default: $RAY_ADDRESS, else one is started here.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.command(
    name="run",
    epilog="Examples: fewdistill run embedded | fewdistill run embedded --only 'resnet18/*/s0' | "
    "fewdistill run my.toml --set episodic.episodes=200 | fewdistill run embedded --track tensorboard | "
    "fewdistill run embedded --engine ray --address head:6379 | "
    "fewdistill run dke_gcn_nwucla --only 'light_dke_gcn-joint/*/s0' --save-scores | "
    "torchrun --nproc-per-node 2 -m fewdistill run embedded --only 'resnet18/d2m/s0' --set episodic.accumulate=2",
)
def run_command(
    suite: SuiteName,
    set_: Set = None,
    only: Only = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Score again what already stands.")] = False,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile trunks, on CUDA devices.")] = False,
    runs: Runs = Path("runs"),
    data: Data = Path("data"),
    device: Device = "auto",
    engine: Annotated[str, typer.Option(help="local, or ray: rows as tasks on a Ray cluster.")] = "local",
    address: Address = None,
    track: Annotated[
        list[str] | None, typer.Option(help="Follow the run: tensorboard, wandb, mlflow. Repeatable.")
    ] = None,
    save_scores: Annotated[
        bool, typer.Option("--save-scores", help="Keep the test clips' logits as npz, for sums too (supervised).")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Draw the report at the end, or leave it to a later run.")
    ] = True,
) -> None:
    """Run a suite: train, distil, evaluate, record. Finished rows are skipped, an interrupted run resumes.

    Runs of one suite may share their folders, on one machine or on a file system that knows flock: each takes the
    rows at which no other works. On Ray and under torchrun, too, all machines need the same run and data folders.

    A tracker shows curves and results while they come (runs/<suite>/tracking); no record depends on it, and one that
    fails does not stop the run.

    Under torchrun the processes divide the episodes of each step (episodic.accumulate, teacher.episodic.accumulate).
    """
    from fewdistill.benchmark.graph.runner import open_workspace
    from fewdistill.benchmark.graph.torchrun import follow
    from fewdistill.benchmark.protocols.episodic.suite import Suite
    from fewdistill.benchmark.runtime.process_group import torchrun_group
    from fewdistill.benchmark.suite.load import load_any

    keep_freed_memory()
    chosen = _engine(engine, address, device)
    loaded = load_any(suite, tuple(set_ or ()))
    with torchrun_group(device) as group:
        if group is not None and engine != "local":
            raise UserError("--engine ray and torchrun do not go together: a Ray task is one process")

        def opened() -> "Workspace":
            here = "auto" if engine == "ray" and device == "cuda" else device  # this machine may have none
            assert isinstance(loaded, Suite)
            return open_workspace(loaded, runs, data, here, compile_, group, track or ())

        if not isinstance(loaded, Suite):
            if group is not None or engine != "local" or compile_:
                raise UserError(f"{loaded.name} trains skeleton networks, which runs in one process, as it is")
            if save_scores and loaded.protocol != SUPERVISED:
                raise UserError(NO_SCORES.format(loaded.name))
            asked = (only or (), dry_run, overwrite, save_scores, report)
            cli_skeletons.run(loaded, runs, data, device, track or (), *asked)
            return
        if save_scores:
            raise UserError(NO_SCORES.format(loaded.name))
        if group is not None and group.rank:
            follow(group, opened)
            return
        with nullcontext() if group is None else group.leading():
            _run(opened(), only or (), dry_run, overwrite, chosen, report)


def _engine(name: str, address: str | None, device: str) -> "Engine":
    if name not in ("local", "ray"):
        raise UserError(f"no engine {name!r}: choose local or ray")
    if name == "local" and address is not None:
        raise UserError("--address is of a Ray cluster: add --engine ray")
    if name == "local":
        from fewdistill.benchmark.graph.row_run import run_here

        return run_here
    from fewdistill.benchmark.graph.ray import run_on_ray

    return partial(run_on_ray, address=address, device=device)


def _run(
    ws: "Workspace", only: list[str] | tuple[()], dry_run: bool, overwrite: bool, engine: "Engine", report: bool
) -> None:
    from fewdistill.benchmark.graph.runner import run
    from fewdistill.benchmark.graph.status import status

    if dry_run:
        cli_show.standing(status(ws, only))
        return
    found = run(ws, only, overwrite, engine)
    cli_show.finish(ws, found, status(ws), report)


@app.command(epilog="Example: fewdistill demo")
def demo(runs: Runs = Path("runs"), data: Data = Path("data"), device: Device = "auto") -> None:
    """The whole chain on a small embedded data set: derive, teach, distil, evaluate, report. Minutes on two cores."""
    run_command("demo", runs=runs, data=data, device=device)


@app.command(name="status", epilog="Example: fewdistill status embedded --json")
def status_command(
    suite: SuiteName, set_: Set = None, runs: Runs = Path("runs"), data: Data = Path("data"), as_json: Json = False
) -> None:
    """What of a suite stands: done, failed, diverged, started or missing, row by row."""
    from fewdistill.benchmark.graph.runner import open_workspace
    from fewdistill.benchmark.graph.status import status
    from fewdistill.benchmark.protocols.episodic.suite import Suite
    from fewdistill.benchmark.suite.load import load_any

    loaded = load_any(suite, tuple(set_ or ()))
    if isinstance(loaded, Suite):
        found = status(open_workspace(loaded, runs, data))
    else:
        found = cli_skeletons.standings(loaded, runs, data)
    if as_json:
        _print_json([{"row": s.row.name, "status": s.status} for s in found])
        return
    cli_show.standing(found)


@app.command(
    epilog="Examples: fewdistill report runs/embedded/records --out report | "
    "fewdistill report results/reference/embedded | fewdistill report --readme | fewdistill report --readme --check"
)
def report(
    records: Annotated[
        list[Path] | None, typer.Argument(help="Folders of records, merged.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the page, tables and plots.")] = Path("report"),
    readme: Annotated[
        bool, typer.Option("--readme", help="Instead, in a checkout: write README.md and docs/ anew from --reference.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="With --readme: change nothing, name what is stale.")] = False,
    reference: Annotated[Path, typer.Option(help="With --readme: folder of the reference records.")] = Path(
        "results/reference"
    ),
) -> None:
    """Tables, plots and one self-contained HTML page from record folders.

    --readme writes what stands between the markers of README.md and docs/*.md, and the reference suites' plots.
    """
    from fewdistill.results.report.page import write_report

    if readme:
        if records:
            raise UserError("--readme reads the folder of --reference: leave the record folders out")
        cli_readme.write(reference, check)
        return
    if check:
        raise UserError("--check is of --readme: add it")
    if not records:
        raise UserError("name one or more folders of records; a run writes runs/<suite>/records")
    for folder in records:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of records; a run writes runs/<suite>/records")
    page = write_report(list(records), out)
    cli_show.main_table(page)
    OUT.print(f"report: {page}")


def _print_json(value: Any) -> None:
    OUT.print_json(json.dumps(value))


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
        say("stopped; what was finished stands, and the same command goes on from there")
        sys.exit(130)


if __name__ == "__main__":
    main()
