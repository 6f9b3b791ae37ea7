"""Locks the operating system releases when their holder dies."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from feature_cache.atomic import explained, write_atomic
from feature_cache.errors import CacheError

_PUBLISH_WAIT_S = 120.0


@contextmanager
def run_lock(folder: Path | str) -> Iterator[None]:
    """Hold `folder` for one run: a second run on it, from any process or thread, gets a CacheError at once.

    The message names process, host and start of the run that holds it. A killed run holds nothing. The folder is
    made if missing; `.run.lock` and, while held, `.run.json` lie in it.
    """
    folder = Path(folder)
    owner = folder / ".run.json"
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = _file_lock(folder / ".run.lock", 0)
    with explained(folder / ".run.lock"):
        try:
            lock.acquire()
        except Timeout:
            raise CacheError(
                f"{folder} is in use by another run ({_told(owner)}); wait for it to end, stop it, "
                "or choose another folder"
            ) from None
    try:
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat("T", "seconds")}
        write_atomic(owner, [json.dumps(me).encode()])
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


@contextmanager
def publish_lock(folder: Path) -> Iterator[None]:
    """Held for the moment in which a shard takes its number; waits two minutes at most, then CacheError."""
    path = folder / ".publish.lock"
    lock = _file_lock(path, _PUBLISH_WAIT_S)
    with explained(path):
        try:
            lock.acquire()
        except Timeout:
            raise CacheError(
                f"{path} has been held by another process for {_PUBLISH_WAIT_S:.0f} s; end the writer that hangs, "
                "then run again"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _file_lock(path: Path, wait_s: float) -> FileLock:
    # A soft lock would outlive a killed holder, so a file system without flock is an error instead.
    return FileLock(path, timeout=wait_s, poll_interval=0.01, fallback_to_soft=False)


def _told(owner: Path) -> str:
    try:
        told = json.loads(owner.read_bytes())
        return f"process {told['pid']} on {told['host']}, since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it is only just starting or ending"
