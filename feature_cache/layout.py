"""Exports rows in the published layout of a feature tree, one npy file a video."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewdistill.feature_cache.atomic import explained, publish, sweep, write_beside
from fewdistill.feature_cache.entry import Entry, Tick, no_tick
from fewdistill.feature_cache.errors import CacheError
from fewdistill.feature_cache.shards import npy_chunks, video_ids

FEATURE_FILE = "feature.npy"


def export_tree(entry: Entry, folder: Path | str, ids: Iterable[str] | None = None, tick: Tick = no_tick) -> int:
    """Write rows as `folder`/<class>/<video>/feature.npy, float32 (T, D); folder is feature/<name> as published.

    ids: which videos, all rows of the entry if None. Files that already hold their row are left, so an interrupted
    export goes on where it stopped. Returns the number of files written. Raises CacheError for an entry of other
    rows than float32 (T, D), an id without a row or not of the form class/video, and a file that holds something else.
    """
    folder = Path(folder)
    if entry.dtype != np.float32 or len(entry.row_shape) != 2:
        raise CacheError(
            f"{entry.folder} holds rows {entry.dtype} {entry.row_shape}; a feature tree holds float32 (T, D) only"
        )
    videos = entry.ids() if ids is None else video_ids(ids)
    absent = entry.missing(videos)
    if absent:
        entry.gather(absent)  # refuses before anything is written
    paths = [_feature_path(folder, video) for video in videos]
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    written = 0
    for done, (video, path) in enumerate(zip(videos, paths, strict=True), start=1):
        written += _export(path, entry.gather([video])[0], folder)
        tick(done, len(videos))
    return written


def _feature_path(folder: Path, video: str) -> Path:
    """`folder`/<class>/<video>/feature.npy; CacheError for an id that would lead out of the tree or elsewhere in it."""
    parts = video.split("/")
    if len(parts) != 2 or any(part in ("", ".", "..") or "\0" in part or os.sep in part for part in parts):
        raise CacheError(f"{video!r} is not of the form class/video, which a feature tree needs")
    return folder / PurePosixPath(video) / FEATURE_FILE


def _export(path: Path, row: NDArray[Any], folder: Path) -> bool:
    """Write one feature.npy; False if it already holds the row."""
    content = npy_chunks(row)
    with explained(path):
        if path.exists():
            if path.read_bytes() == b"".join(content):
                return False
            raise CacheError(f"{path} holds something else; export to another folder or delete it")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the classes, where one sweep finds what a killed export left.
        temporary = write_beside(folder / path.name, content)
        publish(temporary, path)
    return True
