"""Stages run in another process: it opens the suite itself, and finds a stage by its key."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewdistill.benchmark.graph.execute import Outcome, run_stage
from fewdistill.benchmark.graph.protocol import OpenedSuite
from fewdistill.benchmark.graph.record_index import row_stage
from fewdistill.benchmark.runtime.allocator import tune_malloc
from fewdistill.benchmark.stage import Stage, in_parts, with_needs


@dataclass(frozen=True)
class Remote:
    """What such a process is given, picklable and comparable.

    opened: opens the suite; folder: relative paths in it start there; rows: names of those that are run; overwrite:
    score them even where their records are finished; parts: into how many a stage is divided that can be.
    """

    opened: Callable[[], OpenedSuite]
    folder: Path
    rows: tuple[str, ...]
    overwrite: bool
    parts: int


class Worker:
    """The opened suite of such a process, and its stages by key."""

    def __init__(self, remote: Remote) -> None:
        os.chdir(remote.folder)
        tune_malloc()
        self.suite = remote.opened()
        rows = [row for row in self.suite.rows() if row.name in remote.rows]
        targets = [row_stage(self.suite.context, row, remote.overwrite) for row in rows]
        every = divided(list(with_needs(targets).values()), remote.parts)
        self.stages = {stage.key: stage for stage in every}

    def run(self, key: str, patient: bool) -> Outcome:
        """Run a stage; see ``run_stage``."""
        return run_stage(self.suite.context, self.stages[key], patient)


def divided(stages: Sequence[Stage], parts: int) -> list[Stage]:
    """The stages, those that can be divided with their parts before them."""
    return [part for stage in stages for part in in_parts(stage, parts)]
