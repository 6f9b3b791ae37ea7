"""Stages trained by all processes that torchrun started: process 0 walks the graph and sends the others keys."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.graph.execute import Ended, InThisProcess, Outcome, run_stage
from fewdistill.benchmark.graph.protocol import OpenedSuite
from fewdistill.benchmark.runtime import progress
from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.process_group import Group, LostError, Stop
from fewdistill.benchmark.stage import Stage, with_needs


class TorchrunProcesses(InThisProcess):
    """The executor of process 0: it runs stages in order, those that can be divided together with the others."""

    def __init__(self, context: RunContext, group: Group) -> None:
        super().__init__(context)
        self.group = group

    def drive(self, stages: Sequence[Stage], started: Callable[[Stage], None], ended: Ended) -> None:
        """See ``execute.drive``. UserError, before any training, where a step cannot be divided."""
        for stage in stages:
            for count, key in stage.divides:
                if count % self.group.size:
                    raise UserError(
                        f"{key} = {count} a step cannot be divided over {self.group.size} processes: set a multiple "
                        f"of {self.group.size} (it is part of what is trained), or start fewer"
                    )
        super().drive(stages, started, ended)

    def run_one(self, stage: Stage, patient: bool) -> Outcome:
        """Run a stage, by all processes where it can be divided."""
        run = stage.run
        assert run is not None

        def together(stage: Stage) -> None:
            self.group.call(stage.key)
            with self.group.collective():
                run(stage)

        return run_stage(self.context, replace(stage, run=together) if stage.divides else stage, patient)


def follow(group: Group, opened: Callable[[], OpenedSuite]) -> None:
    """Take part in the stages that process 0 calls, until it ends; RunError when it ended by a failure.

    opened: opens the suite, once process 0 has made the data that it needs.
    """
    progress.CONSOLE.quiet = True
    stages: dict[str, Stage] = {}
    while not isinstance(key := group.receive(), Stop):
        try:
            with group.collective():
                stages = stages or with_needs(row.trained for row in opened().rows())
                stage = stages[key]
                assert stage.run is not None
                stage.run(stage)
        except LostError:
            raise
        except Exception:  # told to process 0, which records the row and goes on
            continue
    if key.reason:
        raise RunError(f"process {group.rank} ends, for process 0 failed: {key.reason}")
