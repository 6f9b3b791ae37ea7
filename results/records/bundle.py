"""Many finished records in two files, to be kept or sent: ``records.jsonl``, one a line, and ``outcomes.npz``.

A run writes its records one by one (``RecordStore``); a bundle is packed from them and never changed. The npz holds
``keys`` (N,), the records in the order of their lines; ``<key>/<name>`` for a done record's own arrays;
``<key>/episodes``, the digest of what it was scored on; and ``episodes-<digest>/<name>`` once for all that share it.
"""

import io
import json
import zipfile
from functools import cached_property
from pathlib import Path

import numpy as np

from fewdistill.results import ResultError
from fewdistill.results.records.arrays import DRAWN, NAMES, OWN, UNREADABLE, Arrays, array_of, digest_of, npz
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
from fewdistill.results.records.store import RecordStore, write_whole

RECORDS, OUTCOMES = "records.jsonl", "outcomes.npz"

_KEYS = "keys"
_REMEDY = "restore the file, or pack the records again"


def open_records(root: Path | str) -> Records:
    """The records in a folder: a bundle where it holds one, else the files of a run."""
    folder = Path(root)
    bundled = any((folder / name).exists() for name in (RECORDS, OUTCOMES))
    return RecordBundle(folder) if bundled else RecordStore(folder)


class RecordBundle(Records):
    """The records packed into one folder's two files, read only."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def scan(self) -> tuple[list[Result], list[Problem]]:
        try:
            lines, keys, outcomes = self._lines(), self._keys, self._outcomes
        except ResultError as error:
            return [], [self._problem(str(error))]
        results: list[Result] = []
        problems: list[Problem] = []
        read: dict[bytes, Drawn | str] = {}
        left = dict.fromkeys(keys)
        for number, line in enumerate(lines, 1):
            at = self._line(number)
            try:
                record = parse(at, line, seals_from=0, remedy=_REMEDY)
                if record.key not in left:
                    raise ResultError(f"{at}: record {record.key} is not in {OUTCOMES}, or a second time; {_REMEDY}")
                results.append(self._result(record, outcomes, read))
                del left[record.key]
            except ResultError as error:
                problems.append(Problem(at, str(error).removeprefix(f"{at}: ")))
        problems += [self._problem(f"{self._path}: record {key} is missing or damaged; {_REMEDY}") for key in left]
        return results, problems

    def path_of(self, key: str) -> Path | None:
        return self._line(self._keys.index(key) + 1) if key in self._keys else None

    @property
    def _path(self) -> Path:
        return self.root / RECORDS

    def _line(self, number: int) -> Path:
        return self.root / f"{RECORDS}:{number}"

    def _lines(self) -> list[bytes]:
        try:
            data = self._path.read_bytes()
        except OSError as error:
            raise ResultError(f"{self._path}: cannot be read ({error}); {_REMEDY}") from error
        return data.removesuffix(b"\n").split(b"\n") if data else []

    @cached_property
    def _outcomes(self) -> zipfile.ZipFile:
        path = self.root / OUTCOMES
        try:
            return zipfile.ZipFile(io.BytesIO(path.read_bytes()))
        except UNREADABLE as error:
            raise ResultError(f"{path}: cannot be read ({error}); {_REMEDY}") from error

    @cached_property
    def _keys(self) -> list[str]:
        """The key of each line."""
        return [str(key) for key in self._array(f"{_KEYS}.npy", self._outcomes).tolist()]

    def _result(self, record: Record, outcomes: zipfile.ZipFile, read: dict[bytes, Drawn | str]) -> Result:
        if record.status != "done":
            return Result(record)
        own = self._arrays(record.key, outcomes)
        digest = own.pop(EPISODES, np.empty(0)).tobytes()
        if digest not in read:
            try:
                name = f"{EPISODES}-{digest.hex()}"
                arrays = self._arrays(name, outcomes)
                read[digest] = Drawn.checked(self.root / OUTCOMES, arrays, digest, _REMEDY)
            except ResultError as error:
                read[digest] = str(error)  # named for every record, looked for once
        return result_of(record, own, checked_outcome(self.root / OUTCOMES, record, own, read[digest]))

    def _arrays(self, folder: str, outcomes: zipfile.ZipFile) -> Arrays:
        """The arrays below one name of the npz."""
        start = f"{folder}/"
        names = [name for name in outcomes.namelist() if name.startswith(start)]
        return {name.removeprefix(start).removesuffix(".npy"): self._array(name, outcomes) for name in names}

    def _array(self, name: str, outcomes: zipfile.ZipFile) -> np.ndarray:
        try:
            return array_of(outcomes.read(name))  # which compares it with its CRC-32
        except (*UNREADABLE, KeyError) as error:
            raise ResultError(f"{self.root / OUTCOMES}: {name} is corrupt ({error}); {_REMEDY}") from error

    def _problem(self, message: str) -> Problem:
        path, _, what = message.partition(": ")
        return Problem(Path(path), what)


def pack(records: Records, out: Path | str) -> list[Path]:
    """Write a bundle of all records to the folder ``out``, in place of one that is there; returns its two files.

    Raises ResultError where there is none to pack, or naming each file that is no readable record.
    """
    results, problems = records.scan()
    bad = [str(problem) for problem in problems if not problem.unfinished]
    if bad or not results:
        raise ResultError("\n".join(bad) or f"{records.root}: no record to pack; run a suite first")
    arrays: Arrays = {_KEYS: np.array([result.record.key for result in results])}
    for result in results:
        own, drawn = arrays_of(result)
        if drawn:
            digest = digest_of(drawn)
            arrays |= {f"{result.record.key}/{name}": array for name, array in own.items()}
            arrays[f"{result.record.key}/{EPISODES}"] = np.frombuffer(digest, np.uint8)
            arrays |= {f"{EPISODES}-{digest.hex()}/{name}": array for name, array in drawn.items()}
    lines = [
        json.dumps(sealed(result.record), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        for result in results
    ]
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / OUTCOMES, npz(arrays, zipfile.ZIP_BZIP2))
    write_whole(folder / RECORDS, "".join(f"{line}\n" for line in lines).encode())
    return [folder / RECORDS, folder / OUTCOMES]


def unpack(records: Records, out: Path | str) -> RecordStore:
    """Write every record to the folder ``out`` as a run has them, so that runs and sums can go on from there.

    Raises ResultError naming each record that cannot be read, and then writes none.
    """
    results, problems = records.scan()
    if problems or not results:
        raise ResultError("\n".join(map(str, problems)) or f"{records.root}: no record to unpack")
    store = RecordStore(out)
    for result in results:
        own, drawn = arrays_of(result)
        store.write(result.record, own | drawn or None)
    return store


def arrays_of(result: Result) -> tuple[Arrays, Arrays]:
    """A result's own arrays and those of its episodes; both empty where it is not done."""
    own = {name: array for name in OWN if (array := getattr(result, name)) is not None}
    names = {*DRAWN, *NAMES}
    return own, {name: array for name in sorted(names) if (array := getattr(result, name)) is not None}
