"""The JSON files of an entry and of its shards, each sealed by its own sha256."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewdistill.feature_cache.atomic import explained, write_beside
from fewdistill.feature_cache.errors import CacheError, DamagedError
from fewdistill.feature_cache.key import Key, canonical_json

FORMAT = 1
ENTRY_FILE = "entry.json"
REPAIR = "`fewdistill cache verify --repair` removes the shard, the next run computes its videos again"
DTYPES = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64",
)  # fmt: skip
_SIDECAR = re.compile(r"(\d{5,})\.json")


@dataclass(frozen=True)
class EntryManifest:
    """entry.json: the key, and the shape and dtype name of one video's row; a shard has at most rows_per_shard."""

    key: Key
    row_shape: tuple[int, ...]
    dtype: str
    rows_per_shard: int

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise CacheError(f"a cache entry holds {', '.join(DTYPES)}; not {self.dtype}")
        if any(type(size) is not int or size < 1 for size in self.row_shape):
            raise CacheError(f"row_shape is a tuple of positive ints, not {self.row_shape}")
        if type(self.rows_per_shard) is not int or self.rows_per_shard < 1:
            raise CacheError(f"rows_per_shard is a positive int, not {self.rows_per_shard!r}")


@dataclass(frozen=True)
class ShardManifest:
    """00012.json: the video id of each row, and sha256 (hex), shape (rows, ...) and dtype name of 00012.npy."""

    ids: tuple[str, ...]
    sha256: str
    shape: tuple[int, ...]
    dtype: str


def entry_chunks(manifest: EntryManifest) -> list[bytes]:
    """The bytes of entry.json."""
    return sealed({
        "kind": manifest.key.kind, "fields": json.loads(manifest.key.canonical)["fields"],
        "row_shape": manifest.row_shape, "dtype": manifest.dtype, "rows_per_shard": manifest.rows_per_shard,
    })  # fmt: skip


def read_entry_manifest(folder: Path) -> EntryManifest:
    """entry.json of an entry's folder; DamagedError if missing or changed, CacheError if it is another key's."""
    path = folder / ENTRY_FILE
    content = unsealed(path, f"delete the folder {folder}, the next run computes it again")
    manifest = EntryManifest(
        Key(content["kind"], content["fields"]),
        tuple(content["row_shape"]),
        content["dtype"],
        content["rows_per_shard"],
    )
    if manifest.key.digest != folder.name:
        raise CacheError(f"{path} belongs in a folder named {manifest.key.digest}; rename {folder} back")
    return manifest


def write_shard_manifest(path: Path, manifest: ShardManifest) -> Path:
    """Write a shard's JSON beside `path`, to be renamed to it; returns the temporary path."""
    chunks = sealed({
        "sha256": manifest.sha256, "shape": manifest.shape, "dtype": manifest.dtype, "ids": manifest.ids,
    })  # fmt: skip
    return write_beside(path, chunks)


def read_shard_manifest(path: Path) -> ShardManifest:
    """A shard's JSON; DamagedError if it is missing or changed."""
    content = unsealed(path, REPAIR)
    return ShardManifest(tuple(content["ids"]), content["sha256"], tuple(content["shape"]), content["dtype"])


def sidecars(folder: Path) -> Iterator[tuple[int, Path]]:
    """Shard number and JSON path of every shard of an entry's folder, by number."""
    with explained(folder):
        found = [(int(match[1]), path) for path in folder.iterdir() if (match := _SIDECAR.fullmatch(path.name))]
    yield from sorted(found)


def sealed(content: dict[str, Any]) -> list[bytes]:
    """The bytes of a JSON file that carries its format and its own sha256: what `unsealed` reads."""
    content = {"format": FORMAT, **content}
    seal = hashlib.sha256(canonical_json(content).encode("ascii")).hexdigest()
    return [json.dumps({**content, "seal": seal}, indent=1).encode("ascii"), b"\n"]


def unsealed(path: Path, remedy: str) -> dict[str, Any]:
    """The content of a file of `sealed`; DamagedError, with the remedy, if it is missing or changed."""
    with explained(path):
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise DamagedError(path, "the file is missing", remedy) from None
    try:
        content = json.loads(raw)
        version = content["format"]
        seal = content.pop("seal")
        intact = seal == hashlib.sha256(canonical_json(content).encode("ascii")).hexdigest()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedError(path, "not the JSON that was written", remedy) from None
    if not intact:
        raise DamagedError(path, "the seal does not fit the content", remedy)
    if version != FORMAT:
        raise CacheError(f"{path} has cache format {version}, this version reads {FORMAT}; use another cache folder")
    return content
