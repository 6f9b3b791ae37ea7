"""A whole skeleton data set in memory: every clip read once, its frames end to end in one array."""

import hashlib
import os
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import DataProblem, FileError
from fewdistill.benchmark.data.skeletons.layout import LAYOUTS, ClipEntry, EmptyClipError, Layout, Listing
from fewdistill.benchmark.data.skeletons.splits import published_split
from fewdistill.benchmark.data.video.content import content_hashes
from fewdistill.benchmark.runtime.errors import DataError, RunError
from fewdistill.benchmark.runtime.pool import worker_pool
from fewdistill.feature_cache import CacheError, atomic_file
from fewdistill.students.registry import UnknownNameError
from fewdistill.teachers.modalities import Skeleton

MANY = 5_000  # clips; so many are read by several processes, and what was read is kept on disk
_SHARE = 256  # clips of one task of a process
Ints = NDArray[np.int64]
Float = NDArray[np.float32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class SkeletonSet:
    """All clips of a data set: ``frames`` float32 (all frames, 3, V, M); clip i is `frames[offsets[i] : offsets[i+1]]`.

    ``entries`` tell each clip's id, label, subject, view, setup and part, in the order of the clips; ``left_out`` says
    which clips were left out, and why. ``content_hash`` (sha256, hex) changes with the files of the clips and
    with the rules by which they are read.
    """

    layout: str
    skeleton: Skeleton
    origin: int
    classes: tuple[str, ...]
    entries: tuple[ClipEntry, ...]
    left_out: dict[str, str]
    frames: Float
    offsets: Ints
    content_hash: str

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def labels(self) -> Ints:
        """Class of each clip, a place in ``classes``."""
        return np.array([entry.label for entry in self.entries], np.int64)

    @property
    def lengths(self) -> Ints:
        """Number of frames of each clip, at least 1."""
        return np.diff(self.offsets)

    def clip(self, place: int) -> Float:
        """One clip as its reader returned it, float32 (T, V, 3, M), bodies padded with zeros to the set's M."""
        return np.moveaxis(self.frames[self.offsets[place] : self.offsets[place + 1]], 1, 2)

    def split(self, name: str) -> tuple[Ints, Ints]:
        """Places (train, test) of a published split of this layout."""
        return published_split(self.entries, self.layout, name)


@dataclass(frozen=True)
class LeftOut(DataProblem):
    """A clip in which nobody is seen."""


def open_layout(root: Path | str, layout: str) -> Layout:
    """The folder under its layout's rules; DataError for an unknown layout, FileError with what to download."""
    try:
        return LAYOUTS[layout](root)
    except UnknownNameError as error:
        raise DataError(str(error)) from None


def load(root: Path | str, layout: str, *, workers: int | None = None, progress: Progress | None = None) -> SkeletonSet:
    """Read a data set of the named layout.

    Sets of 5,000 clips and more are read by ``workers`` processes (default: one a core), so a script that loads one
    keeps its own work under ``if __name__ == "__main__"``; they are kept in `<root>/.fewdistill/` if that can be
    written, and found there as long as the files stay as they are. Raises DataError when anything is wrong with the
    listing or a clip, FileError when the folder is not there, RunError when a process is killed.
    """
    folder = open_layout(root, layout)
    listing = folder.listing()
    _refuse(listing.problems)
    if not listing.entries:
        raise FileError(folder.root, "all clips are left out", folder.download)
    digest = _content_hash(folder, layout, listing)
    kept = folder.root / ".fewdistill" / f"skeletons_{layout}.npz"
    packed = _recall(kept, digest)
    if packed is None:
        found = list(read_clips(folder, layout, listing.entries, workers, progress))
        _refuse([result for result in found if isinstance(result, DataProblem) and not isinstance(result, LeftOut)])
        empty = {e.id: r.message for e, r in zip(listing.entries, found, strict=True) if isinstance(r, LeftOut)}
        if len(empty) == len(found):
            raise FileError(folder.root, "nobody is seen in any clip", folder.download)
        packed = *_pack([result for result in found if not isinstance(result, DataProblem)]), empty
        if len(found) >= MANY:
            _keep(kept, digest, *packed)
    frames, offsets, empty = packed
    entries = tuple(entry for entry in listing.entries if entry.id not in empty)
    origin = folder.skeleton.centre if folder.origin is None else folder.origin
    left_out = {**listing.left_out, **empty}
    return SkeletonSet(layout, folder.skeleton, origin, listing.classes, entries, left_out, frames, offsets, digest)


def read_clips(
    folder: Layout, layout: str, entries: Sequence[ClipEntry], workers: int | None, progress: Progress | None
) -> Iterator[Float | DataProblem]:
    """Every clip in turn as its reader returns it, or what is wrong with it."""
    if workers is None:
        workers = (os.cpu_count() or 1) if len(entries) >= MANY else 1
    found = _read(folder, [entry.path for entry in entries])
    if workers > 1:
        found = _read_by_many(folder.root, layout, entries, workers)
    for done, result in enumerate(found, start=1):
        yield result
        if progress is not None:
            progress(done, len(entries))


def _read(folder: Layout, paths: Iterable[Path]) -> Iterator[Float | DataProblem]:
    for path in paths:
        try:
            yield folder.read(path)
        except EmptyClipError as error:
            yield LeftOut(**vars(error.problem))
        except FileError as error:
            yield error.problem


def _read_share(root: Path, layout: str, paths: list[Path]) -> list[Float | DataProblem]:
    return list(_read(open_layout(root, layout), paths))


def _read_by_many(root: Path, layout: str, entries: Sequence[ClipEntry], workers: int) -> Iterator[Float | DataProblem]:
    paths = [entry.path for entry in entries]
    try:
        with worker_pool(workers) as submit:
            shares = [paths[at : at + _SHARE] for at in range(0, len(paths), _SHARE)]
            futures = deque(submit(_read_share, root, layout, share) for share in shares)
            while futures:
                yield from futures.popleft().result()  # popped, so that what was read is not held here
    except BrokenProcessPool:
        raise RunError(f"{root}: a process that reads was ended; call again") from None


def _pack(clips: Sequence[Float]) -> tuple[Float, Ints]:
    """(frames, offsets) of the clips end to end, bodies padded to the most there are."""
    offsets = np.cumsum([0, *(len(clip) for clip in clips)], dtype=np.int64)
    bodies = max(clip.shape[3] for clip in clips)
    frames = np.zeros((int(offsets[-1]), 3, clips[0].shape[1], bodies), np.float32)
    for clip, at in zip(clips, offsets[:-1], strict=True):
        frames[at : at + len(clip), ..., : clip.shape[3]] = np.moveaxis(clip, 2, 1)
    return frames, offsets


def _content_hash(folder: Layout, layout: str, listing: Listing) -> str:
    files: dict[str, Sequence[str]] = {entry.id: [str(entry.path)] for entry in listing.entries}
    own = folder.root / "skeleton.toml"
    if own.is_file():
        files[""] = [str(own)]
    try:
        many = len(listing.entries) >= MANY
        hashes = content_hashes(files, folder.root, f"skeletons_{layout}", remember=many)
    except OSError as error:
        raise FileError(error.filename, f"cannot be read ({error.strerror})") from None
    lines = "".join(f"{clip}\0{hashes[clip]}\n" for clip in sorted(hashes))
    return hashlib.sha256(f"{layout} {folder.version}\n{lines}".encode()).hexdigest()


def _recall(path: Path, digest: str) -> tuple[Float, Ints, dict[str, str]] | None:
    """What `_keep` wrote of these very files; None when there is none, or it is of others or damaged."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["content"]) != digest:
                return None
            return kept["frames"], kept["offsets"], dict(kept["empty"].reshape(-1, 2).tolist())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # it only saves reading the clips again


def _keep(path: Path, digest: str, frames: Float, offsets: Ints, empty: dict[str, str]) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        with atomic_file(path) as file:
            left = np.array([*empty.items()], dtype=str)
            np.savez(file, content=np.array(digest), frames=frames, offsets=offsets, empty=left)
    except (OSError, CacheError):
        return  # read-only or full disk: the set stands, only the next start is slower


def _refuse(problems: Sequence[DataProblem]) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more; `fewdistill data check` lists them)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}")
