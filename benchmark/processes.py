"""Worker processes that share out work: one thread each, ended with their parent."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event

import cv2

_stop: Event | None = None


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; leaving the block drops what has not begun and waits for what has.

    What has begun can ask `stopping`. A worker that is killed shows as BrokenProcessPool.
    """
    context = get_context("spawn")  # a fork would copy the locks of torch's and OpenCV's threads half-way
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(stop,))
    try:
        yield pool
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def stopping() -> bool:
    """Whether the pool that this process works for is being left: nobody waits for the work any more."""
    return _stop is not None and _stop.is_set()


def _start(stop: Event) -> None:
    """One thread a process, Ctrl-C left to the parent, and an end with the parent's: a pool's workers would outlive
    a killed parent and go on writing."""
    global _stop
    _stop = stop
    os.environ["OMP_NUM_THREADS"] = "1"  # read when the work imports torch
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
