"""A cache entry: rows found by video id, in immutable shards of npy files."""

import hashlib
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewdistill.feature_cache.atomic import explained, publish, sweep, write_beside
from fewdistill.feature_cache.errors import CacheError, DamagedError
from fewdistill.feature_cache.lock import publish_lock
from fewdistill.feature_cache.manifest import (
    ShardManifest,
    read_entry_manifest,
    read_shard_manifest,
    sidecars,
    write_shard_manifest,
)
from fewdistill.feature_cache.mapped_span import MappedSpan
from fewdistill.feature_cache.shards import (
    MappedShard,
    Shard,
    Stamp,
    damage,
    map_shard,
    npy_chunks,
    shard_files,
    stamp,
    video_ids,
)

Tick = Callable[[int, int], None]
"""Called with (done, total) as work goes on."""

_ARRAY = re.compile(r"\d{5,}\.npy")


def no_tick(done: int, total: int) -> None:
    """A tick that shows nothing."""


@dataclass(frozen=True)
class Fault:
    """A shard that is not what was written. shard: its number; path: the file at fault; reason: in words."""

    shard: int
    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Entry:
    """The rows under one key, each (*row_shape) of one dtype and found by video id.

    Any number of processes may plan, write and read at once. The state kept here is what was seen of the folder,
    mapped and looked at again when asked for something not seen yet; a shard's bytes are compared to their checksum
    once, before its rows are first read or counted on. A pickled entry is opened anew where it lands.
    """

    def __init__(self, folder: Path | str) -> None:
        """Open an entry's folder (a Store does this); DamagedError if entry.json is missing or changed."""
        self.folder = Path(folder)
        manifest = read_entry_manifest(self.folder)
        self.key = manifest.key
        self.row_shape = manifest.row_shape
        self.dtype = np.dtype(manifest.dtype)
        self.rows_per_shard = manifest.rows_per_shard
        self._shards: dict[int, MappedShard] = {}
        self._sound: dict[int, Stamp] = {}  # what the compared shards were
        self._rows: dict[str, tuple[int, int]] = {}  # id -> shard, row in it
        self._span: MappedSpan | None = None  # over the mapped shards, made when rows are first read
        self._places: dict[str, int] = {}  # id -> its window

    def __reduce__(self) -> tuple[type["Entry"], tuple[Path]]:
        return Entry, (self.folder,)  # a mapped array would otherwise be pickled as a copy of its data

    def ids(self) -> list[str]:
        """The ids of all rows on disk, sorted; DamagedError if a shard fails the cheap checks. No row is read."""
        self._look(compare=False)
        return sorted(self._rows)

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Which of the ids have no row yet, sorted, each once; DamagedError names a shard not as it was written."""
        wanted = set(video_ids(ids))
        self._look()
        return sorted(wanted.difference(self._rows))

    def plan(self, ids: Iterable[str]) -> list[Shard]:
        """The missing ids in sorted chunks of rows_per_shard, under the lowest free shard numbers.

        Whole chunks go as they are written, so every worker that asks for the same ids, at whatever moment, gets the
        same chunks under the same numbers: share them out by ``shard.index % workers``, not by place in this list.
        """
        missing = self.missing(ids)
        chunks = [missing[at : at + self.rows_per_shard] for at in range(0, len(missing), self.rows_per_shard)]
        free = islice((number for number in count() if number not in self._shards), len(chunks))
        return [Shard(number, tuple(chunk)) for number, chunk in zip(free, chunks, strict=True)]

    def write(self, shard: Shard, rows: NDArray[Any]) -> None:
        """Put a shard's rows, (len(shard.ids), *row_shape) of the entry's dtype, on disk, whole or not at all.

        If another process wrote the same ids under the number in the meantime, its shard stays and this one is
        dropped; if it wrote other ids there, this one takes the next number: no row is lost either way.
        Raises CacheError for another shape or dtype, for a NaN or infinity (naming the video) and for a full disk
        (naming folder, bytes needed and free).
        """
        self._check(shard, rows)
        data = np.ascontiguousarray(rows)
        chunks = npy_chunks(data)
        sha256 = hashlib.sha256()
        for chunk in chunks:
            sha256.update(chunk)
        array_path, json_path = shard_files(self.folder, shard.index)
        array_file = write_beside(array_path, chunks)
        json_file = None
        try:
            manifest = ShardManifest(shard.ids, sha256.hexdigest(), data.shape, data.dtype.name)
            json_file = write_shard_manifest(json_path, manifest)
            with publish_lock(self.folder):
                number = self._number_for(shard)
                if number is None:
                    return
                array_path, json_path = shard_files(self.folder, number)
                publish(array_file, array_path)
                publish(json_file, json_path)
        finally:
            for leftover in (array_file, json_file):
                if leftover is not None:
                    leftover.unlink(missing_ok=True)

    def gather(self, ids: Iterable[str]) -> NDArray[Any]:
        """The rows of the ids, in their order, repeats allowed: a new array (len(ids), *row_shape), the entry's dtype.

        Each row is copied once, from the mapped file, by all of torch's threads. Raises CacheError naming an id that
        has no row, DamagedError as `missing`.
        """
        wanted = video_ids(ids)
        if not wanted:
            return np.empty((0, *self.row_shape), self.dtype)
        if len(self._sound) != len(self._shards) or self._span is None:
            self._look()
        try:
            places = list(map(self._places_in_span().__getitem__, wanted))
        except KeyError:
            self._look()
            absent = [video for video in wanted if video not in self._rows]
            if absent:
                more = f" and {len(absent) - 1} more of the {len(wanted)} asked for" if len(absent) > 1 else ""
                raise CacheError(
                    f"{self.folder} ({self.key.kind}) has no row for {absent[0]!r}{more}; run the step that fills it "
                    "again: it computes only what is missing"
                ) from None
            places = list(map(self._places_in_span().__getitem__, wanted))
        assert self._span is not None  # there are rows
        found = np.empty((len(wanted), *self.row_shape), self.dtype)
        self._span.gather(places, found)
        return found

    def verify(self, tick: Tick = no_tick) -> list[Fault]:
        """Read every byte and compare it to its sha256; the shards at fault, by number."""
        numbers = [number for number, _ in sidecars(self.folder)]
        faults = []
        for done, number in enumerate(numbers, start=1):
            found = damage(self.folder, number, self.row_shape, self.dtype.name)
            if found is not None:
                faults.append(Fault(number, found.path, found.reason))
            tick(done, len(numbers))
        return faults

    def repair(self, tick: Tick = no_tick) -> list[str]:
        """Verify and remove the shards at fault, so that the next run computes just those again.

        Returns the ids that have no row any more, sorted; a shard whose JSON is unreadable cannot name its own.
        """
        lost: set[str] = set()
        for fault in self.verify(tick):
            array_path, json_path = shard_files(self.folder, fault.shard)
            with publish_lock(self.folder), explained(json_path):
                if damage(self.folder, fault.shard, self.row_shape, self.dtype.name) is None:
                    continue  # repaired and written anew by another process in the meantime
                with suppress(DamagedError):
                    lost.update(read_shard_manifest(json_path).ids)
                json_path.unlink(missing_ok=True)  # first, for the shard exists as long as its JSON does
                array_path.unlink(missing_ok=True)
        return self.missing(lost)

    def collect(self) -> list[Path]:
        """Remove what killed writers left: abandoned temporary files, arrays without their JSON. Returns the paths."""
        removed = sweep(self.folder)
        with publish_lock(self.folder), explained(self.folder):  # no array is on its way to its JSON
            for path in sorted(self.folder.iterdir()):
                if _ARRAY.fullmatch(path.name) and not path.with_suffix(".json").exists():
                    path.unlink()
                    removed.append(path)
        return removed

    def size_bytes(self) -> int:
        """Bytes of all files of the entry."""
        with explained(self.folder):
            return sum(path.stat().st_size for path in self.folder.iterdir())

    def _look(self, compare: bool = True) -> None:
        """Take in what changed in the folder since last time; ``compare`` the bytes that were not yet."""
        shards: dict[int, MappedShard] = {}
        for number, json_path in sidecars(self.folder):
            known = self._shards.get(number)
            try:
                if known is None or known.stamp != stamp(self.folder, number):
                    known = map_shard(self.folder, number, self.row_shape, self.dtype.name)
                if compare and self._sound.get(number) != known.stamp:
                    found = damage(self.folder, number, self.row_shape, self.dtype.name)
                    if found is not None:
                        raise found
                    self._sound[number] = known.stamp
            except DamagedError:
                if json_path.exists():
                    raise
                continue  # removed by a repair since the folder was listed
            shards[number] = known
        self._sound = {
            number: mark for number, mark in self._sound.items() if number in shards and shards[number].stamp == mark
        }
        if shards == self._shards:
            return
        rows: dict[str, tuple[int, int]] = {}
        for number in sorted(shards, reverse=True):  # of an id written twice, the lowest number counts
            rows.update((video, (number, row)) for row, video in enumerate(shards[number].ids))
        self._shards, self._rows, self._span, self._places = shards, rows, None, {}

    def _places_in_span(self) -> dict[str, int]:
        """The window of every id's row."""
        if self._span is None and self._shards:
            numbers = list(self._shards)
            self._span = MappedSpan([self._shards[number].rows for number in numbers])
            of_shard = dict(zip(numbers, self._span.places, strict=True))
            self._places = {video: of_shard[number][row] for video, (number, row) in self._rows.items()}
        return self._places

    def _number_for(self, shard: Shard) -> int | None:
        """The number under which to publish, with the lock held; None if the same videos stand there already."""
        numbers = [number for number, _ in sidecars(self.folder)]
        if shard.index not in numbers:
            return shard.index
        standing = map_shard(self.folder, shard.index, self.row_shape, self.dtype.name)
        return None if set(standing.ids) == set(shard.ids) else max(numbers) + 1

    def _check(self, shard: Shard, rows: NDArray[Any]) -> None:
        wanted = (len(shard.ids), *self.row_shape)
        if not isinstance(rows, np.ndarray) or rows.shape != wanted or rows.dtype != self.dtype:
            found = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
            raise CacheError(f"{self.folder}: shard {shard.index} is a numpy array {self.dtype} {wanted}, got {found}")
        if self.dtype.kind == "f":
            finite = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
            if not finite.all():
                bad = shard.ids[int(np.argmin(finite))]
                raise CacheError(
                    f"the features of {bad!r} hold NaN or infinity (so do {np.count_nonzero(~finite)} of the shard's "
                    f"{len(finite)} videos); nothing was written to {self.folder}; look at that video and its encoder"
                )
