"""Frozen episodes: drawn once per (split, way, shot, query, seed), stored with a checksum, shared by all methods."""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.runtime.errors import DataError, UserError
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.feature_cache import write_atomic


@dataclass(frozen=True)
class Episodes:
    """E episodes over the videos of one split.

    classes: int32 (E, way), class indices in the split; the position is the episode label.
    support: int32 (E, way, shot) and query: int32 (E, way, query), rows into the split's video list, disjoint.
    """

    classes: NDArray[np.int32]
    support: NDArray[np.int32]
    query: NDArray[np.int32]

    @property
    def way(self) -> int:
        return self.classes.shape[1]

    def rows(self, index: int) -> NDArray[np.int64]:
        """All videos of one episode, int64 (way * (shot + query),): support class by class, then query."""
        return np.concatenate([self.support[index].ravel(), self.query[index].ravel()]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def sha256(self) -> str:
        """Hash of the three arrays, the same on every machine."""
        digest = hashlib.sha256()
        for array in (self.classes, self.support, self.query):
            digest.update(str(array.shape).encode() + array.astype("<i4").tobytes())
        return digest.hexdigest()


_NONE: NDArray[np.int32] = np.empty((0, 1, 1), np.int32)
NO_EPISODES = Episodes(_NONE[..., 0], _NONE, _NONE)


@dataclass(frozen=True)
class ClassIndex:
    """The videos of a split by class, built once: a draw looks at classes and at the videos it picks, at no others.

    rows: int32 (V,), rows into the split's video list, class after class; starts, sizes: int64 (C,), of each class.
    """

    rows: NDArray[np.int32]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, by_class: Sequence[NDArray[np.integer]]) -> Self:
        """From the rows of each class's videos."""
        sizes = np.array([len(rows) for rows in by_class], np.int64)
        return cls(np.concatenate(list(by_class)).astype(np.int32), sizes.cumsum() - sizes, sizes)


def draw(index: ClassIndex, *, way: int, shot: int, query: int, episodes: int, rng: np.random.Generator) -> Episodes:
    """Draw episodes: way distinct classes, then shot + query distinct videos of each, all uniformly.

    No scan over videos; time is O(C + E (C + way (shot + query)^2)), however many videos there are. Raises UserError
    when there are too few classes, or videos in a class, naming which.
    """
    sizes = index.sizes
    if way > len(sizes):
        raise UserError(f"way = {way} is larger than the split's {len(sizes)} classes: choose way <= {len(sizes)}")
    wanted = shot + query
    if sizes.min() < wanted:
        raise UserError(
            f"shot + query = {wanted} is larger than class {int(sizes.argmin())}, which has {sizes.min()} videos"
        )
    classes = (
        rng.random((episodes, len(sizes))).argpartition(way - 1, axis=1)[:, :way]
        if way < len(sizes)
        else (np.broadcast_to(np.arange(way), (episodes, way)))
    )
    classes = rng.permuted(classes, axis=1)
    picks = _distinct(sizes[classes], wanted, rng)  # (E, way, wanted) positions inside the class
    videos = index.rows[index.starts[classes][..., None] + picks]
    return Episodes(classes.astype(np.int32), videos[..., :shot], videos[..., shot:])


def _distinct(sizes: NDArray[np.integer], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``count`` distinct integers below each size, in random order: shape (*sizes.shape, count).

    The i-th pick is uniform over the size - i values left; ranks among those left become values by stepping over
    the earlier picks in ascending order.
    """
    picks = np.empty((*sizes.shape, count), dtype=np.int64)
    for i in range(count):
        value = rng.integers(0, sizes - i)
        for earlier in np.moveaxis(np.sort(picks[..., :i], axis=-1), -1, 0):
            value = value + (value >= earlier)
        picks[..., i] = value
    return picks


def frozen(
    folder: Path,
    split: str,
    index: ClassIndex,
    video_hash: str,
    *,
    way: int,
    shot: int,
    query: int,
    episodes: int,
    seed: int,
) -> Episodes:
    """The frozen list of these arguments: read when it stands and is sound, else drawn and written once.

    video_hash names the video list the rows point into. A list whose checksum fails is refused by file name.
    """
    name = f"{split}-{way}way-{shot}shot-{query}query-{episodes}-seed{seed}-{video_hash[:8]}.npz"
    path = folder / name
    if not path.exists():
        rng = generator(seed, "episodes", split, way, shot, query)
        drawn = draw(index, way=way, shot=shot, query=query, episodes=episodes, rng=rng)
        _write(path, drawn)
    return read(path)


def _write(path: Path, episodes: Episodes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        classes=episodes.classes,
        support=episodes.support,
        query=episodes.query,
        sha256=np.array(episodes.sha256),
    )
    write_atomic(path, [buffer.getbuffer()])


def read(path: Path) -> Episodes:
    """Read a frozen list; DataError when it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            episodes = Episodes(stored["classes"], stored["support"], stored["query"])
            sound = str(stored["sha256"]) == episodes.sha256
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable episode list ({error}); delete it to draw it again") from error
    if not sound:
        raise DataError(f"{path}: the episode list's checksum is wrong; delete it to draw it again")
    return episodes
