"""Shards of an entry: 00012.npy has the rows, 00012.json their ids and checksum; a shard exists once its JSON does."""

import hashlib
import io
import os
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fewdistill.feature_cache.atomic import explained
from fewdistill.feature_cache.errors import CacheError, DamagedError
from fewdistill.feature_cache.manifest import REPAIR, ShardManifest, read_shard_manifest

Stamp = tuple[int, ...]


@dataclass(frozen=True)
class Shard:
    """The shard to write: its proposed number and the ids of its rows, in order.

    Raises CacheError for no ids, an id twice or an empty one.
    """

    index: int
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        ids = video_ids(self.ids)
        if self.index < 0 or not ids:
            raise CacheError(f"a shard has a number from 0 and at least one video id, not {self.index}, {self.ids!r}")
        if len(set(ids)) != len(ids):
            twice = next(video for video in ids if ids.count(video) > 1)
            raise CacheError(f"shard {self.index} names {twice!r} twice")


@dataclass(frozen=True, eq=False)
class MappedShard:
    """A shard that passed the cheap checks. rows: (rows, *row_shape), mapped; stamp: changes when a file does."""

    ids: tuple[str, ...]
    rows: NDArray[Any]
    stamp: Stamp


def video_ids(ids: Iterable[str]) -> list[str]:
    """The ids as a list; CacheError for one that is no non-empty string, and for a string in place of a list."""
    if isinstance(ids, str):
        raise CacheError(f"a list of video ids is needed, not the single string {ids!r}")
    listed = list(ids)
    for video in listed:
        if type(video) is not str or not video:
            raise CacheError(f"a video id is a non-empty string, not {video!r}")
    return listed


def shard_files(folder: Path, index: int) -> tuple[Path, Path]:
    """The npy and the JSON path of a shard number."""
    return folder / f"{index:05d}.npy", folder / f"{index:05d}.json"


def stamp(folder: Path, index: int) -> Stamp:
    """Inode, size and modification time (ns) of both files; DamagedError if the npy is missing."""
    marks: list[int] = []
    for path in shard_files(folder, index):
        with explained(path):
            try:
                status = os.stat(path)
            except FileNotFoundError:
                raise DamagedError(path, "the file is missing", REPAIR) from None
        marks += (status.st_ino, status.st_size, status.st_mtime_ns)
    return tuple(marks)


def npy_chunks(array: NDArray[Any]) -> list[bytes | memoryview]:
    """The bytes of an npy file (format 1.0) of a C-ordered array: header, then data without a copy."""
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(header, description)
    return [header.getvalue(), array.data.cast("B")]


def map_shard(folder: Path, index: int, row_shape: tuple[int, ...], dtype: str) -> MappedShard:
    """Map a shard into memory after the cheap checks: JSON seal, npy header, file size, row shape and dtype.

    Raises DamagedError naming the file and what is wrong. The bytes of the rows are not read.
    """
    array_path, json_path = shard_files(folder, index)
    manifest = read_shard_manifest(json_path)
    mark = stamp(folder, index)
    wanted = (len(manifest.ids), *row_shape)
    if (manifest.shape, manifest.dtype) != (wanted, dtype):
        found = f"{manifest.dtype} {manifest.shape}"
        raise DamagedError(json_path, f"holds {found}, the entry {dtype} {wanted}", REPAIR)
    with explained(array_path), array_path.open("rb") as file:
        offset = _check_array(array_path, file, manifest)
    with explained(array_path):
        # Read-only and shared: the pages are the file's, however many processes map it.
        rows = np.memmap(array_path, np.dtype(dtype), mode="r", offset=offset, shape=wanted)
    return MappedShard(manifest.ids, np.asarray(rows), mark)


def damage(folder: Path, index: int, row_shape: tuple[int, ...], dtype: str) -> DamagedError | None:
    """What is wrong with a shard, its npy read in full and compared to the JSON's sha256; None when sound."""
    array_path, json_path = shard_files(folder, index)
    try:
        map_shard(folder, index, row_shape, dtype)
        manifest = read_shard_manifest(json_path)
        with explained(array_path), array_path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except DamagedError as error:
        return error
    if sha256 != manifest.sha256:
        return DamagedError(array_path, "the sha256 differs from the one written", REPAIR)
    return None


def _check_array(path: Path, file: BinaryIO, manifest: ShardManifest) -> int:
    """Compare an npy file's header and size to the manifest; returns the offset of the first row in bytes."""
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"npy format {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError) as error:
        raise DamagedError(path, f"no readable npy header ({error})", REPAIR) from None
    if dtype != np.dtype(manifest.dtype):
        raise DamagedError(path, f"dtype {dtype}, written as {manifest.dtype}", REPAIR)
    if fortran or shape != manifest.shape:
        order = " in Fortran order" if fortran else ""
        raise DamagedError(path, f"shape {shape}{order}, written as {manifest.shape}", REPAIR)
    offset = file.tell()
    needed = offset + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    size = os.fstat(file.fileno()).st_size
    if size != needed:
        raise DamagedError(path, f"{size} bytes long, {needed} were written", REPAIR)
    return offset
