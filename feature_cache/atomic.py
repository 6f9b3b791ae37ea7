"""Atomic file writes, and removal of the temporary files of killed writers."""

import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import BinaryIO

import psutil

from fewdistill.feature_cache.errors import CacheError

STALE_AFTER_S = 3600.0
_NO_ROOM = (ENOSPC, EDQUOT, EFBIG)
# Hashed, because a host name may itself hold the separator.
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_TEMPORARY = re.compile(r"\.tmp-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}-")


def temporary_path(path: Path) -> Path:
    """A fresh name beside `path` that tells host and process of its writer."""
    return path.with_name(f".tmp-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")


@contextmanager
def explained(path: Path, nbytes: int = 0) -> Iterator[None]:
    """Turn an OSError of the block into a CacheError naming `path`; no room left also tells bytes needed and free."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            needed = f"{nbytes} bytes needed, " if nbytes else ""
            raise CacheError(
                f"no room in {path.parent} for {path.name}: {needed}{_free_bytes(path.parent)} bytes free on the disk "
                f"({error.strerror}); make room or raise the quota, then run again: what is finished stands"
            ) from error
        raise CacheError(f"{path}: {error.strerror or error}") from error


def write_beside(path: Path, chunks: Sequence[bytes | memoryview]) -> Path:
    """Write and fsync the chunks under a temporary name beside `path`, which is returned; nothing stays on failure.

    Raises CacheError as `explained` does.
    """
    temporary = temporary_path(path)
    with explained(path, sum(memoryview(chunk).nbytes for chunk in chunks)):
        try:
            with temporary.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return temporary


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write in the block that appears as `path`, fsynced, when the block ends well, and not at all otherwise.

    For what is too large to be held in memory. Raises CacheError as `explained` does.
    """
    temporary = temporary_path(path)
    try:
        with explained(path), temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Rename a file written beside `path` to it and make the rename durable."""
    with explained(path):
        os.replace(temporary, path)
        sync_folder(path.parent)


def write_atomic(path: Path, chunks: Sequence[bytes | memoryview]) -> None:
    """Write beside, fsync, rename; the old file stands until the new one is complete."""
    temporary = write_beside(path, chunks)
    try:
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files and folders directly under `folder` whose writer is gone or silent for an hour.

    A writer is known to be gone only on its own host. Returns what was removed.
    """
    removed = []
    with explained(folder):
        leftovers = [(path, match) for path in sorted(folder.iterdir()) if (match := _TEMPORARY.match(path.name))]
    for path, match in leftovers:
        gone = match[1] == _HOST and not psutil.pid_exists(int(match[2]))
        try:
            if not gone and time.time() - path.stat().st_mtime <= STALE_AFTER_S:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:  # its writer finished, or another sweep came first
            continue
        removed.append(path)
    return removed


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free if folder.exists() else 0
