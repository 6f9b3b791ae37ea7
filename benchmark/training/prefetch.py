"""What coming steps need, prepared in the background while the present one trains."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

_DEPTH = 2  # steps prepared ahead, at most
_NICENESS = 5


class Prefetcher(Generic[T]):
    """``prepare(index)`` for index after index, the next ones already under way in one background thread.

    A thread is enough: decoding, resizing and copying release the interpreter. The call returns what ``prepare``
    returns and raises what it raises, whatever was prepared ahead: an index nobody foresaw is prepared on the spot,
    and one that was foreseen and never asked for leaves no trace. Which indices come is told from the distance
    between the last two. ``prepare`` must depend on its index alone. Leaving the ``with`` block, however that comes
    about, waits for the preparation under way and ends the thread.
    """

    def __init__(self, prepare: Callable[[int], T], stop: int) -> None:
        """stop: no index from there on is prepared ahead."""
        self._prepare = prepare
        self._stop = stop
        self._last: int | None = None
        self._coming: dict[int, Future[T]] = {}
        self._thread = ThreadPoolExecutor(1, "prefetch", initializer=_give_way)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._coming.clear()
        self._thread.shutdown(cancel_futures=True)

    def __call__(self, index: int) -> T:
        stride = index - self._last if self._last is not None and index > self._last else 1
        self._last = index
        wanted = [index, *range(index + stride, min(index + stride * _DEPTH + 1, self._stop), stride)]
        for unforeseen in self._coming.keys() - set(wanted):
            self._coming.pop(unforeseen).cancel()
        for coming in wanted:
            if coming not in self._coming:
                self._coming[coming] = self._thread.submit(self._prepare, coming)
        return self._coming.pop(index).result()


def _give_way() -> None:
    """Let the thread, and those it starts, run where the network leaves a processor free.

    On a machine with no processor to spare, reading ahead would otherwise hold up the threads that compute: each of
    their parallel loops waits for the slowest.
    """
    if sys.platform == "linux":  # elsewhere niceness belongs to the process
        with suppress(OSError):  # some containers forbid it; it is a courtesy, no more
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
