"""Parsing shared by the readers of skeleton files: text and numbers from untrusted files, and checked clips."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import FileError
from fewdistill.teachers.modalities import Skeleton

Float64 = NDArray[np.float64]
LARGEST_FILE = 256 << 20  # bytes; ten minutes of two NTU bodies are a tenth of it
LARGEST_VALUE = 1e6  # metres or parts of a picture; beyond it float32 squares lose all meaning
REMEDY = "copy it again or move it out of the data set"


def read_text(path: Path) -> str:
    """The file as UTF-8 text; FileError when it is missing, empty, not text or far too large for a clip."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise FileError(path, f"{size >> 20} MiB are too much for one clip", REMEDY)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", REMEDY) from None
    except UnicodeDecodeError as error:
        raise FileError(path, f"not UTF-8 text ({error.reason})", REMEDY) from None
    if not text.strip():
        raise FileError(path, "the file is empty", REMEDY)
    return text


def read_json(path: Path) -> dict[str, Any]:
    """The file's JSON object; FileError for anything else."""
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # truncated or garbage; nested without end
        raise FileError(path, f"not readable JSON ({error})", REMEDY) from None
    if not isinstance(found, dict):
        raise FileError(path, f"a JSON object is expected, this is a {type(found).__name__}", REMEDY)
    return found


def numbers(path: Path, what: str, values: Any, shape: tuple[int | None, ...]) -> Float64:
    """``values`` (nested lists) as float64 of ``shape``, None any length; FileError, saying ``what``, otherwise."""
    wanted = " x ".join("any" if size is None else str(size) for size in shape)
    try:
        array = np.array(values)
    except (ValueError, OverflowError, RecursionError, TypeError):
        raise FileError(path, f"{what} must be {wanted} numbers, the lists differ in length", REMEDY) from None
    fits = array.ndim == len(shape) and all(s in (None, n) for s, n in zip(shape, array.shape, strict=True))
    if array.dtype.kind not in "iuf" or not fits:
        found = "something else" if array.dtype.kind not in "iuf" else " x ".join(map(str, array.shape)) or "one"
        raise FileError(path, f"{what} must be {wanted} numbers, found {found}", REMEDY)
    return array.astype(np.float64)


def fill_unseen(path: Path, joints: Float64, skeleton: Skeleton) -> Float64:
    """One person's joints (T, V, 3) without gaps, where a joint at exactly (0, 0, 0) was not seen.

    Frames at either end in which nobody was seen are cut off. Any other gap is filled by interpolating the joint
    linearly in time, or by its nearest sighting at an end, so that the clip keeps its timing. Raises FileError
    when nobody is seen at all, and when a joint is never seen.
    """
    seen = (joints != 0).any(axis=2)
    frames = np.flatnonzero(seen.any(axis=1))
    if not len(frames):
        raise FileError(path, f"nobody is seen: all {len(joints)} frames are zero", REMEDY)
    joints, seen = joints[frames[0] : frames[-1] + 1].copy(), seen[frames[0] : frames[-1] + 1]
    times = np.arange(len(joints))
    for joint in np.flatnonzero(~seen.all(axis=0)):
        known = np.flatnonzero(seen[:, joint])
        if not len(known):
            raise FileError(path, f"joint {skeleton.joints[joint]!r} is never seen", REMEDY)
        for axis in range(3):
            joints[:, joint, axis] = np.interp(times, known, joints[known, joint, axis])
    return joints


def checked_clip(path: Path, joints: Float64, skeleton: Skeleton) -> NDArray[np.float32]:
    """The clip as readers return it, float32 (T, V, 3, M), contiguous.

    FileError for no frames, another number of joints than the skeleton's, values that are not finite or absurdly
    large (both named by frame and joint), and a clip in which everything is zero.
    """
    if joints.ndim != 4 or joints.shape[2] != 3 or not joints.shape[3]:
        raise FileError(path, f"joints must be (T, V, 3, M), this is {joints.shape}", REMEDY)
    if not len(joints):
        raise FileError(path, "the clip has no frame", REMEDY)
    if joints.shape[1] != len(skeleton.joints):
        raise FileError(path, f"{joints.shape[1]} joints, {len(skeleton.joints)} needed", REMEDY)
    bad = ~(np.abs(joints) <= LARGEST_VALUE)  # true for NaN too
    if bad.any():
        frame, joint, axis, body = (int(place) for place in np.argwhere(bad)[0])
        value = joints[frame, joint, axis, body]
        raise FileError(path, f"joint {skeleton.joints[joint]!r} of frame {frame} is {value}", REMEDY)
    if not joints.any():
        raise FileError(path, f"nobody is seen: all {len(joints)} frames are zero", REMEDY)
    return np.ascontiguousarray(joints, dtype=np.float32)
