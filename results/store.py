"""A folder of records: ``<key>.json`` beside ``<key>.npz``, each written whole or not at all.

The npz holds a record's own outcome. The episodes that it was scored on are the same for every method and seed, so
they stand once, in ``episodes-<digest>.npz``.
"""

import hashlib
import io
import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from results import ResultError
from results.record import SCHEMA_VERSION, Record

Arrays = dict[str, NDArray[np.generic]]

# What a done cell must bring, and what it may: video numbers let disjoint episodes be found and pairing be proved.
REQUIRED = {"correct": np.uint8, "classes": np.int16, "query_class": np.int16}
OPTIONAL = {"support": np.int32, "query": np.int32}
_SHARED = "episodes"  # in a record's npz: the digest of the episodes' arrays, uint8 (32,); and their files' prefix


@dataclass(frozen=True)
class Problem:
    """A file that is no readable record. ``unfinished``: an interrupted or still running write."""

    path: Path
    message: str
    unfinished: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True)
class Result:
    """A record with its per-episode outcome; ``correct`` and ``query_class`` are None unless it is done.

    correct: uint8 (E, Q), 1 where the query was classified rightly. query_class: int16 (E, Q), class number within
    the split. episodes: sha256 over the drawn episodes and the identity's "content" (hash of the videos' files) and
    "episodes" where it has them: equal exactly when two cells met the same episodes of the same videos.
    predicted: int16 (E, Q), class number answered, -1 for a tie; class_names (C,): unicode, what the numbers stand
    for; None where the record keeps neither.
    """

    record: Record
    correct: NDArray[np.uint8] | None = None
    query_class: NDArray[np.int16] | None = None
    episodes: str = ""
    predicted: NDArray[np.int16] | None = None
    class_names: NDArray[np.str_] | None = None


class RecordStore:
    """Records under one folder, which holds nothing else. Safe for several writers of different keys."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def write(self, record: Record, arrays: Mapping[str, NDArray[np.generic]] | None = None) -> Path:
        """Put a record, arrays first, so that a finished JSON always finds its arrays; returns the JSON's path.

        arrays: ``correct`` uint8 (E, Q), ``classes`` int16 (E, way), ``query_class`` int16 (E, Q); optionally
        ``support`` int32 (E, S) and ``query`` int32 (E, Q), video numbers. A done record needs them and they must
        give its accuracy; any other status must not bring them. Raises ResultError.
        """
        name = self.root / f"{record.key}.npz"
        if (arrays is not None) != (record.status == "done"):
            raise ResultError(f"{name}: a done record brings its arrays and no other does (status {record.status})")
        self.root.mkdir(parents=True, exist_ok=True)
        if arrays is not None:
            _check_arrays(name, record, arrays)
            shared = {key: array for key, array in arrays.items() if key != "correct"}
            digest = _digest(shared)
            episodes = self._episodes_path(digest)
            try:
                self._episodes(digest)
            except ResultError:  # not there yet, or damaged
                _write_whole(episodes, _npz(shared))
            own = {"correct": arrays["correct"], _SHARED: np.frombuffer(digest, np.uint8)}
            _write_whole(name, _npz(own))
        text = json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        path = self.root / f"{record.key}.json"
        _write_whole(path, text.encode() + b"\n")
        if arrays is None:
            name.unlink(missing_ok=True)  # a rerun that failed must not keep the arrays of the run before
        return path

    def __contains__(self, key: str) -> bool:
        return (self.root / f"{key}.json").is_file()

    def read(self, key: str) -> Record:
        """The record of a key; raises ResultError naming the file when it is missing, foreign or of another schema."""
        path = self.root / f"{key}.json"
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ResultError(f"{path}: no such record; run the suite, or check the folder") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ResultError(f"{path}: cannot be read ({error}); delete it and run the cell again") from error
        return _parse(path, text)

    def arrays(self, key: str) -> Arrays:
        """The arrays of a done record, checked against it; raises ResultError naming the file."""
        return self._arrays(self.read(key), {})

    def all(self) -> list[Record]:
        """Every record, by key. Raises ResultError naming each bad file; writes still under way are let pass."""
        results, problems = self.scan()
        bad = [str(problem) for problem in problems if not problem.unfinished]
        if bad:
            raise ResultError("\n".join(bad))
        return [result.record for result in results]

    def scan(self) -> tuple[list[Result], list[Problem]]:
        """Every readable record with its outcome, by key, and every other file with what is wrong with it."""
        if not self.root.is_dir():
            raise ResultError(f"{self.root}: no such folder of records; run a suite first, or check the path")
        results: list[Result] = []
        problems: list[Problem] = []
        read: dict[bytes, Arrays] = {}
        files = {path.name: path for path in sorted(self.root.iterdir())}
        for name, path in files.items():
            if name.endswith(".tmp"):
                problems.append(Problem(path, "a write that is running or was cut off; delete it if no run is", True))
            elif path.suffix == ".npz" and (path.with_suffix(".json").name in files or name.startswith(f"{_SHARED}-")):
                continue
            elif path.suffix == ".npz":
                problems.append(Problem(path, "arrays without their record; run the cell again", True))
            elif path.suffix != ".json":
                problems.append(Problem(path, "not a record; move it out of the folder of records"))
            else:
                try:
                    results.append(self._result(path.stem, read))
                except ResultError as error:
                    problems.append(Problem(path, str(error).removeprefix(f"{path}: ")))
        return results, problems

    def _result(self, key: str, read: dict[bytes, Arrays]) -> Result:
        record = self.read(key)
        if record.status != "done":
            return Result(record)
        arrays = self._arrays(record, read)
        digest = hashlib.sha256()
        digest.update(json.dumps([record.identity.get(name) for name in ("content", "episodes")]).encode())
        digest.update(_digest({name: array for name, array in arrays.items() if name != "correct"}))
        correct, query_class = arrays["correct"].astype(np.uint8), arrays["query_class"].astype(np.int16)
        return Result(record, correct, query_class, digest.hexdigest())

    def _arrays(self, record: Record, read: dict[bytes, Arrays]) -> Arrays:
        """A record's outcome with the episodes behind it; ``read`` remembers episodes between records."""
        path = self.root / f"{record.key}.npz"
        own = _load(path, "the arrays of a done record are missing")
        named = own.pop(_SHARED, np.empty(0))
        if named.dtype != np.uint8 or named.shape != (32,):
            raise ResultError(f"{path}: does not name its episodes; delete it and run the cell again")
        digest = named.tobytes()
        if digest not in read:
            read[digest] = self._episodes(digest)
        arrays = own | read[digest]
        _check_arrays(path, record, arrays)
        return arrays

    def _episodes(self, digest: bytes) -> Arrays:
        path = self._episodes_path(digest)
        arrays = _load(path, "the episodes of a done record are missing")
        if _digest(arrays) != digest:
            raise ResultError(f"{path}: corrupt (not what its name says); delete it and run the cell again")
        return arrays

    def _episodes_path(self, digest: bytes) -> Path:
        return self.root / f"{_SHARED}-{digest.hex()[:16]}.npz"


def _digest(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """sha256 over names, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].shape}".encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.digest()


def _npz(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{key: arrays[key] for key in sorted(arrays)})  # type: ignore[arg-type]
    return buffer.getvalue()


def _load(path: Path, missing: str) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise ResultError(f"{path}: {missing}; run the cell again") from None
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ResultError(f"{path}: corrupt ({error}); delete it and run the cell again") from error


def _parse(path: Path, text: str) -> Record:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ResultError(f"{path}: not whole JSON ({error}); delete it and run the cell again") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise ResultError(f"{path}: not a record (no schema_version); move it out of the folder of records")
    if version > SCHEMA_VERSION:
        raise ResultError(f"{path}: schema version {version}, this program reads {SCHEMA_VERSION}: upgrade fewdistill")
    if version < SCHEMA_VERSION:
        raise ResultError(
            f"{path}: schema version {version}, this program reads {SCHEMA_VERSION}: delete it, run again"
        )
    try:
        record = Record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ResultError(f"{path}: {where + ': ' if where else ''}{first['msg']}; run the cell again") from error
    if record.key != path.stem:
        raise ResultError(f"{path}: holds the record {record.key}; give the file that name")
    return record


def _check_arrays(path: Path, record: Record, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Names, dtypes and shapes as promised, and the accuracy the record claims; raises ResultError."""
    allowed = REQUIRED | OPTIONAL
    missing, foreign = sorted(REQUIRED.keys() - arrays.keys()), sorted(arrays.keys() - allowed.keys())
    if missing or foreign:
        raise ResultError(f"{path}: arrays missing {missing}, unknown {foreign}; wanted {sorted(allowed)}")
    for name, array in arrays.items():
        if array.dtype != allowed[name] or array.ndim != 2:
            raise ResultError(f"{path}: {name} is {array.dtype} {array.shape}, wanted {np.dtype(allowed[name])} (E, n)")
    metrics = record.metrics
    assert metrics is not None  # a done record has them
    rows = {name: len(array) for name, array in arrays.items()}
    if set(rows.values()) != {metrics.episodes}:
        raise ResultError(f"{path}: rows {rows} for {metrics.episodes} episodes; run the cell again")
    shape = arrays["correct"].shape
    if arrays["query_class"].shape != shape or arrays.get("query", arrays["correct"]).shape != shape:
        raise ResultError(f"{path}: query_class and query must have the shape of correct {shape}")
    if arrays["correct"].size == 0 or arrays["correct"].astype(np.uint8).max() > 1:
        raise ResultError(f"{path}: correct must hold zeros and ones, at least one; run the cell again")
    accuracy = float(arrays["correct"].astype(np.uint8).mean())
    if abs(accuracy - metrics.accuracy) > 1e-6:
        raise ResultError(f"{path}: correct averages {accuracy:.6f}, the record says {metrics.accuracy:.6f}")


def _write_whole(path: Path, data: bytes) -> None:
    """Write beside, flush to disk, rename: a reader sees the old file or the new one, never half of one."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")  # two hosts may have a process of one number
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ResultError(f"{path}: cannot be written ({error}); free space or choose another folder") from error
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
