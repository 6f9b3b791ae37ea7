"""Worker processes that leave nothing behind: they end with the block that started them, however it ends."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import cv2

Submit = Callable[..., Future[Any]]
"""Called with a function and its arguments, as an executor's `submit`."""


@contextmanager
def worker_pool(workers: int, start: Callable[..., None] | None = None, *arguments: object) -> Iterator[Submit]:
    """``workers`` processes of one thread each, every one readied by ``start(*arguments)``; yields their `submit`.

    The processes end when the block does. If an error or Ctrl-C leaves it, or this process is killed, they stop in
    the middle of what they do, so their files must be written whole or not at all. When a worker is killed the
    futures raise BrokenProcessPool. Ctrl-C in a terminal reaches the caller alone.

    They are spawned, not forked: the caller may hold threads and locks (torch, OpenCV) that a fork would copy
    half-way. So, as ever with spawned processes, a script that comes here keeps its own work under
    ``if __name__ == "__main__"``.
    """
    context = get_context("spawn")
    leash, hand = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, initializer=_ready, initargs=(leash, start, arguments))

    def submit(function: Callable[..., object], /, *args: object) -> Future[Any]:
        with _for_a_new_process():  # which an executor starts as work comes in
            return pool.submit(function, *args)

    try:
        yield submit
    except BaseException:
        hand.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        hand.close()
        leash.close()


@contextmanager
def _for_a_new_process() -> Iterator[None]:
    """What a process started in the block inherits: Ctrl-C held back from its first moment, and one thread."""
    threads, held = os.environ.get("OMP_NUM_THREADS"), signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = threads
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _ready(leash: Connection, start: Callable[..., None] | None, arguments: tuple[object, ...]) -> None:
    cv2.setNumThreads(1)  # OpenCV does not look at OMP_NUM_THREADS

    def end_with_parent() -> None:
        leash.poll(None)  # until the other end is closed: by the parent, or by the system when the parent is killed
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)
