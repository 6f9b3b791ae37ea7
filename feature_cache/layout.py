"""The published layout of a feature tree, one npy file a video, in and out of the cache."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewdistill.feature_cache.atomic import explained, publish, sweep, write_beside
from fewdistill.feature_cache.entry import Entry, Tick, no_tick
from fewdistill.feature_cache.errors import CacheError
from fewdistill.feature_cache.key import Key
from fewdistill.feature_cache.shards import npy_chunks, video_ids
from fewdistill.feature_cache.store import Store

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


def import_tree(
    folder: Path | str,
    store: Store,
    key: Key,
    ids: Iterable[str] | None = None,
    shape: tuple[int, int] | None = None,
    tick: Tick = no_tick,
) -> Entry:
    """Fill the key's entry from `folder`/<class>/<video>/feature.npy, float32 (T, D) or (1, T, D) each.

    ids: which videos, all found if None. shape: the (T, D) every file must have, that of the first if None. Only
    videos the entry does not hold yet are read. Raises CacheError naming the file that is missing, unreadable, of
    another shape or dtype, or holds a NaN; the shards before it stand.
    """
    folder = Path(folder)
    videos = _videos(folder) if ids is None else video_ids(ids)
    if not videos:
        raise CacheError(f"{folder} holds no <class>/<video>/{FEATURE_FILE}; give the folder above the classes")
    for video in videos:
        path = _feature_path(folder, video)
        if not path.is_file():
            raise CacheError(f"{path} is missing; extract the features of {video!r} or leave it out of the list")
    if shape is None:
        row = _read(_feature_path(folder, videos[0]), None)
        shape = (row.shape[0], row.shape[1])
    entry = store.entry(key, row_shape=shape, dtype=np.float32)
    shards = entry.plan(videos)
    for done, shard in enumerate(shards, start=1):
        entry.write(shard, np.stack([_read(_feature_path(folder, video), shape) for video in shard.ids]))
        tick(done, len(shards))
    return entry


def _videos(folder: Path) -> list[str]:
    with explained(folder):
        found = [path.parent.relative_to(folder).as_posix() for path in folder.glob(f"*/*/{FEATURE_FILE}")]
    return sorted(found)


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


def _read(path: Path, shape: tuple[int, int] | None) -> NDArray[Any]:
    """The (T, D) features of one file, checked."""
    with explained(path):
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise CacheError(f"{path} is no readable npy file ({error}); extract it again") from None
    if not isinstance(array, np.ndarray):
        raise CacheError(f"{path} is an npz archive, not an npy file; extract it again")
    if array.dtype != np.float32:
        raise CacheError(f"{path} holds {array.dtype}, features are float32")
    found = array.shape
    if array.ndim == 3 and found[0] == 1:
        array = array[0]
    if array.ndim != 2 or 0 in array.shape or (shape is not None and array.shape != shape):
        wanted = f"(T, D) or (1, T, D) with (T, D) = {shape}" if shape else "(T, D) or (1, T, D)"
        raise CacheError(f"{path} has shape {found}, needed is {wanted}")
    if not np.isfinite(array).all():
        raise CacheError(f"{path} holds NaN or infinity; extract it again")
    return array
