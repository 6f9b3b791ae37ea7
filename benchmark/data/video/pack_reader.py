"""Reads a pack: the RGB of a data set's videos, decoded and resized once, in flat uint8 files mapped into memory.

`pack.json` names the shards. Shard `00012.rgb` holds frames (H, W, 3), video after video; `00012.json` says of which
videos. A shard counts once its JSON is there, and is never changed; the pack counts once `pack.json` is there.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import DataProblem, FileError
from fewdistill.benchmark.data.video.frames import drawable_indices, sample_indices
from fewdistill.feature_cache import sealed, unsealed, write_atomic
from fewdistill.feature_cache.errors import DamagedError

INDEX = "pack.json"
SHARD_FILE = re.compile(r"\d{5}\.(json|rgb)")
_AGAIN = "delete the shard's two files and call `fewdistill data pack` again: it packs just those videos"

UInt8 = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PackSettings:
    """Which pixels a pack holds: frames of a short side of ``resize`` px.

    Without ``keep`` every frame that sampling ``frames`` of a video can draw, in training or not, so that nothing
    but the time to read differs from the files. With ``keep`` at most so many evenly spaced frames a video, which is
    smaller; training then draws from these.
    """

    resize: int
    frames: int
    keep: int | None = None

    def numbers(self, count: int) -> Ints:
        """The frame numbers held of a video of ``count`` frames, int64, ascending; DataError when it is too short."""
        if self.keep is None or count < self.frames:
            return drawable_indices(count, self.frames)
        return sample_indices(count, min(count, self.keep))


@dataclass(frozen=True)
class PackShard:
    """00012.json: of each video, in the order of their pixels, id, hash of its files, frames of the whole video, and
    shape (T, H, W) of what is held; sha256 (hex) of the pixels."""

    settings: PackSettings
    videos: tuple[str, ...]
    content: tuple[str, ...]
    counts: tuple[int, ...]
    shapes: tuple[tuple[int, int, int], ...]
    sha256: str

    @property
    def offsets(self) -> list[int]:
        """Byte at which each video begins, and the size of the file."""
        sizes = [3 * frames * height * width for frames, height, width in self.shapes]
        return [0, *np.cumsum(sizes, dtype=np.int64).tolist()]

    def write(self, path: Path) -> None:
        """Write the JSON, whole or not at all; CacheError when there is no room."""
        frames, heights, widths = zip(*self.shapes, strict=True)
        content = {
            "settings": vars(self.settings), "videos": self.videos, "content": self.content, "counts": self.counts,
            "frames": frames, "heights": heights, "widths": widths, "sha256": self.sha256,
            "numbers": {str(count): self.settings.numbers(count).tolist() for count in sorted(set(self.counts))},
        }  # fmt: skip
        write_atomic(path, sealed(content))


@dataclass(frozen=True)
class _Row:
    """One video of a pack: its shard, the byte it begins at, shape (T, H, W), frames of the whole video."""

    shard: str
    offset: int
    shape: tuple[int, int, int]
    count: int
    content: str


def read_shard(folder: Path, name: str) -> tuple[PackShard, dict[int, Ints]]:
    """A shard's JSON, and the frame numbers it holds by frames of the whole video.

    Raises DamagedError for a changed JSON, FileError when the pixels are missing or of another size.
    """
    path, pixels = folder / f"{name}.json", folder / f"{name}.rgb"
    content = unsealed(path, _AGAIN)
    shapes = tuple(zip(content["frames"], content["heights"], content["widths"], strict=True))
    shard = PackShard(
        PackSettings(**content["settings"]), tuple(content["videos"]), tuple(content["content"]),
        tuple(content["counts"]), shapes, content["sha256"],
    )  # fmt: skip
    size, wanted = pixels.stat().st_size if pixels.is_file() else None, shard.offsets[-1]
    if size != wanted:
        raise FileError(pixels, "is missing" if size is None else f"{size} bytes, {wanted} were written", _AGAIN)
    return shard, {int(count): np.array(numbers, np.int64) for count, numbers in content["numbers"].items()}


def shard_names(folder: Path) -> list[str]:
    """The shards that stand in a folder, finished pack or not, by number."""
    if not folder.is_dir():
        return []
    return sorted(path.stem for path in folder.glob("*.json") if SHARD_FILE.fullmatch(path.name))


def write_index(folder: Path, settings: PackSettings, shards: Iterable[str]) -> None:
    """Make a pack of the shards: the last thing that is written."""
    write_atomic(folder / INDEX, sealed({"settings": vars(settings), "shards": list(shards)}))


def index(folder: Path) -> dict[str, Any]:
    """The content of pack.json; FileError when there is none, DamagedError when it was changed."""
    if not (folder / INDEX).is_file():
        unfinished = bool(shard_names(folder))
        message = "is not finished" if unfinished else "holds no pack"
        raise FileError(folder, message, "call `fewdistill data pack`" + (" again" if unfinished else ""))
    return unsealed(folder / INDEX, "call `fewdistill data pack` again: what is packed stands")


class Pack:
    """Reader of a finished pack. Opening reads the JSON files and the sizes of the others, no pixel.

    Raises FileError or DamagedError, naming the file, for a pack that is missing, unfinished, cut off or changed.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        content = index(self.folder)
        self.settings = PackSettings(**content["settings"])
        self._rows: dict[str, _Row] = {}
        self._numbers: dict[int, Ints] = {}
        self._maps: dict[str, UInt8] = {}
        for name in content["shards"]:  # by number: of a video packed twice, the later one counts
            shard, numbers = read_shard(self.folder, name)
            self._numbers |= numbers
            columns = zip(shard.videos, shard.offsets, shard.shapes, shard.counts, shard.content, strict=False)
            for video, offset, shape, count, digest in columns:
                self._rows[video] = _Row(name, offset, shape, count, digest)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}  # each process maps for itself: pickled, a map is a copy of its pixels

    def check_fits(self, root: Path, videos: Collection[str], resize: int, frames: int) -> None:
        """FileError, with the remedy, unless the pack holds these videos of ``root`` for these settings."""
        again = (
            f"call `fewdistill data pack {root} --resize {resize} --frames {frames} --out ...`, or leave out data.pack"
        )
        if self.settings.resize != resize:
            message = f"packed at a short side of {self.settings.resize} px, {resize} are asked for"
            raise FileError(self.folder, message, again)
        absent = [video for video in videos if video not in self._rows]
        if absent:
            more = f" and {len(absent) - 1} more videos" if len(absent) > 1 else ""
            raise FileError(self.folder, f"does not hold {absent[0]!r}{more}", "call `fewdistill data pack` again")
        thin = self.settings.keep is not None
        for count in {self._rows[video].count for video in videos}:
            if count < frames:  # too short for any reader, which says so when the video is read
                continue
            held = self._numbers[count]
            if not (len(held) >= frames if thin else np.isin(drawable_indices(count, frames), held).all()):
                message = f"packed for {self.settings.frames} frames a video, {frames} are asked for"
                raise FileError(self.folder, message, again)

    def check_sources(self, content: Mapping[str, str]) -> None:
        """FileError unless the pack was made of these files: ``content`` has their hashes by video."""
        changed = [video for video, digest in content.items() if self._rows[video].content != digest]
        if changed:
            more = f" and of {len(changed) - 1} more videos" if len(changed) > 1 else ""
            message = f"the files of {changed[0]!r}{more} have changed since they were packed"
            raise FileError(self.folder, message, "call `fewdistill data pack` again: it packs just those")

    def thins(self, videos: Iterable[str]) -> bool:
        """Whether frames that training could have drawn of these videos were left out."""
        counts = {self._rows[video].count for video in videos} if self.settings.keep is not None else set()
        return any(len(self._numbers[count]) < count for count in counts)

    def count(self, video: str) -> int:
        """Frames of the whole video, also of those that are not held."""
        return self._rows[video].count

    def indices(self, video: str, frames: int, *, train: bool, rng: np.random.Generator | None) -> Ints:
        """As `sample_indices` of the whole video, or of the frames that a thinned pack kept; numbers of the video."""
        count = self.count(video)
        if self.settings.keep is None:
            return sample_indices(count, frames, train=train, rng=rng)
        held = self._numbers[count]
        return held[sample_indices(len(held), frames, train=train, rng=rng)]

    def read(self, video: str, indices: Ints) -> UInt8:
        """Frames of a video by their numbers, uint8 (T, H, W, 3); read-only, and not copied where they lie together."""
        row = self._rows[video]
        places = np.searchsorted(self._numbers[row.count], indices)
        frames, height, width = row.shape
        size = 3 * frames * height * width
        clip = self._map(row.shard)[row.offset : row.offset + size].reshape(frames, height, width, 3)
        if places[-1] - places[0] == len(places) - 1 and (np.diff(places) == 1).all():
            return clip[places[0] : places[-1] + 1]
        return clip[places]

    def _map(self, name: str) -> UInt8:
        if name not in self._maps:
            # a plain array: views of np.memmap cost more to make than a small clip to copy
            self._maps[name] = np.asarray(np.memmap(self.folder / f"{name}.rgb", np.uint8, mode="r"))
        return self._maps[name]


def verify(folder: Path, progress: Callable[[int, int], None]) -> list[DataProblem]:
    """What is wrong with the shards of a pack, finished or not: every byte is read and compared to its sha256."""
    problems, names = [], shard_names(folder)
    if not names:
        raise FileError(folder, "holds no pack", "call `fewdistill data pack`")
    for done, name in enumerate(names, start=1):
        problem = _damage(folder, name)
        if problem is not None:
            problems.append(problem)
        progress(done, len(names))
    return problems


def _damage(folder: Path, name: str) -> DataProblem | None:
    try:
        shard, _ = read_shard(folder, name)
    except FileError as error:
        return error.problem
    except DamagedError as error:
        return DataProblem(str(error.path), error.reason, _AGAIN)
    pixels = folder / f"{name}.rgb"
    with pixels.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256:
            return None
    return DataProblem(str(pixels), "the bytes are not those that were written", _AGAIN)
