"""Checks a data set of videos for episodes and lists all its problems, each with its remedy."""

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fewdistill.benchmark.data.problem import REPLACE, DataProblem
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.data.video.frames import frame_count, list_frames, read_depth_image, read_image
from fewdistill.benchmark.data.video.joints import read_joints
from fewdistill.benchmark.data.video.splits import SPLITS, list_path, scan_split_lists
from fewdistill.benchmark.runtime.errors import DataError

Progress = Callable[[int, int], None]


def check(
    root: Path | str,
    *,
    way: int,
    shot: int,
    query: int,
    frames: int = 8,
    list_number: int = 3,
    deep: bool = True,
    sources: Collection[str] | None = None,
    progress: Progress | None = None,
) -> list[DataProblem]:
    """All problems of a data set for ``way``-way ``shot``-shot episodes with ``query`` queries a class.

    Looks at the lists, at the classes and videos an episode needs, and at the files of every listed video: missing,
    empty, too short, depth or joints missing or of another length. ``deep`` also decodes every frame and reads
    every joint, in threads; without it nothing is decoded and the frames of video files are not counted.
    ``sources`` limits the look to some of "rgb", "depth", "joints"; by default all that the data set carries.
    ``progress`` is called with (videos done, videos in all). An empty list means the data set is fit.
    """
    root = Path(root)
    if not root.is_dir():
        return [DataProblem(str(root), "no such data set folder", "check the path")]
    lists, problems = scan_split_lists(root / "splits", list_number)
    folder = VideoFolder(root, frames=frames, lists=lists)
    problems += _episode_problems(folder, way, shot + query, list_number)
    try:
        there = folder.modalities()
        carried = tuple(source for source in there if sources is None or source in sources)
        if "joints" in carried:
            _ = folder.skeleton
    except DataError as error:
        return [*problems, _problem(error, root)]
    if not {"rgb", "joints"} & set(there):
        remedy = "put frames into l8/rgb_l8/<class>/<video>/ or videos into <class>/"
        return [*problems, DataProblem(str(root), "holds no frames, videos or joints of the listed classes", remedy)]
    videos = [video for split in SPLITS for video in folder.videos(split)]
    with ThreadPoolExecutor() as pool:
        checked = pool.map(lambda video: list(_video_problems(folder, video, carried, deep)), videos)
        for done, found in enumerate(checked, start=1):
            problems += found
            if progress is not None:
                progress(done, len(videos))
    return problems


def _episode_problems(folder: VideoFolder, way: int, needed: int, list_number: int) -> Iterator[DataProblem]:
    for split in SPLITS:
        by_class = folder.by_class(split)
        path = str(list_path(folder.root / "splits", split, list_number))
        if by_class and len(by_class) < way:
            message = f"{len(by_class)} classes, {way} needed for {way}-way episodes"
            yield DataProblem(path, message, "lower `way` or list more classes")
        for name, places in by_class.items():
            if len(places) < needed:
                message = f"class {name!r} has {len(places)} videos, {needed} needed for support and query"
                yield DataProblem(path, message, "lower `shot` or `query`, list more of its videos, or drop the class")


def _video_problems(folder: VideoFolder, video: str, carried: tuple[str, ...], deep: bool) -> Iterator[DataProblem]:
    """Problems of one video's files, in the order rgb, depth, joints; at most one for each source."""
    count: int | None = None
    for source in carried:
        path = folder.root
        try:
            path = folder.locate(video, source)
            found = _frames_of(path, source, deep)
        except DataError as error:
            yield _problem(error, path)
            continue
        except OSError as error:  # a link to nowhere, a folder that may not be read
            yield DataProblem(str(error.filename or path), f"cannot be read ({error.strerror})", REPLACE)
            continue
        if found is None:
            continue
        if source == "rgb" or (count is None and "rgb" not in carried):
            count = found
            if found < folder.frames:
                message = f"{found} frames found, {folder.frames} needed"
                yield DataProblem(str(path), message, "lower `frames` or drop the video from the split lists")
        elif count is not None and found != count:
            yield DataProblem(str(path), f"{found} frames, but {count} in RGB", "write it again")


def _frames_of(path: Path, source: str, deep: bool) -> int | None:
    """Number of frames of one source of one video, None when it cannot be told without decoding."""
    if source == "joints":
        return len(read_joints(path)) if deep else _npy_length(path)
    if not path.is_dir():
        if path.stat().st_size and not deep:
            return None
        return frame_count(path)
    images = list_frames(path)
    read = read_depth_image if source == "depth" else read_image
    sizes = {read(image).shape for image in images if deep or not image.stat().st_size}
    if len(sizes) > 1:
        raise DataError(f"frames of different sizes {sorted(sizes)}")
    return len(images)


def _npy_length(path: Path) -> int:
    try:
        return len(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError, TypeError):
        return len(read_joints(path))  # names what is wrong


def _problem(error: DataError, path: Path) -> DataProblem:
    problem = getattr(error, "problem", None)
    if isinstance(problem, DataProblem):
        return problem
    return DataProblem(str(path), str(error), "write it again or drop the video from the split lists")
