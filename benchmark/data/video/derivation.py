"""Modality clips of every video, derived by a pool of processes: a source is read once and feeds all its experts."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import torch
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import FileError
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.data.video.transforms import apply_crop, centre_crop
from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.pool import Submit, worker_pool
from fewdistill.benchmark.runtime.progress import Tick, bar
from fewdistill.feature_cache import Entry, ShardWriter
from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities import CoordinateExpert, Expert

_PIECE = 4  # videos a task: few, so that no core is long without work at the end
_WORTH_A_PROCESS = 32  # videos; about as many are derived in the time that a process takes to start

Put = tuple[Expert, ShardWriter, int]
"""What is to be derived of a video, and the draft and the place in it where the clip goes."""
Piece = tuple[tuple[str, tuple[Put, ...]], ...]
"""The work of a task, by video."""


def derive(
    folder: VideoFolder,
    videos: Sequence[str],
    opens: Mapping[Expert, Callable[[], Entry]],
    *,
    part: tuple[int, int] = (1, 1),
    workers: int | None = None,
) -> dict[Expert, tuple[int, int]]:
    """Fill cache entries with the clips of these videos by their experts; finished shards are kept.

    opens: opens, or makes, each expert's entry; called when the wishes are known to be possible.
    part: (i, n) derives the shards whose number is i - 1 modulo n, so that n machines with one cache folder share the
    work without a word, and each resumes its own share whatever the others have done. workers: processes, default a
    core each, but not more than the work is worth starting; 1 works in this process. The clips do not depend on any of
    these. Returns for each expert how many clips were there and how many were made.

    A video's sources are read once for all experts that lack it. A process holds one video's sources and one of its
    clips at a time. Clips wait for the rest of their shard (64 videos) on the disk; about workers / 8 + 2 shards a
    modality wait at once, and a killed derivation computes those again.

    Raises, before any work, UserError for an impossible part and TeacherError for a source that the data set lacks;
    then DataError, naming the file, for a video that cannot be read, CacheError for a full disk or a damaged shard, and
    RunError when a worker is killed. Finished shards are kept.
    """
    number, parts = part
    if not 1 <= number <= parts:
        raise UserError(f"part {number} of {parts}: parts are numbered from 1 to their count")
    if workers is not None and workers < 1:
        raise UserError(f"workers = {workers}: at least one is needed")
    for expert in opens:
        expert.check(folder)
    entries = {expert: opened() for expert, opened in opens.items()}
    plans = {expert: entry.plan(videos) for expert, entry in entries.items()}
    mine = {expert: [shard for shard in plan if in_part(shard.index, part)] for expert, plan in plans.items()}
    drafts = [(expert, ShardWriter.of(entries[expert], shard)) for expert, shards in mine.items() for shard in shards]
    if drafts:
        with bar(f"derive {', '.join(expert.name for expert in entries)}", "videos") as tick:
            _derive_all(folder, drafts, workers, tick)
    return {
        expert: (
            len(videos) - sum(len(shard.ids) for shard in plans[expert]),
            sum(len(shard.ids) for shard in mine[expert]),
        )
        for expert in entries
    }


def in_part(shard: int, part: tuple[int, int]) -> bool:
    """Whether a shard number belongs to the i-th of n parts, part = (i, n), i from 1."""
    number, parts = part
    return shard % parts == number - 1


def _derive_all(folder: VideoFolder, drafts: list[tuple[Expert, ShardWriter]], workers: int | None, tick: Tick) -> None:
    by_video: dict[str, list[Put]] = {}
    for expert, draft in drafts:
        for place, video in enumerate(draft.shard.ids):
            by_video.setdefault(video, []).append((expert, draft, place))
    work = [(video, tuple(by_video[video])) for video in sorted(by_video)]
    pieces = [tuple(work[start : start + _PIECE]) for start in range(0, len(work), _PIECE)]
    if workers is None:
        workers = min(_cores(), len(work) // _WORTH_A_PROCESS)
    workers = min(workers, len(pieces))
    if workers <= 1:
        with _one_thread():
            _drive(pieces, partial(_derive, folder), _now, 1, tick)
        return
    try:
        with worker_pool(workers, _open, folder) as submit:
            _drive(pieces, _derive_here, submit, 2 * workers, tick)
    except BrokenProcessPool:
        raise RunError(
            "a process that derives clips was killed, by the system if memory ran out; finished shards stand: run "
            "again, or derive with --workers 1"
        ) from None


def _drive(pieces: list[Piece], do: Callable[[Piece], None], submit: Submit, ahead: int, tick: Tick) -> None:
    """Do all pieces, ``ahead`` tasks at a time and in order; publish each draft as soon as all its rows are there."""
    rows_left = Counter(draft.path for piece in pieces for _, puts in piece for _, draft, _ in puts)
    begun: dict[Path, ShardWriter] = {}
    running: dict[Future[Any], Piece] = {}
    todo, done, total = iter(pieces), 0, sum(map(len, pieces))
    try:
        while True:
            for piece in islice(todo, max(0, ahead - len(running))):
                for draft in _drafts(piece):
                    if draft.path not in begun:
                        draft.begin()
                        begun[draft.path] = draft
                running[submit(do, piece)] = piece
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                piece = running.pop(future)
                future.result()
                for draft in _drafts(piece):
                    rows_left[draft.path] -= 1
                    if not rows_left[draft.path]:
                        running[submit(draft.publish)] = ()
                done += len(piece)
                tick(done, total)
    finally:
        for draft in begun.values():
            draft.discard()


def _drafts(piece: Piece) -> Iterator[ShardWriter]:
    """The draft of every row of a piece."""
    return (draft for _, puts in piece for _, draft, _ in puts)


def _derive(folder: VideoFolder, piece: Piece) -> None:
    """Derive a piece's clips, images cut to the middle square, and put each in its draft."""
    for video, puts in piece:
        sources: dict[str, Any] = {}
        for expert, draft, place in puts:
            if expert.requires not in sources:
                sources[expert.requires] = folder.source(video, expert.requires)
            try:
                clip: NDArray[Any] = expert.derive(sources[expert.requires])
            except TeacherError as error:
                raise FileError(folder.locate(video, expert.requires), str(error)) from None
            if not isinstance(expert, CoordinateExpert):
                clip = apply_crop(clip, centre_crop(clip.shape[1], clip.shape[2], folder.resize))
            draft.put(place, clip)


_folder: VideoFolder
"""Of a worker process, which `_open` readies."""


def _open(folder: VideoFolder) -> None:
    global _folder
    _folder = folder


def _derive_here(piece: Piece) -> None:
    _derive(_folder, piece)


def _now(function: Callable[..., object], /, *arguments: object) -> Future[Any]:
    """`submit` without a pool."""
    future: Future[Any] = Future()
    future.set_result(function(*arguments))
    return future


@contextmanager
def _one_thread() -> Iterator[None]:
    """One core for the block, as a worker has."""
    opencv, torchs = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(opencv)
        torch.set_num_threads(torchs)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
