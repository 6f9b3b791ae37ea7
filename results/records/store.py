"""A folder of records: ``<key>.json`` beside ``<key>.npz``, each written whole or not at all.

The npz holds a record's own outcome. The episodes that it was scored on are the same for every method and seed, so
they stand once, in ``episodes-<digest>.npz``.
"""

import hashlib
import json
import os
import secrets
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from fewdistill.results import ResultError
from fewdistill.results.records.arrays import OWN, Arrays, check_drawn, check_outcome, digest_of, load, npz
from fewdistill.results.records.record import OLDEST_READ, PLAIN, SCHEMA_VERSION, Record, key_of

_NEVER_FILLED = {"peak_memory_mib", "training_macs", "extraction_macs"}  # costs that schema 2 had room for
_SEAL = "sha256"  # in a record's JSON since schema 3: of all else in it, as key_of takes it
_SHARED = "episodes"  # in a record's npz: the digest of the episodes' arrays, uint8 (32,); and their files' prefix


@dataclass(frozen=True)
class Problem:
    """A file that is no readable record, or contradicts another. unfinished: an interrupted or still running write.

    note: only worth knowing, nothing is left out for it.
    """

    path: Path
    message: str
    unfinished: bool = False
    note: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True)
class Result:
    """A record with its per-episode outcome; every array is None unless it is done. Treat the arrays as read only.

    correct: uint8 (E, Q), 1 where the query was classified rightly. query_class: int16 (E, Q), class number within
    the split; predicted: int16 (E, Q), the class answered, TIE (-1) where several shared the highest score. classes:
    int16 (E, way), the classes to choose from. support int32 (E, S), query int32 (E, Q): video numbers within the
    split. class_names (C,), videos (V,): unicode, what the numbers stand for. A record of schema 2 has None for
    predicted, support, query, class_names and videos; see ``no_answers``.
    episodes: sha256 that is equal exactly when two cells met the same episodes of the same videos: over classes,
    query_class and the identity's "content" (hash of the videos' files) and "episodes" (hash of all drawn numbers).
    """

    record: Record
    correct: NDArray[np.uint8] | None = None
    query_class: NDArray[np.int16] | None = None
    episodes: str = ""
    predicted: NDArray[np.int16] | None = None
    classes: NDArray[np.int16] | None = None
    support: NDArray[np.int32] | None = None
    query: NDArray[np.int32] | None = None
    class_names: NDArray[np.str_] | None = None
    videos: NDArray[np.str_] | None = None

    @property
    def no_answers(self) -> str:
        """Why ``predicted`` is None, for a table's empty cell; "" where it is not."""
        if self.record.status != "done":
            return self.record.standing
        return f"record of schema {self.record.schema_version} keeps no answers" if self.predicted is None else ""


class RecordStore:
    """Records under one folder, which holds nothing else. Safe for several writers of different keys."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def write(self, record: Record, arrays: Mapping[str, NDArray[np.generic]] | None = None) -> Path:
        """Put a record, arrays first, so that a finished JSON always finds its arrays; returns the JSON's path.

        arrays: those of Result, of which ``support``, ``query``, ``class_names`` and ``videos`` may be missing. A done
        record needs them, they must agree with each other and give its accuracy; any other status must not bring
        them. Raises ResultError.
        """
        name = self.root / f"{record.key}.npz"
        if (arrays is not None) != (record.status == "done"):
            raise ResultError(f"{name}: a done record brings its arrays and no other does (status {record.status})")
        self.root.mkdir(parents=True, exist_ok=True)
        if arrays is not None:
            own = {key: array for key, array in arrays.items() if key in OWN}
            shared = {key: array for key, array in arrays.items() if key not in OWN}
            check_drawn(name, shared)
            check_outcome(name, record, own, shared)
            digest = digest_of(shared)
            episodes = self._episodes_path(digest)
            try:
                self._episodes(digest)
            except ResultError:  # not there yet, or damaged
                _write_whole(episodes, npz(shared, zipfile.ZIP_BZIP2))  # two thirds of zlib's size for drawn numbers
            _write_whole(name, npz(own | {_SHARED: np.frombuffer(digest, np.uint8)}))
        data = record.model_dump(mode="json")
        data[_SEAL] = key_of(data)
        text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
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
        own, drawn = self._arrays(self.read(key), {})
        return own | drawn.arrays

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
        read: dict[bytes, _Drawn | str] = {}
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

    def _result(self, key: str, read: "dict[bytes, _Drawn | str]") -> Result:
        record = self.read(key)
        if record.status != "done":
            return Result(record)
        own, drawn = self._arrays(record, read)
        named = {name: record.identity.get(name) for name in ("content", "episodes")}
        digest = hashlib.sha256(json.dumps(list(named.values())).encode())
        digest.update(drawn.classes_digest if named["episodes"] else drawn.digest)
        return Result(record, episodes=digest.hexdigest(), **own, **drawn.arrays)  # type: ignore[arg-type]

    def _arrays(self, record: Record, read: "dict[bytes, _Drawn | str]") -> tuple[Arrays, "_Drawn"]:
        """A record's outcome and the episodes behind it; ``read`` remembers episodes between records."""
        path = self.root / f"{record.key}.npz"
        own = load(path, "the arrays of a done record are missing")
        named = own.pop(_SHARED, np.empty(0))
        if named.dtype != np.uint8 or named.shape != (32,):
            raise ResultError(f"{path}: does not name its episodes; delete it and run the cell again")
        digest = named.tobytes()
        if digest not in read:
            try:
                read[digest] = self._episodes(digest)
            except ResultError as error:
                read[digest] = str(error)  # named for every record, looked for once
        drawn = read[digest]
        if isinstance(drawn, str):
            raise ResultError(drawn)
        check_outcome(path, record, own, drawn.arrays)
        return own, drawn

    def _episodes(self, digest: bytes) -> "_Drawn":
        path = self._episodes_path(digest)
        arrays = load(path, "the episodes of a done record are missing")
        if digest_of(arrays) != digest:
            raise ResultError(f"{path}: corrupt (not what its name says); delete it and run the cell again")
        check_drawn(path, arrays)
        return _Drawn(arrays, digest, digest_of({name: arrays[name] for name in ("classes", "query_class")}))

    def _episodes_path(self, digest: bytes) -> Path:
        return self.root / f"{_SHARED}-{digest.hex()[:16]}.npz"


@dataclass(frozen=True)
class _Drawn:
    """Episodes that records share: their arrays, the digest of all, and that of what every schema keeps of them."""

    arrays: Arrays
    digest: bytes
    classes_digest: bytes


def _parse(path: Path, text: str) -> Record:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path}: not whole JSON ({error}); delete it and run the cell again") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise ResultError(f"{path}: not a record (no schema_version); move it out of the folder of records")
    if not OLDEST_READ <= version <= SCHEMA_VERSION:
        remedy = "upgrade fewdistill" if version > SCHEMA_VERSION else "delete it, run again"
        reads = f"this program reads {OLDEST_READ} to {SCHEMA_VERSION}"
        raise ResultError(f"{path}: schema version {version}, {reads}: {remedy}")
    seal = data.pop(_SEAL, None)
    if version > 2 and seal != _seal_of(data):
        raise ResultError(f"{path}: corrupt (not what its checksum says); delete it and run the cell again")
    if version == 2 and isinstance(data.get("cost"), dict):
        data["cost"] = {name: value for name, value in data["cost"].items() if name not in _NEVER_FILLED}
    try:
        record = Record.model_validate(data, context=PLAIN if version > 2 else None)  # key_of takes plain JSON alone
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ResultError(f"{path}: {where + ': ' if where else ''}{first['msg']}; run the cell again") from error
    if record.key != path.stem:
        raise ResultError(f"{path}: holds the record {record.key}; give the file that name")
    return record


def _seal_of(data: dict[str, Any]) -> str:
    """Checksum of a record's JSON; "" where a number in it is none, which nothing written here has."""
    try:
        return key_of(data)
    except ResultError:
        return ""


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
