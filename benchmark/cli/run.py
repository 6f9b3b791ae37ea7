"""`fewdistill run`, `demo` and `status`: a suite of any protocol, on this machine, on Ray or under torchrun."""

import json
import os
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fewdistill.benchmark.cli.output import OUT, add_row, print_line
from fewdistill.benchmark.runtime.allocator import tune_malloc
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.progress import say
from fewdistill.feature_cache import run_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fewdistill.benchmark.api import Run
    from fewdistill.benchmark.graph.execute import Executor
    from fewdistill.benchmark.graph.protocol import RunOptions
    from fewdistill.benchmark.graph.record_index import RowStatus

SuiteName = Annotated[str, typer.Argument(help="A shipped suite's name or a TOML file.")]
Runs = Annotated[Path, typer.Option(help="Folder of run folders, one a suite.")]
Data = Annotated[Path, typer.Option(help="Folder of the embedded data set and the caches.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change one setting: section.key=value. Repeatable.")]
Only = Annotated[
    list[str] | None, typer.Option(help="Rows to run, as a pattern on model/distillation/seed@variant. Repeatable.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Workers = Annotated[
    int | None,
    typer.Option(
        envvar="FEWDISTILL_WORKERS",
        show_default="one a core, one for CUDA",
        help="Processes that train side by side, of one thread each; 1 trains in this process.",
    ),
]
Address = Annotated[
    str | None, typer.Option(help="Of the Ray cluster, host:port. Default: $RAY_ADDRESS, else one is started here.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
RUN_EXAMPLES = (
    "Examples: fewdistill run embedded | fewdistill run embedded --only 'resnet18/*/s0' | "
    "fewdistill run my.toml --set episodic.episodes=200 | fewdistill run embedded --track tensorboard | "
    "fewdistill run embedded --engine ray --address head:6379 | "
    "fewdistill run dke_gcn_nwucla --only 'light_dke_gcn-joint/*/s0' --save-scores | "
    "torchrun --nproc-per-node 2 -m fewdistill run embedded --only 'resnet18/d2m/s0' --set episodic.accumulate=2"
)


def run_command(
    suite: SuiteName,
    set_: Set = None,
    only: Only = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Score finished rows again.")] = False,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile trunks, on CUDA devices.")] = False,
    runs: Runs = Path("runs"),
    data: Data = Path("data"),
    device: Device = "auto",
    workers: Workers = None,
    engine: Annotated[str, typer.Option(help="local, or ray: stages as tasks on a Ray cluster.")] = "local",
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
    """Run a suite: train, distil, evaluate, record. Finished work is reused, and an interrupted run goes on.

    Independent stages run side by side, one process of one thread a core. Runs of one suite may share their folders, on
    one machine or on a file system that knows flock: each takes the stages at which no other works. On Ray and under
    torchrun, too, all machines need the same run and data folders.

    A tracker shows curves and results while they come (runs/<suite>/tracking); no record depends on it, and one that
    fails does not stop the run.

    Under torchrun the processes divide each step: the episodes of episodic training (episodic.accumulate and its like)
    and the batches of base training.
    """
    from fewdistill.benchmark.api import load_suite
    from fewdistill.benchmark.graph.protocol import RunOptions
    from fewdistill.benchmark.runtime.process_group import torchrun_group

    tune_malloc()
    if engine not in ("local", "ray"):
        raise UserError(f"no engine {engine!r}: choose local or ray")
    if engine == "local" and address is not None:
        raise UserError("--address is of a Ray cluster: add --engine ray")
    loaded = load_suite(suite, tuple(set_ or ()))
    with torchrun_group(device) as group:
        if group is not None and engine != "local":
            raise UserError("--engine ray and torchrun do not go together: a Ray task is one process")
        here = "auto" if engine == "ray" and device == "cuda" else device  # this machine may have no CUDA device
        argv = (Path(sys.argv[0]).name, *sys.argv[1:])
        options = RunOptions(runs, data, here, compile_, tuple(track or ()), save_scores, group, argv)
        if group is not None and group.rank:
            from fewdistill.benchmark.graph.torchrun import follow

            follow(group, lambda: _opened(loaded, options).opened)
            return
        with nullcontext() if group is None else group.as_rank0():
            run = _opened(loaded, options)
            if dry_run:
                show_status(run.status(only or ()))
                return
            if group is None and engine == "local":
                _one_thread(run)
            chosen = partial(_executor, run, options, engine, address, device, workers, overwrite)
            _run(run, chosen, only or (), overwrite, report)


def _opened(loaded: Any, options: "RunOptions") -> "Run":
    from fewdistill.benchmark.api import Run, open_loaded

    return Run(open_loaded(loaded, options), options)


def _one_thread(run: "Run") -> None:
    """One thread on the CPU, unless OMP_NUM_THREADS is set: results must not depend on how many cores there are."""
    import torch

    if run.opened.context.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def _executor(
    run: "Run",
    options: "RunOptions",
    engine: str,
    address: str | None,
    device: str,
    workers: int | None,
    overwrite: bool,
    pending: Any,
) -> "Executor":
    if options.group is not None:
        from fewdistill.benchmark.graph.torchrun import TorchrunProcesses

        return TorchrunProcesses(run.opened.context, options.group)
    if engine == "ray":
        from fewdistill.benchmark.graph.ray import RayCluster

        return RayCluster(lambda on: run.remote(pending, overwrite, 1, on), address, device)
    return run.local(pending, workers=workers, overwrite=overwrite)


def _run(run: "Run", executor: Any, only: "Sequence[str]", overwrite: bool, report: bool) -> None:
    from fewdistill.benchmark.graph.execute import run as run_missing
    from fewdistill.benchmark.graph.execute import unfinished

    found = run_missing(run.opened, executor, only, overwrite)
    if report:
        _report(run, {key for each in run.status() for key in each.row.keys})
    else:
        show_status(found)
    unfinished(found)


def _report(run: "Run", keys: set[str]) -> None:
    from fewdistill.results.report.fingerprint import refresh

    runs = run.folder
    with run_lock(runs / "locks" / "report", lambda owner: say(f"[waiting for the report: {owner}]")):
        page = refresh(runs / "records", runs / "report", keys)
    main_table(page)
    print_line(f"report: {page}")


def main_table(page: Path) -> None:
    """Print the main table beside a report's page."""
    print_line((page.parent / "tables" / "main.md").read_text())


def show_status(found: "Sequence[RowStatus]") -> None:
    """Print the status of each row's records."""
    columns = list(dict.fromkeys(name for each in found for name in each.by_cell))
    table = Table("row", *columns)
    for each in found:
        add_row(table, each.row.name, *(each.by_cell.get(name, "") for name in columns))
    OUT.print(table)
    print_line(f"{sum(each.done for each in found)} of {len(found)} rows done")


def demo(
    runs: Runs = Path("runs"), data: Data = Path("data"), device: Device = "auto", workers: Workers = None
) -> None:
    """The whole chain on a small embedded data set: derive, teach, distil, evaluate, report. Minutes on two cores."""
    run_command("demo", runs=runs, data=data, device=device, workers=workers)


def status_command(
    suite: SuiteName, set_: Set = None, runs: Runs = Path("runs"), data: Data = Path("data"), as_json: Json = False
) -> None:
    """The status of every row of a suite: done, failed, diverged, started or missing."""
    from fewdistill.benchmark.api import load_suite
    from fewdistill.benchmark.graph.protocol import RunOptions

    found = _opened(load_suite(suite, tuple(set_ or ())), RunOptions(runs, data)).status()
    if as_json:
        rows = [{"row": each.row.name, "status": each.by_cell} for each in found]
        OUT.print_json(json.dumps(rows))
        return
    show_status(found)
