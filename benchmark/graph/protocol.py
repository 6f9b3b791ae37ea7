"""What a protocol gives to the graph: rows, each with the stages that it needs and the records that it becomes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import BaseModel
from torch import Tensor

from fewdistill.benchmark.context import RunContext, device_named
from fewdistill.benchmark.runtime.process_group import Group
from fewdistill.benchmark.stage import Stage
from fewdistill.benchmark.tracking import Trackers
from fewdistill.feature_cache import Store
from fewdistill.results.records.arrays import Arrays
from fewdistill.results.records.record import Cell, Record
from fewdistill.students.heads.base import Head


@dataclass(frozen=True)
class Row:
    """One line of a suite: a trained network, or a sum of networks, scored at every shot.

    name: what ``--only`` matches, model/distillation/seed@variant; cells: the axes of its records, each with the stage
    whose identity names the record; trained: what is scored; needs: the stages that scoring reads; score: gives the
    finished records with their arrays; afterwards: what is still asked of a row whose records are finished; embed: the
    head, and tokens by branch float32 (N, T, D) of some test clips, for the episode viewer.
    """

    name: str
    cells: tuple[tuple[Cell, Stage], ...]
    trained: Stage
    needs: tuple[Stage, ...]
    score: Callable[[], Iterable[tuple[Record, Arrays]]] = field(repr=False)
    afterwards: Callable[[], None] | None = field(default=None, repr=False)
    embed: Callable[[Sequence[str]], tuple[Head, dict[str, Tensor]]] | None = field(default=None, repr=False)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys of its records: rows that share them are one row of two variants."""
        return tuple(record.key for _, record in self.cells)


@dataclass(frozen=True)
class RunOptions:
    """How a suite is opened. runs: of run folders, one a suite; data: of the embedded data set and the caches.

    device: auto, cpu or cuda; track: names of trackers; save_scores: keep the test clips' logits; group: the processes
    that train together, if any; argv: the command, for provenance.
    """

    runs: Path
    data: Path
    device: str = "auto"
    compile_trunks: bool = False
    track: tuple[str, ...] = ()
    save_scores: bool = False
    group: Group | None = None
    argv: tuple[str, ...] = ()

    def context(self, suite: str) -> RunContext:
        """The run context of a suite of that name; UserError for a device or tracker that cannot be used."""
        trackers = Trackers(self.track)
        device = device_named(self.device) if self.group is None else torch.device(self.group.device)
        cache = Store(self.data / "cache")
        return RunContext(self.runs / suite, cache, device, self.group, trackers, self.compile_trunks, self.argv)


class OpenedSuite(Protocol):
    """A suite with its data and its run folder."""

    @property
    def suite(self) -> BaseModel:
        """Its settings, with everything decided that they leave open."""
        ...

    @property
    def context(self) -> RunContext: ...

    def rows(self) -> Sequence[Row]:
        """All rows, in the order in which they are reported."""
        ...

    def check(self, pending: Sequence[Row]) -> None:
        """UserError, before any compute, for data or networks that cannot serve the rows still to be run."""
        ...


class SuiteProtocol(Protocol):
    """What is measured, and how a suite of it becomes rows; registered in suite.registry.PROTOCOLS."""

    def model(self, values: Mapping[str, Any]) -> type[BaseModel]:
        """The pydantic model of a suite with these values."""
        ...

    def open(self, suite: Any, options: RunOptions) -> OpenedSuite:
        """Open a suite of that model; UserError for what does not fit, DataError for data that are not there."""
        ...
