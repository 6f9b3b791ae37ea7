"""Rows every test can recompute from the video id alone."""

import subprocess
import sys
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewdistill.feature_cache import Entry, Key, Store

HERE = Path(__file__).parent
KEY = Key("tokens", {"encoder": "resnet18", "frames": 8})


def videos(count: int) -> list[str]:
    """`count` ids over four classes, not in sorted order."""
    return [f"class{index % 4}/video_{index * 7 % count:04d}_{index}" for index in range(count)]


def rows_of(ids: Sequence[str], shape: tuple[int, ...] = (3, 5), dtype: str = "float32") -> NDArray[Any]:
    """One row an id, drawn from a generator seeded by the id: (len(ids), *shape)."""
    rows = [np.random.default_rng(zlib.crc32(video.encode())).integers(0, 100, shape) for video in ids]
    return np.array(rows).reshape(len(ids), *shape).astype(dtype)


def fill(entry: Entry, ids: Iterable[str]) -> None:
    """Write every missing row."""
    for shard in entry.plan(ids):
        entry.write(shard, rows_of(shard.ids, entry.row_shape, entry.dtype.name))


def filled(root: Path, count: int = 10, rows_per_shard: int = 4, key: Key = KEY) -> Entry:
    """A full entry of `count` videos, float32 (3, 5) each."""
    entry = Store(root).entry(key, row_shape=(3, 5), dtype="float32", rows_per_shard=rows_per_shard)
    fill(entry, videos(count))
    return entry


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every shard file and entry.json of an entry, by name; no lock, no temporary file."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Run Python code in a process of its own, which imports this module; stdin and stdout are pipes."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE
    )
