"""Joint files and the skeleton that goes with them."""

import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import FileError
from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities import Camera, Skeleton


def read_joints(path: Path) -> NDArray[np.float32]:
    """A joint file, float32 (T, V, 3, M); FileError for anything else or values that are not finite."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, OverflowError) as error:  # a header may ask for any size
        raise FileError(path, f"not a readable npy file ({error})") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != 4 or array.shape[2] != 3:
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "an archive"
        raise FileError(path, f"joints must be float32 (T, V, 3, M), this is {found}")
    if not np.isfinite(array).all():
        frame, joint = (int(place) for place in np.argwhere(~np.isfinite(array))[0][:2])
        raise FileError(path, f"joint {joint} of frame {frame} is not a finite number")
    return array


def read_skeleton(path: Path, *, camera: bool = True) -> Skeleton:
    """A `skeleton.toml`: joints, edges, centre, left, right, [camera]; FileError when it is missing or wrong.

    With ``camera`` off the [camera] table is not asked for and not read.
    """
    remedy = "write joints, edges, centre, left and right" + (", and a table [camera]" if camera else "")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        return Skeleton(
            joints=tuple(table["joints"]),
            edges=tuple((int(a), int(b)) for a, b in table["edges"]),
            centre=int(table["centre"]),
            left=tuple(table["left"]),
            right=tuple(table["right"]),
            camera=Camera(**table["camera"]) if camera else None,
        )
    except FileNotFoundError:
        raise FileError(path, "not found", f"write the joints' graph{' and camera' if camera else ''} there") from None
    except KeyError as error:
        raise FileError(path, f"key {error} is missing", remedy) from None
    except (TypeError, ValueError, TeacherError) as error:  # bad TOML and bad UTF-8 are ValueErrors
        raise FileError(path, str(error), remedy) from None
