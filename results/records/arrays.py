"""The arrays beside a record: which there are, what they must agree on, and the npz files that hold them."""

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fewdistill.results import ResultError
from fewdistill.results.records.metrics import Metrics
from fewdistill.results.records.record import Record

Arrays = dict[str, NDArray[np.generic]]

OWN: Final = ("correct", "predicted", "values")
"""A record's own arrays, which its protocol's metrics choose from. correct uint8 and predicted int16, (E, Q): 1 where
an answer is right; the class answered, or TIE (not in schema 2). values float64 (E,): each sample's main figure."""
DRAWN: Final = {"classes": np.int16, "query_class": np.int16, "support": np.int32, "query": np.int32}
"""The episodes it met: class numbers (E, way) and (E, Q), video numbers (E, S) and (E, Q) within the split."""
NAMES: Final = {"class_names": np.str_, "videos": np.str_}
"""What the numbers stand for, (C,) and (V,): names and ids, fixed-width unicode."""
CLASSES: Final = {"classes", "query_class"}
"""What answers are right or wrong by; without them, ``query`` says what was scored."""

UNREADABLE: Final = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)
"""What reading a damaged zip, or a member of it, raises."""

TIE: Final = -1
"""In ``predicted``: several classes share the highest score. No answer, hence a wrong one."""


def digest_of(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """sha256 over names, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].shape}".encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.digest()


def npz(arrays: Mapping[str, NDArray[np.generic]], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An npz file's bytes, the same for the same arrays; compression: one of zipfile's, whichever numpy reads."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in sorted(arrays):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(arrays[name]), allow_pickle=False)
    return buffer.getvalue()


def load(path: Path, missing: str) -> Arrays:
    """The arrays of an npz, read only; executes no code. ResultError names the file, ``missing`` where it is that."""
    try:
        with zipfile.ZipFile(path) as archive:  # which compares every member with its CRC-32
            return {name.removesuffix(".npy"): array_of(archive.read(name)) for name in archive.namelist()}
    except FileNotFoundError:
        raise ResultError(f"{path}: {missing}; run the cell again") from None
    except UNREADABLE as error:
        raise ResultError(f"{path}: corrupt ({error}); delete it and run the cell again") from error


def array_of(data: bytes) -> NDArray[np.generic]:
    """The array of an npy file's bytes, read only; ValueError where they are none, or need code to be read."""
    start = 10 + int.from_bytes(data[8:10], "little")
    shape, fortran, dtype = _header(data[:start])
    return np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if fortran else "C")


@lru_cache(maxsize=64)
def _header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, order and dtype of an npy file. Parsing takes numpy longer than all else, and records have few shapes."""
    stream = io.BytesIO(head)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("not an npy array of format 1.0")
    return np.lib.format.read_array_header_1_0(stream)


def check_drawn(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Names, dtypes and shapes of the episodes' arrays, and that every number has its name; raises ResultError."""
    wanted = DRAWN | NAMES
    _named(path, arrays, wanted, CLASSES if CLASSES & arrays.keys() or "query" not in arrays else set())
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, wanted[name]) or array.ndim != (1 if name in NAMES else 2):
            raise ResultError(f"{path}: {name} is {array.dtype} {array.shape}, wanted {wanted[name].__name__}")
    rows = {name: len(arrays[name]) for name in DRAWN if name in arrays}
    if len(set(rows.values())) != 1:
        raise ResultError(f"{path}: rows {rows} must be the same; run the cell again")
    if arrays.keys() >= CLASSES:
        _check_classes(path, arrays)
    for name, names in (("classes", "class_names"), ("query_class", "class_names"), ("support", "videos"),
                        ("query", "videos")):  # fmt: skip
        if name in arrays and arrays[name].size:
            low, high = int(arrays[name].min()), int(arrays[name].max())
            if low < 0 or (names in arrays and high >= len(arrays[names])):
                raise ResultError(f"{path}: {name} goes from {low} to {high}, outside the {names} there are")


def _check_classes(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """That each query has one of its episode's classes."""
    if "query" in arrays and arrays["query"].shape != arrays["query_class"].shape:
        raise ResultError(f"{path}: query must have the shape of query_class {arrays['query_class'].shape}")
    asked = (arrays["query_class"][:, :, None] == arrays["classes"][:, None, :]).any(2)
    if not asked.all():
        raise ResultError(f"{path}: query_class names classes that are not in their episode; run the cell again")


def check_outcome(path: Path, record: Record, own: Mapping[str, NDArray[np.generic]], drawn: Arrays) -> None:
    """A done record's outcome against its episodes and the main figure that it claims; raises ResultError."""
    metrics = record.metrics
    assert metrics is not None  # a done record has them
    wanted = {name: kind for name, kind in metrics.arrays.items() if record.schema_version > 2 or name != "predicted"}
    _named(path, own, wanted, wanted.keys())
    asked = drawn["query_class" if "query_class" in drawn else "query"]
    if len(asked) != metrics.episodes:
        raise ResultError(f"{path}: {metrics.episodes} episodes, of {len(asked)} drawn; run it again")
    for name, array in own.items():
        shape = asked.shape[: 1 if name == "values" else 2]
        if array.dtype != wanted[name] or array.shape != shape:
            raise ResultError(f"{path}: {name} is {array.dtype} {array.shape}, wanted {wanted[name].__name__} {shape}")
    if "values" in own:
        mean = float(np.mean(own["values"].astype(np.float64)))
        if not abs(mean - metrics.value) <= 1e-6:
            raise ResultError(f"{path}: values average {mean:.6f}, the record says {metrics.value:.6f}")
    if "correct" in own:
        _check_answers(path, metrics, own, drawn)


def _check_answers(path: Path, metrics: Metrics, own: Mapping[str, NDArray[np.generic]], drawn: Arrays) -> None:
    if not drawn.keys() >= CLASSES:
        raise ResultError(f"{path}: answers, but no classes that they were chosen from; run the cell again")
    correct = own["correct"]
    if correct.size == 0 or correct.max() > 1:
        raise ResultError(f"{path}: correct must hold zeros and ones, at least one; run the cell again")
    accuracy = np.count_nonzero(correct) / correct.size
    if abs(accuracy - metrics.value) > 1e-6:
        raise ResultError(f"{path}: correct averages {accuracy:.6f}, the record says {metrics.value:.6f}")
    if "predicted" in own:
        predicted = own["predicted"]
        if not np.array_equal(correct, predicted == drawn["query_class"]):
            raise ResultError(f"{path}: predicted and correct contradict each other; run the cell again")
        known = predicted == TIE
        for column in drawn["classes"].T:
            known |= predicted == column[:, None]
        if not known.all():
            raise ResultError(f"{path}: predicted names classes that are not in their episode; run the cell again")


def _named(
    path: Path, arrays: Mapping[str, NDArray[np.generic]], known: Collection[str], needed: Collection[str]
) -> None:
    missing, foreign = sorted(set(needed) - arrays.keys()), sorted(arrays.keys() - set(known))
    if missing or foreign:
        raise ResultError(f"{path}: arrays missing {missing}, unknown {foreign}; wanted {sorted(known)}")
