"""Writes a pack: decodes every listed video once, by several processes, shard by shard."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewdistill.benchmark.data.problem import DataProblem, FileError
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.data.video.frames import decode, read_frames
from fewdistill.benchmark.data.video.pack_reader import (
    SHARD_FILE,
    PackSettings,
    PackShard,
    read_shard,
    shard_names,
    write_index,
)
from fewdistill.benchmark.data.video.splits import SPLITS
from fewdistill.benchmark.data.video.transforms import resized_size
from fewdistill.benchmark.runtime.errors import DataError, RunError, UserError
from fewdistill.benchmark.runtime.pool import worker_pool
from fewdistill.feature_cache import atomic_file, run_lock, sweep

_SHARD_BYTES = 512 << 20
_SHARD_VIDEOS = 256  # at most, unless there were more than so many shards: a reader holds each of them open
_SHARDS = 256
_PROBED = 16  # videos looked at to say how much room all of them need
_LISTED = 10  # broken videos named

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PackPlan:
    """The videos still to pack, by shard number, hashes of all listed videos' files, bytes needed (estimated) and
    free on the disk."""

    folder: VideoFolder
    out: Path
    settings: PackSettings
    content: dict[str, str]
    shards: dict[int, tuple[str, ...]]
    needed: int
    free: int

    @property
    def missing(self) -> int:
        """Videos to pack."""
        return sum(len(videos) for videos in self.shards.values())


def plan(folder: VideoFolder, out: Path, keep: int | None = None) -> PackPlan:
    """What `write` would do: all listed videos in shards, less those that stand in ``out`` and have not changed since.

    The frames and their size are those of ``folder``; see PackSettings for ``keep``. Nothing is written. Raises
    UserError for a ``keep`` below the folder's frames, a pack of other settings in ``out``, and a disk without room.
    """
    settings = PackSettings(folder.resize, folder.frames, keep)
    if keep is not None and keep < folder.frames:
        raise UserError(f"keep = {keep} is fewer than frames = {folder.frames}: keep at least so many")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is no folder: choose another --out")
    content = folder.content_hashes()
    standing: dict[str, str] = {}
    names = shard_names(out)
    for name in names:
        shard, _ = read_shard(out, name)
        if shard.settings != settings:
            raise UserError(
                f"{out} holds a pack of {_described(shard.settings)}, not of {_described(settings)}: "
                "choose another --out"
            )
        standing |= dict(zip(shard.videos, shard.content, strict=True))
    missing = [video for video, digest in content.items() if standing.get(video) != digest]
    mean = _mean_bytes(folder, settings, missing)
    size = max(min(_SHARD_VIDEOS, _SHARD_BYTES // mean), -(-len(missing) // _SHARDS), 1)
    first = int(names[-1]) + 1 if names else 0
    shards = {first + at // size: tuple(missing[at : at + size]) for at in range(0, len(missing), size)}
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.is_dir())
    found = PackPlan(folder, out, settings, content, shards, mean * len(missing), shutil.disk_usage(there).free)
    if found.needed > found.free:
        raise UserError(
            f"no room in {out}: about {gib(found.needed)} needed for {found.missing} videos, {gib(found.free)} free; "
            f"choose another --out or a smaller --resize or --keep"
        )
    return found


def write(plan: PackPlan, *, workers: int = 1, progress: Progress | None = None) -> None:
    """Pack what the plan says, then the index, without which the pack does not stand.

    ``progress`` is called with (videos done, videos in all). Interrupted, it loses the shards in flight; planned and
    called again, it does the rest. Broken videos are left out: the others are packed, then DataError names them.
    Raises CacheError when another process packs here or the disk is full, RunError when a worker is killed.
    """
    with run_lock(plan.out):
        problems: list[DataProblem] = []
        total = len(plan.content)
        done = total - plan.missing
        try:
            for videos, found in _written(plan, workers):
                problems += found
                done += videos
                if progress is not None:
                    progress(done, total)
        finally:
            sweep(plan.out)  # what a killed call or worker left
        if problems:
            listed = "\n".join(str(problem) for problem in problems[:_LISTED])
            more = f"\nand {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
            raise DataError(f"{listed}{more}\n{total - len(problems)} of {total} videos are packed; repair the others")
        _finish(plan)


def gib(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _described(settings: PackSettings) -> str:
    kept = f", at most {settings.keep} kept" if settings.keep is not None else ""
    return f"short side {settings.resize} px and {settings.frames} frames{kept}"


def _mean_bytes(folder: VideoFolder, settings: PackSettings, videos: Sequence[str]) -> int:
    """Bytes of a packed video, from a few of them spread over all; broken ones are left to be named later."""
    places = np.linspace(0, len(videos) - 1, min(_PROBED, len(videos))).astype(int)
    sizes = []
    for video in (videos[place] for place in places):
        try:
            path, numbers = folder.locate(video), settings.numbers(folder.frame_count(video))
            first = read_frames(path, [0]) if path.is_dir() else decode(path, [0])
            height, width = resized_size(first.shape[1], first.shape[2], settings.resize)
            sizes.append(3 * len(numbers) * height * width)
        except DataError:
            continue
    return int(np.mean(sizes)) if sizes else 1


def _written(plan: PackPlan, workers: int) -> Iterator[tuple[int, list[DataProblem]]]:
    """Videos of each shard as it stands, and the problems of those among them that are broken."""
    root, content = plan.folder.root, plan.content
    work = [
        (root, plan.out, f"{number:05d}", plan.settings, {video: content[video] for video in videos})
        for number, videos in plan.shards.items()
    ]
    if min(workers, len(work)) <= 1:
        for shard in work:
            yield len(shard[-1]), _write_shard(*shard)
        return
    try:
        with worker_pool(min(workers, len(work))) as submit:
            futures = {submit(_write_shard, *shard): len(shard[-1]) for shard in work}
            for future in as_completed(futures):
                yield futures[future], future.result()
    except BrokenProcessPool:
        raise RunError(f"{plan.out}: a process that packs was ended; call again to continue") from None


def _write_shard(
    root: Path, out: Path, name: str, settings: PackSettings, content: dict[str, str]
) -> list[DataProblem]:
    """Decode the videos (hashes of their files by id) into one shard; returns what is wrong with those left out."""
    lists = {split: tuple(content) if split == "train" else () for split in SPLITS}
    folder = VideoFolder(root, frames=settings.frames, image_size=settings.resize, resize=settings.resize, lists=lists)
    problems: list[DataProblem] = []
    held: dict[str, tuple[int, tuple[int, int, int]]] = {}
    sha256 = hashlib.sha256()
    with atomic_file(out / f"{name}.rgb") as file:
        for video in content:
            try:
                count = folder.frame_count(video)
                clip = np.ascontiguousarray(folder.read(video, settings.numbers(count)))
            except FileError as error:
                problems.append(error.problem)
                continue
            except DataError as error:
                problems.append(DataProblem(str(folder.locate(video)), str(error), "lower --frames or drop the video"))
                continue
            except OSError as error:
                problems.append(
                    DataProblem(
                        str(error.filename or folder.locate(video)),
                        f"cannot be read ({error.strerror})",
                        "make it readable",
                    )
                )
                continue
            sha256.update(clip.data)
            file.write(clip.data)
            held[video] = (count, clip.shape[:3])
    if held:
        counts, shapes = zip(*held.values(), strict=True)
        digests = tuple(content[video] for video in held)
        PackShard(settings, tuple(held), digests, counts, shapes, sha256.hexdigest()).write(out / f"{name}.json")
    else:
        (out / f"{name}.rgb").unlink()
    return problems


def _finish(plan: PackPlan) -> None:
    """The index of all shards of which anything is still listed and current; the others go."""
    current: dict[str, str] = {}
    for name in shard_names(plan.out):
        shard, _ = read_shard(plan.out, name)
        current |= dict.fromkeys((video for video in shard.videos if video in plan.content), name)
    living = sorted(set(current.values()))
    write_index(plan.out, plan.settings, living)
    for path in sorted(plan.out.iterdir()):
        if SHARD_FILE.fullmatch(path.name) and path.stem not in living:
            path.unlink()
