"""Writes a shard row by row, from several processes, and publishes it once all of its rows are there."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fewdistill.feature_cache.atomic import explained, temporary_path
from fewdistill.feature_cache.entry import Entry
from fewdistill.feature_cache.errors import CacheError
from fewdistill.feature_cache.shards import Shard, shard_files


@dataclass(frozen=True)
class ShardWriter:
    """Collects the rows of a shard in a file. One process begins it, any may put rows, one publishes or discards it.

    folder: of the entry; path: the file in which the rows lie, each at its place, under a temporary name that no
    reader looks at and that `collect` removes once its maker is gone. It costs little to pickle.
    """

    folder: Path
    shard: Shard
    row_shape: tuple[int, ...]
    dtype: str
    path: Path

    @classmethod
    def of(cls, entry: Entry, shard: Shard) -> Self:
        """The writer of a planned shard; nothing is on disk before `begin`."""
        rows_path = shard_files(entry.folder, shard.index)[0].with_suffix(".rows")
        return cls(entry.folder, shard, entry.row_shape, entry.dtype.name, temporary_path(rows_path))

    def begin(self) -> None:
        """Make the empty file."""
        with explained(self.path):
            self.path.touch(exist_ok=False)

    def put(self, place: int, row: NDArray[Any]) -> None:
        """Write the row of ``shard.ids[place]``; CacheError for another shape or dtype and for a full disk."""
        if row.shape != self.row_shape or row.dtype != np.dtype(self.dtype):
            wanted = f"{self.dtype} {self.row_shape}"
            raise CacheError(
                f"{self.folder}: the row of {self.shard.ids[place]!r} is {wanted}, got {row.dtype} {row.shape}"
            )
        with explained(self.path, row.nbytes), self.path.open("r+b") as file:  # not made anew if it was removed
            file.seek(place * row.nbytes)
            file.write(np.ascontiguousarray(row).data)

    def publish(self) -> None:
        """Write the shard, whole or not at all, and remove the file of rows. Every row must have been put.

        Raises CacheError as `Entry.write`, and for a file that is too short for its rows.
        """
        shape = (len(self.shard.ids), *self.row_shape)
        needed = int(np.prod(shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize
        with explained(self.path):
            size = os.stat(self.path).st_size
            if size != needed:
                raise CacheError(f"{self.path}: {size} of {needed} bytes there; run again")
            rows = np.memmap(self.path, np.dtype(self.dtype), mode="r", shape=shape)
        Entry(self.folder).write(self.shard, rows)
        self.discard()

    def discard(self) -> None:
        """Remove the file of rows, if it is there."""
        with explained(self.path):
            self.path.unlink(missing_ok=True)
