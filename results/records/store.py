"""A folder of records: ``<key>.json`` beside ``<key>.npz``, each written whole or not at all.

The npz holds a record's own outcome. The episodes that it was scored on are the same for every method and seed, so
they stand once, in ``episodes-<digest>.npz``.
"""

import json
import os
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.results import ResultError
from fewdistill.results.records.arrays import OWN, Arrays, check_drawn, check_outcome, digest_of, load, npz
from fewdistill.results.records.record import Record
from fewdistill.results.records.result import (
    EPISODES,
    Drawn,
    Problem,
    Records,
    Result,
    checked_outcome,
    parse,
    result_of,
    sealed,
)


class RecordStore(Records):
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
                write_whole(episodes, npz(shared, zipfile.ZIP_BZIP2))  # two thirds of zlib's size for drawn numbers
            write_whole(name, npz(own | {EPISODES: np.frombuffer(digest, np.uint8)}))
        text = json.dumps(sealed(record), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        path = self.root / f"{record.key}.json"
        write_whole(path, text.encode() + b"\n")
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
        record = parse(path, text)
        if record.key != key:
            raise ResultError(f"{path}: holds the record {record.key}; give the file that name")
        return record

    def arrays(self, key: str) -> Arrays:
        """The arrays of a done record, checked against it; raises ResultError naming the file."""
        own, drawn = self._arrays(self.read(key), {})
        return own | drawn.arrays

    def scan(self) -> tuple[list[Result], list[Problem]]:
        if not self.root.is_dir():
            raise ResultError(f"{self.root}: no such folder of records; run a suite first, or check the path")
        results: list[Result] = []
        problems: list[Problem] = []
        read: dict[bytes, Drawn | str] = {}
        files = {path.name: path for path in sorted(self.root.iterdir())}
        for name, path in files.items():
            if name.endswith(".tmp"):
                problems.append(Problem(path, "a write that is running or was cut off; delete it if no run is", True))
            elif path.suffix == ".npz" and (path.with_suffix(".json").name in files or name.startswith(f"{EPISODES}-")):
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

    def path_of(self, key: str) -> Path | None:
        return self.root / f"{key}.json" if key in self else None

    def _result(self, key: str, read: dict[bytes, Drawn | str]) -> Result:
        record = self.read(key)
        return result_of(record, *self._arrays(record, read)) if record.status == "done" else Result(record)

    def _arrays(self, record: Record, read: dict[bytes, Drawn | str]) -> tuple[Arrays, Drawn]:
        """A record's outcome and the episodes behind it; ``read`` remembers episodes between records."""
        path = self.root / f"{record.key}.npz"
        own = load(path, "the arrays of a done record are missing")
        named = own.pop(EPISODES, np.empty(0))
        if named.dtype != np.uint8 or named.shape != (32,):
            raise ResultError(f"{path}: does not name its episodes; delete it and run the cell again")
        digest = named.tobytes()
        if digest not in read:
            try:
                read[digest] = self._episodes(digest)
            except ResultError as error:
                read[digest] = str(error)  # named for every record, looked for once
        return own, checked_outcome(path, record, own, read[digest])

    def _episodes(self, digest: bytes) -> Drawn:
        path = self._episodes_path(digest)
        return Drawn.checked(path, load(path, "the episodes of a done record are missing"), digest)

    def _episodes_path(self, digest: bytes) -> Path:
        return self.root / f"{EPISODES}-{digest.hex()[:16]}.npz"


def write_whole(path: Path, data: bytes) -> None:
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
