"""The Python interface: open a suite, run it, read its records as a data frame, compare two rows."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from fewdistill.benchmark.graph.execute import InThisProcess, run
from fewdistill.benchmark.graph.execute import status as status_of_rows
from fewdistill.benchmark.graph.local import WorkerProcesses, cores
from fewdistill.benchmark.graph.protocol import OpenedSuite, Row, RunOptions
from fewdistill.benchmark.graph.record_index import RowStatus
from fewdistill.benchmark.graph.remote import Remote
from fewdistill.benchmark.protocols import PROTOCOLS
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.suite.load import load
from fewdistill.benchmark.suite.registry import load_plugins


def load_suite(name_or_path: str, overrides: Sequence[str] = ()) -> BaseModel:
    """Read and check a suite: a shipped one's name or a TOML file; overrides are ``section.key=value``. UserError."""
    return load(name_or_path, tuple(overrides), _model_of)


def _model_of(values: Mapping[str, Any]) -> type[BaseModel]:
    return PROTOCOLS[_protocol(values.get("protocol"))].model(values)


def _protocol(named: Any) -> str:
    return "episodic" if named is None else str(named)


def open_loaded(suite: Any, options: RunOptions) -> OpenedSuite:
    """Open a suite that was loaded. UserError for what does not fit, DataError for data that are not there."""
    return PROTOCOLS[_protocol(getattr(suite, "protocol", None))].open(suite, options)


@dataclass(frozen=True)
class Reopen:
    """Opens a suite again in another process: its settings as JSON, so that it can be sent and compared."""

    settings: str
    options: RunOptions

    def __call__(self) -> OpenedSuite:
        values = json.loads(self.settings)
        load_plugins(values.get("plugins", ()))
        return open_loaded(_model_of(values).model_validate_json(self.settings), self.options)

    @classmethod
    def of(cls, opened: OpenedSuite, options: RunOptions) -> "Reopen":
        """With everything decided that the suite leaves open."""
        absolute = replace(options, runs=options.runs.resolve(), data=options.data.resolve(), group=None)
        return cls(opened.suite.model_dump_json(exclude_unset=True), absolute)


@dataclass(frozen=True)
class Run:
    """A suite that is opened: run what is missing, ask for its status, read its records."""

    opened: OpenedSuite
    options: RunOptions

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.opened.context.runs

    def run(
        self, only: str | Sequence[str] = (), *, overwrite: bool = False, workers: int | None = None
    ) -> list[RowStatus]:
        """Train, distil, score and record what is missing; finished work is reused. Returns each row's status.

        only: a pattern, or several, on rows' names, model/distillation/seed@variant; workers: processes, default one
        a core. A script that trains in several keeps its own work under ``if __name__ == "__main__"``, as they are
        spawned.
        """
        return run(self.opened, partial(self.local, workers=workers, overwrite=overwrite), _listed(only), overwrite)

    def local(self, pending: list[Row], *, workers: int | None, overwrite: bool) -> InThisProcess | WorkerProcesses:
        """The executor on this machine: worker processes, or this one for a single worker."""
        count = workers_of(workers, self.opened)
        if count == 1:
            return InThisProcess(self.opened.context)
        return WorkerProcesses(self.remote(pending, overwrite, count), count)

    def remote(self, pending: list[Row], overwrite: bool, parts: int, device: str | None = None) -> Remote:
        """What worker processes open. device: theirs, default that of this process."""
        options = replace(self.options, device=device or self.opened.context.device.type)
        names = tuple(row.name for row in pending)
        return Remote(Reopen.of(self.opened, options), Path.cwd(), names, overwrite, parts)

    def status(self, only: str | Sequence[str] = ()) -> list[RowStatus]:
        """The status of each row's records: done, failed, diverged, started or missing."""
        return status_of_rows(self.opened, _listed(only))

    def records(self) -> pd.DataFrame:
        """The finished records, one a line; see ``records``."""
        return records(self.folder / "records")


def _listed(only: str | Sequence[str]) -> Sequence[str]:
    return (only,) if isinstance(only, str) else only


def workers_of(asked: int | None, opened: OpenedSuite) -> int:
    """How many worker processes: as many as asked, default one a core, and one for a CUDA device."""
    if asked is not None and asked < 1:
        raise UserError(f"--workers {asked}: at least one is needed")
    return asked or (1 if opened.context.device.type == "cuda" else cores())


def open_suite(
    name_or_path: str,
    *,
    runs: Path | str = "runs",
    data: Path | str = "data",
    device: str = "auto",
    **settings: Any,
) -> Run:
    """Open a shipped suite by name, or a TOML file.

    settings: changes, with double underscores for dots: ``open_suite("embedded", episodic__episodes=50)``. Raises
    UserError for what is unknown or impossible, DataError for data that are not there.
    """
    overrides = [f"{name.replace('__', '.')}={json.dumps(value)}" for name, value in settings.items()]
    options = RunOptions(Path(runs), Path(data), device, argv=(Path(sys.argv[0]).name, *sys.argv[1:]))
    return Run(open_loaded(load_suite(name_or_path, overrides), options), options)


def records(folder: Path | str) -> pd.DataFrame:
    """Finished records of a run's folder, or of ``results/reference/<suite>``, as a data frame, one record a line.

    Columns: the axes (suite, dataset, role, model, head, distillation, way, shot, seed, variant, ...), the metrics of
    the protocol (accuracy in 0..1, its interval ends, ...), the cost, and the record's key.
    """
    from fewdistill.results.records.frame import frame

    return frame(Path(folder))


def compare(one: str, two: str, *, shot: int | None = None, runs: Path | str = "runs") -> pd.DataFrame:
    """Two selections of records, ``suite:row`` or folders, paired on the same episodes; see ``fewdistill compare``."""
    from fewdistill.results.comparison.frame import compared_frame

    return compared_frame(one, two, shot, Path(runs))
