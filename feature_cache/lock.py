"""File locks that the operating system releases when their holder dies."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from fewdistill.feature_cache.atomic import explained, write_atomic
from fewdistill.feature_cache.errors import CacheError, InUseError

_PUBLISH_WAIT_S = 120.0
_ASK_AGAIN_S = 0.5  # of a lock held for minutes or hours, perhaps on a file server


@contextmanager
def run_lock(folder: Path | str, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold `folder` for one process: another one, or another thread, gets an InUseError at once.

    With `waiting`, that is called with who holds the folder (process, host and start), and the lock is waited for,
    however long that takes. A killed process holds nothing. The folder is made if missing; `.run.lock` and, while held,
    `.run.json` lie in it. On a shared folder all hosts must see each other's flock, as NFS 4 and the cluster file
    systems let them.
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
            if waiting is None:
                raise InUseError(
                    f"{folder} is in use by another run ({_owner(owner)}); wait for it to end, stop it, "
                    "or choose another folder"
                ) from None
            waiting(_owner(owner))
            lock.acquire(timeout=-1, poll_interval=_ASK_AGAIN_S)
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


def _owner(owner: Path) -> str:
    try:
        found = json.loads(owner.read_bytes())
        return f"process {found['pid']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it is only just starting or ending"
