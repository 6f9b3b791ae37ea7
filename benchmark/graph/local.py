"""Independent stages side by side on this machine: one process of one thread a core.

On two cores, two processes of one thread train more frames a second than one process of two threads, and results do
not depend on how many cores there are.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

from fewdistill.benchmark.graph.execute import Ended, Outcome, drive
from fewdistill.benchmark.graph.remote import Remote, Worker, divided
from fewdistill.benchmark.runtime.pool import Submit, worker_pool
from fewdistill.benchmark.runtime.progress import Forwarded, show_forwarded
from fewdistill.benchmark.stage import Stage

_RETRIES = 3  # of a stage whose worker died


class WorkerProcesses:
    """The executor that runs as many stages at once as there are worker processes."""

    def __init__(self, remote: Remote, workers: int) -> None:
        self.remote, self.workers = remote, workers

    def drive(self, stages: Sequence[Stage], started: Callable[[Stage], None], ended: Ended) -> None:
        """See ``execute.drive``. Stages of a worker that died are run again, some times."""
        left = {stage.key: stage for stage in divided(stages, self.workers)}
        running: set[str] = set()
        lost: Counter[str] = Counter()

        def note_start(stage: Stage) -> None:
            running.add(stage.key)
            started(stage)

        def note_end(stage: Stage, outcome: Outcome) -> None:
            running.discard(stage.key)
            left.pop(stage.key, None)
            ended(stage, outcome)

        def submit_to(pool: Submit) -> Callable[[Stage, bool], Future[Outcome]]:
            def submit(stage: Stage, patient: bool) -> Future[Outcome]:
                return _lost() if lost[stage.key] > _RETRIES else pool(_run, stage.key, patient)

            return submit

        while left:
            try:
                with show_forwarded() as events, worker_pool(self.workers, _ready, self.remote, events) as pool:
                    drive(list(left.values()), submit_to(pool), self.workers, note_start, note_end)
            except BrokenProcessPool:
                lost.update(running)
                running.clear()


def _lost() -> Future[Outcome]:
    future: Future[Outcome] = Future()
    reason = "its process was killed again and again, by the system if memory ran out: run again with fewer --workers"
    future.set_result(Outcome("failed", reason))
    return future


# --- in a worker -----------------------------------------------------------------------------------------------------

_remote: Remote
_worker: Worker | None = None


def _ready(remote: Remote, events: Forwarded) -> None:
    global _remote
    _remote = remote
    events.take_over()


def _run(key: str, patient: bool) -> Outcome:
    """The suite is opened with the first stage, so that what fails there is an outcome like any other."""
    global _worker
    try:
        _worker = _worker or Worker(_remote)
    except Exception as error:
        return Outcome("failed", f"{type(error).__name__}: {error}")
    return _worker.run(key, patient)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
