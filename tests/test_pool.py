"""Worker processes: one thread each, and gone when their block, their parent or Ctrl-C ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import cv2
import psutil
import pytest

from fewdistill.benchmark.data.problem import FileError
from fewdistill.benchmark.data.video.frames import list_frames
from fewdistill.benchmark.runtime.pool import worker_pool

WAITING = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
from fewdistill.benchmark.runtime.pool import worker_pool
with worker_pool(2) as submit:
    waits = [submit(time.sleep, 60) for _ in range(4)]
    print('submitted', flush=True)
    submit(print)
    waits[0].result()
"""


def ready(worker: psutil.Process) -> bool:
    """Whether a worker is past its imports: it then waits in its task, beside the thread that watches the parent."""
    return worker.num_threads() >= 2 and worker.status() == psutil.STATUS_SLEEPING


def interrupt(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()


@pytest.mark.parametrize("end", [interrupt, kill])
@pytest.mark.parametrize("when", ["starting", "working"])
def test_no_worker_outlives_its_parent(end: Callable[[subprocess.Popen[str]], None], when: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "submitted\n"
    deadline, workers = time.monotonic() + 60, []
    while len(workers) < 2:
        assert time.monotonic() < deadline
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    while when == "working" and not all(map(ready, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    end(process)
    _, said = process.communicate(timeout=30)  # a task sleeps for 60 s
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert said.count("Traceback") == (end is interrupt), said  # the parent's own, no worker's


def test_workers_have_one_thread_and_their_errors_come_back_whole() -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    with worker_pool(1, os.putenv, "READY", "yes") as submit:
        assert submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
        assert submit(cv2.getNumThreads).result() == 1
        assert os.environ.get("OMP_NUM_THREADS") == before
        with pytest.raises(FileError, match="gone: no such frame folder; copy it again"):  # as it was raised there
            submit(list_frames, "gone").result()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
