"""A folder of cache entries, each in a folder named by the hash of its key."""

import operator
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from fewdistill.feature_cache.atomic import explained, sweep, sync_folder, temporary_path, write_atomic
from fewdistill.feature_cache.entry import Entry
from fewdistill.feature_cache.errors import CacheError
from fewdistill.feature_cache.key import DIGEST_LENGTH, Key
from fewdistill.feature_cache.manifest import ENTRY_FILE, EntryManifest, entry_chunks

_DIGEST = re.compile(rf"[0-9a-f]{{{DIGEST_LENGTH}}}")


class Store:
    """The entries under one folder, which is made when the first entry is.

    An entry that was opened stays open, so that its shards' checksums are compared once and not at every use.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._opened: dict[Path, Entry] = {}

    def entry(self, key: Key, *, row_shape: Sequence[int], dtype: DTypeLike, rows_per_shard: int = 256) -> Entry:
        """The entry of a key, made if it is not there yet; any number of processes may ask at once.

        row_shape and dtype are those of one video's row. rows_per_shard is what a killed run can lose at most; an
        entry that is already there keeps its own. Raises CacheError if the entry there has another row shape or dtype.
        """
        manifest = EntryManifest(key, _shape(row_shape), _dtype_name(dtype), rows_per_shard)
        folder = self.root / key.digest
        if not (folder / ENTRY_FILE).exists():
            self._make(folder, manifest)
            self._opened.pop(folder, None)
        entry = self._open(folder)
        if (entry.row_shape, entry.dtype.name) != (manifest.row_shape, manifest.dtype):
            raise CacheError(
                f"{folder} holds rows {entry.dtype.name} {entry.row_shape}, asked for {manifest.dtype} "
                f"{manifest.row_shape}; what changes the rows' form belongs in the key ({key})"
            )
        return entry

    def open(self, key: Key) -> Entry:
        """The entry of a key that must be there; CacheError naming the key's fields if it is not."""
        folder = self.root / key.digest
        if not folder.exists():
            raise CacheError(f"{self.root} has no entry {key.digest} for {key}; run the step that fills it first")
        return self._open(folder)

    def find(self, key: Key) -> Entry | None:
        """The entry of a key, None where there is none; nothing is made."""
        folder = self.root / key.digest
        return self._open(folder) if (folder / ENTRY_FILE).exists() else None

    def entries(self) -> list[Entry]:
        """All entries, by digest; none if the folder does not exist. DamagedError if one's entry.json is damaged."""
        return [Entry(folder) for folder in self._folders()]

    def remove(self, digest: str) -> None:
        """Delete an entry with all its rows; CacheError if there is none of that digest."""
        folder = self.root / digest
        if not _DIGEST.fullmatch(digest) or not folder.exists():
            raise CacheError(f"{self.root} has no entry {digest!r}; `fewdistill cache ls` lists them")
        with explained(folder):
            # Gone for everyone in one step; a kill in the middle of the deletion leaves only a temporary folder.
            aside = temporary_path(folder)
            os.rename(folder, aside)
            shutil.rmtree(aside)

    def collect(self) -> list[Path]:
        """Remove what killed processes left in the store and its entries; returns the paths. Rows are never touched."""
        if not self.root.exists():
            return []
        removed = sweep(self.root)
        for entry in self.entries():
            removed += entry.collect()
        return removed

    def _open(self, folder: Path) -> Entry:
        if folder not in self._opened:
            self._opened[folder] = Entry(folder)
        return self._opened[folder]

    def _folders(self) -> list[Path]:
        if not self.root.exists():
            return []
        with explained(self.root):
            return sorted(folder for folder in self.root.iterdir() if _DIGEST.fullmatch(folder.name))

    def _make(self, folder: Path, manifest: EntryManifest) -> None:
        """Make the folder with entry.json in it at one stroke; of several processes the first wins."""
        with explained(folder):
            self.root.mkdir(parents=True, exist_ok=True)
            aside = temporary_path(folder)
            aside.mkdir()
            try:
                write_atomic(aside / ENTRY_FILE, entry_chunks(manifest))
                os.rename(aside, folder)
                sync_folder(self.root)
            except OSError:
                if not folder.exists():
                    raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)


def _shape(row_shape: Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(operator.index(size) for size in row_shape)
    except TypeError:
        raise CacheError(f"row_shape is a tuple of positive ints, not {row_shape!r}") from None


def _dtype_name(dtype: DTypeLike) -> str:
    try:
        return np.dtype(dtype).name
    except TypeError:
        raise CacheError(f"{dtype!r} is no numpy dtype") from None
