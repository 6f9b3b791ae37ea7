"""What stands between training and its trackers: whatever one raises, and however long it takes, the run goes on."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Full, Queue
from threading import Thread

from fewdistill.benchmark.runtime.progress import say
from fewdistill.benchmark.tracking.base import TRACKERS, Run, Value

PATIENCE_S = 60.0  # for a tracker to take in what it was given, at the end of what it follows
_WAITING = 4096  # points, more than one training gives


@dataclass(frozen=True)
class _End:
    status: str
    summary: dict[str, Value]


class _Guarded:
    """One tracker on one run, in a thread of its own."""

    def __init__(self, name: str, run: Run) -> None:
        self.name = name
        self._run = run
        self._failed = self._dropped = False
        self._queue: Queue[tuple[int, Mapping[str, float]] | _End] = Queue(_WAITING)
        self._thread = Thread(target=self._work, name=f"track {name}", daemon=True)  # the process may end before it
        self._thread.start()

    def _work(self) -> None:
        try:
            tracker = TRACKERS[self.name]()
            tracker.open(self._run)
            while not isinstance(item := self._queue.get(), _End):
                tracker.log(*item)
            tracker.close(item.status, item.summary)
        except BaseException as error:  # the end of the thread: a library's SystemExit, too, concerns the tracker alone
            self._failed = True
            why = " ".join(str(error).split()) or "no reason given"
            say(f"[{self.name}: {type(error).__name__}: {why}; {self._run.name} goes on without it]")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Leave values to the tracker, at once; drop them where too many wait."""
        if self._failed:
            return
        try:
            self._queue.put_nowait((step, values))
        except Full:
            if not self._dropped:
                say(f"[{self.name} is too slow for {self._run.name}: points are left out from step {step} on]")
            self._dropped = True

    def end(self, end: _End, deadline: float) -> bool:
        """Let the tracker finish until then; whether it did, or had failed before."""
        if not self._failed:
            try:
                self._queue.put(end, timeout=max(0.0, deadline - time.monotonic()))
            except Full:
                return False
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()


@dataclass
class Followed:
    """What is being tracked. summary: what it came to, to be filled in; status: its end, unless it raises."""

    _guarded: list[_Guarded]
    summary: dict[str, Value] = field(default_factory=dict)
    status: str = "done"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Values at a training step; takes no time to speak of."""
        for guarded in self._guarded:
            guarded.log(step, values)


class Trackers:
    """The trackers that a process was asked for, by name. One that hung once is not called again."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Raises UnknownNameError, and UserError where a tracker cannot be used here."""
        self.names = list(dict.fromkeys(names))
        for name in self.names:
            TRACKERS[name].check()

    @contextmanager
    def follow(self, run: Run) -> Iterator[Followed]:
        """Track what happens in the block."""
        followed = Followed([_Guarded(name, run) for name in self.names])
        try:
            yield followed
        except BaseException as error:
            followed.status = "failed" if isinstance(error, Exception) else "interrupted"
            followed.summary["reason"] = str(error)
            raise
        finally:
            self._close(followed)

    def _close(self, followed: Followed) -> None:
        end, deadline = _End(followed.status, dict(followed.summary)), time.monotonic() + PATIENCE_S
        for guarded in followed._guarded:
            if not guarded.end(end, deadline):
                self.names.remove(guarded.name)
                say(f"[{guarded.name} does not answer for {PATIENCE_S:g} s: this process goes on without it]")
