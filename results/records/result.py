"""A record with the outcome behind it, and how both are checked on the way in; whatever file they come from."""

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from fewdistill.results import ResultError
from fewdistill.results.records.arrays import Arrays, check_drawn, check_outcome, digest_of
from fewdistill.results.records.record import OLDEST_READ, PLAIN, SCHEMA_VERSION, Record, key_of

SEAL = "sha256"
"""In a record's JSON since schema 3: the checksum of all else in it, as ``key_of`` takes it."""
EPISODES = "episodes"
"""Names the episodes of a record where its arrays are stored: their digest, uint8 (32,)."""

_REMEDY = "delete it and run the cell again"
_NEVER_FILLED = {"peak_memory_mib", "training_macs", "extraction_macs"}  # costs that schema 2 had room for


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
    predicted, support, query, class_names and videos; see ``no_answers``. values: float64 (E,), the main figure of each
    sample in a protocol that is not about right answers, which then has None for correct, predicted and the classes.
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
    values: NDArray[np.float64] | None = None

    @property
    def no_answers(self) -> str:
        """Why ``predicted`` is None, for a table's empty cell; "" where it is not."""
        if self.record.status != "done":
            return self.record.standing
        if self.predicted is not None:
            return ""
        of = (
            f"schema {self.record.schema_version}"
            if self.values is None
            else f"the {self.record.cell.protocol} protocol"
        )
        return f"record of {of} keeps no answers"


@dataclass(frozen=True)
class Drawn:
    """Episodes that records share: their arrays, the digest of all, and that of what every schema keeps of them."""

    arrays: Arrays
    digest: bytes
    classes_digest: bytes

    @classmethod
    def checked(cls, path: Path, arrays: Arrays, digest: bytes, remedy: str = _REMEDY) -> "Drawn":
        """The episodes called ``digest``, read from ``path``; raises ResultError where they are others."""
        if digest_of(arrays) != digest:
            raise ResultError(f"{path}: corrupt (not what its name says); {remedy}")
        check_drawn(path, arrays)
        kept: Arrays = {name: arrays[name] for name in ("classes", "query_class") if name in arrays}
        return cls(arrays, digest, digest_of(kept or arrays))


class Records(ABC):
    """Records to read, wherever they are stored."""

    root: Path

    @abstractmethod
    def scan(self) -> tuple[list[Result], list[Problem]]:
        """Every readable record with its outcome, by key, and every other file or line with what is wrong with it."""

    @abstractmethod
    def path_of(self, key: str) -> Path | None:
        """Where a record is stored, for a reader: its file, or a file with ":" and the line; None where it is not."""

    def all(self) -> list[Record]:
        """Every record, by key. Raises ResultError naming each bad file; writes still under way are let pass."""
        results, problems = self.scan()
        bad = [str(problem) for problem in problems if not problem.unfinished]
        if bad:
            raise ResultError("\n".join(bad))
        return [result.record for result in results]


def result_of(record: Record, own: Arrays, drawn: Drawn) -> Result:
    """A done record with its checked arrays."""
    named = {name: record.identity.get(name) for name in ("content", "episodes")}
    digest = hashlib.sha256(json.dumps(list(named.values())).encode())
    digest.update(drawn.classes_digest if named["episodes"] else drawn.digest)
    return Result(record, episodes=digest.hexdigest(), **own, **drawn.arrays)  # type: ignore[arg-type]


def checked_outcome(path: Path, record: Record, own: Arrays, drawn: Drawn | str) -> Drawn:
    """The episodes of a record whose outcome ``own`` they fit; drawn: or why they could not be read (ResultError)."""
    if isinstance(drawn, str):
        raise ResultError(drawn)
    check_outcome(path, record, own, drawn.arrays)
    return drawn


def sealed(record: Record) -> dict[str, Any]:
    """A record as plain JSON with its checksum."""
    data = record.model_dump(mode="json")
    return data | {SEAL: key_of(data)}


def parse(path: Path, text: str | bytes, seals_from: int = 3, remedy: str = _REMEDY) -> Record:
    """The record of a JSON text; ResultError names ``path`` and the remedy.

    seals_from: the schema from which on the text must hold its checksum; a bundle seals older records as well.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path}: not whole JSON ({error}); {remedy}") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise ResultError(f"{path}: not a record (no schema_version); move it out of the folder of records")
    if not OLDEST_READ <= version <= SCHEMA_VERSION:
        remedy = "upgrade fewdistill" if version > SCHEMA_VERSION else "delete it, run again"
        reads = f"this program reads {OLDEST_READ} to {SCHEMA_VERSION}"
        raise ResultError(f"{path}: schema version {version}, {reads}: {remedy}")
    seal = data.pop(SEAL, None)
    if version >= seals_from and seal != _seal_of(data):
        raise ResultError(f"{path}: corrupt (not what its checksum says); {remedy}")
    if version == 2 and isinstance(data.get("cost"), dict):
        data["cost"] = {name: value for name, value in data["cost"].items() if name not in _NEVER_FILLED}
    try:
        return Record.model_validate(data, context=PLAIN if version > 2 else None)  # key_of takes plain JSON alone
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ResultError(f"{path}: {where + ': ' if where else ''}{first['msg']}; run the cell again") from error


def _seal_of(data: dict[str, Any]) -> str:
    """Checksum of a record's JSON; "" where a number in it is none, which nothing written here has."""
    try:
        return key_of(data)
    except ResultError:
        return ""
