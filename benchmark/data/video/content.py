"""Hashes of a data set's files, so that a cache notices when a video is replaced."""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fewdistill.feature_cache import CacheError, write_atomic

FORMAT = 1
SETTLED_NS = 2_000_000_000  # a file touched this recently may change again without a new time stamp


def content_hashes(
    files: Mapping[str, Sequence[str]], root: Path, modality: str, *, remember: bool = True
) -> dict[str, str]:
    """sha256 (hex) of each entry's file names and bytes: ``{id: [paths]}`` -> ``{id: hash}``.

    Files whose size and modification time are as remembered in ``<root>/.fewdistill/content_<modality>.json`` are
    not read again. Where that file cannot be written (a read-only disk), and without ``remember``, which leaves it
    alone, everything is read every time. Raises OSError for a file that cannot be read.
    """
    memory_path = root / ".fewdistill" / f"content_{modality}.json"
    known = _load(memory_path) if remember else {}
    paths = list(dict.fromkeys(path for group in files.values() for path in group))
    # Time stamps are taken before the bytes, so that a change in between shows as a new stamp next time.
    stamps = {path: [stat.st_size, stat.st_mtime_ns] for path in paths for stat in (os.stat(path),)}
    prefix = f"{root.as_posix()}/"
    names = {path: path.replace(os.sep, "/").removeprefix(prefix) for path in paths}
    fresh = [path for path in paths if known.get(names[path], [0, 0, ""])[:2] != stamps[path]]
    now = time.time_ns()
    with ThreadPoolExecutor() as pool:
        hashes = dict(zip(fresh, pool.map(_hash_file, fresh, chunksize=64), strict=True))
    for path in paths:
        if path not in hashes:
            hashes[path] = str(known[names[path]][2])
    if remember and (fresh or len(known) != len(paths)):
        settled = [path for path in paths if now - stamps[path][1] > SETTLED_NS]
        _save(memory_path, {names[path]: [*stamps[path], hashes[path]] for path in settled})
    return {
        key: hashlib.sha256(
            "".join(f"{os.path.basename(path)}\0{hashes[path]}\n" for path in group).encode()
        ).hexdigest()
        for key, group in files.items()
    }


def _hash_file(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(path: Path) -> dict[str, list]:
    """The remembered hashes; an unreadable memory is an empty one, since it only saves reading."""
    try:
        memory = json.loads(path.read_text(encoding="utf-8"))
        return dict(memory["files"]) if memory["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _save(path: Path, files: Mapping[str, list]) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, [json.dumps({"format": FORMAT, "files": files}).encode()])
    except (OSError, CacheError):
        return  # read-only or full disk: the hashes stand, only the next start is slower
