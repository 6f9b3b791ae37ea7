"""Waiting for what other processes do, and their worker processes."""

import time
from collections.abc import Callable
from contextlib import suppress

import psutil


def workers_of(parent: int) -> list[psutil.Process]:
    """The spawned processes below a process."""
    with suppress(psutil.NoSuchProcess):  # one ended in between
        children = psutil.Process(parent).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    return []


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + 200
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.002)
