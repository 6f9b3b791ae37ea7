"""The interface of skeleton data sets: a folder whose clips are listed without reading them, and read one by one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import DataProblem, FileError
from fewdistill.benchmark.data.skeletons.topology import topology
from fewdistill.students.registry import Registry
from fewdistill.teachers.modalities import Skeleton


@dataclass(frozen=True)
class ClipEntry:
    """One clip as described by its file name or list: id, file, class (index in `Listing.classes`), values for splits.

    ``subject``, ``view`` (camera) and ``setup`` are the data set's own numbers, ``part`` the name of a published part
    ("train", "val"); None or "" where the data set does not tell.
    """

    id: str
    path: Path
    label: int
    subject: int | None = None
    view: int | None = None
    setup: int | None = None
    part: str = ""


@dataclass(frozen=True)
class Listing:
    """The clips of a data set in order of their ids, its class names, what is left out and why, what is wrong."""

    entries: tuple[ClipEntry, ...]
    classes: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[DataProblem, ...] = ()


class EmptyClipError(FileError):
    """A whole file in which nobody is seen: the clip is left out, and the data set stays usable."""


class Layout(ABC):
    """One way of laying skeleton files out. Raises FileError with what to download when the folder is not there."""

    topology: ClassVar[str]
    """Name of the joint graph."""
    unit: ClassVar[str]
    """Of the three channels."""
    download: ClassVar[str]
    """Where the data come from and where to put them, for those who have none."""
    origin: ClassVar[int | None] = None
    """Joint whose first place is the usual origin of a clip; None for the skeleton's centre."""
    version: ClassVar[int] = 1
    """To be raised when `read` returns something else for the same file."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileError(self.root, "no such folder", self.download)
        self.skeleton = self.read_skeleton()

    def read_skeleton(self) -> Skeleton:
        """The joint graph of every clip."""
        return topology(self.topology)

    @abstractmethod
    def listing(self) -> Listing:
        """The clips by their names, none of them opened. Raises FileError when the folder holds none."""

    @abstractmethod
    def read(self, path: Path) -> NDArray[np.float32]:
        """Joints of one clip, float32 (T, V, 3, M) with T >= 1, in `unit`; FileError names what is wrong with it,
        EmptyClipError a clip to leave out.

        A body that is absent from a frame is all zeros there.
        """

    def files(self, *folders: str, suffix: str, every: bool = False) -> Iterator[Path]:
        """Files ending in ``suffix`` of the first of ``folders`` (below the root, "." itself) that holds any, sorted;
        of all of them with ``every``. FileError with what to download when none does.
        """
        empty = True
        for folder in folders:
            place = self.root / folder
            found = sorted(p for p in place.glob(f"*{suffix}") if p.is_file() and not p.name.startswith("."))
            yield from found
            empty = empty and not found
            if found and not every:
                return
        if empty:
            raise FileError(self.root, f"holds no *{suffix} file", self.download)


LAYOUTS: Registry[type[Layout]] = Registry("skeleton layout")
