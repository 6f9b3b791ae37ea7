"""Writing the data set: real files in the layout that the reader of real data sets expects."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

from fewdistill.benchmark.data.problem import FileError
from fewdistill.benchmark.data.synthetic.actions import actions
from fewdistill.benchmark.data.synthetic.encode import jpeg, mp4, npy, png, skeleton_toml
from fewdistill.benchmark.data.synthetic.film import film
from fewdistill.benchmark.data.synthetic.spec import EmbeddedSpec, class_names, split_videos
from fewdistill.benchmark.data.video.splits import write_split_lists
from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.runtime.pool import worker_pool
from fewdistill.feature_cache import run_lock, write_atomic

_BEGUN, _DONE, _BESIDE = ".embedded.json", "dataset.json", ".partial"
_BATCH = 8
_WORTH_A_PROCESS = 32  # clips; starting a process takes as long as filming these


def generate(
    root: Path | str,
    spec: EmbeddedSpec | None = None,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    waiting: Callable[[str], None] | None = None,
) -> None:
    """Writes the embedded data set of ``spec`` (default: EmbeddedSpec()) to ``root``.

    Every clip depends on the specification, its class and its number alone: the files are the same for any number of
    ``workers`` (processes), and a smaller data set of the same seed holds a part of the larger one's clips. (Another
    processor or library version may round single pixels otherwise.) Clips that stand complete are kept, so an
    interrupted call is continued by the same call. ``progress`` is called with (clips done, clips in all). While
    another process writes to ``root``, this one waits if ``waiting`` is there to be told who it is.

    Raises DataError when ``root`` holds something else or another specification, or cannot be written, CacheError
    when another process is writing to it and nobody waits, RunError when a worker is killed.
    """
    root, spec = Path(root), spec or EmbeddedSpec()
    tell = progress or (lambda done, total: None)
    finished = _check_root(root, spec)
    videos = [video for videos in split_videos(spec).values() for video in videos]
    if finished and all(_stands(root, spec, video, filled=True) for video in videos):
        tell(len(videos), len(videos))
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        with run_lock(root, waiting):
            finished = _check_root(root, spec)
            write_atomic(root / _BEGUN, [_described(spec)])
            (root / _DONE).unlink(missing_ok=True)
            missing = [video for video in videos if not _stands(root, spec, video, filled=finished)]
            tell(len(videos) - len(missing), len(videos))
            _film_all(root, spec, missing, workers, lambda done: tell(len(videos) - len(missing) + done, len(videos)))
            os.sync()  # one for all clips: an fsync for each of their files would take longer than filming them
            write_atomic(root / "joints" / "skeleton.toml", [skeleton_toml(spec.size)])
            write_split_lists(root / "splits", split_videos(spec))
            write_atomic(root / _DONE, [_described(spec)])
            shutil.rmtree(root / _BESIDE, ignore_errors=True)
            (root / _BEGUN).unlink()
    except OSError as error:
        remedy = "check the path and the room on the disk, then run again: what stands is kept"
        raise FileError(error.filename or root, f"cannot be written ({error.strerror})", remedy) from None


def _described(spec: EmbeddedSpec) -> bytes:
    return (json.dumps({"name": "embedded", **asdict(spec)}, indent=2) + "\n").encode()


def _check_root(root: Path, spec: EmbeddedSpec) -> bool:
    """Whether ``root`` holds the finished data set of ``spec``; DataError when it holds anything else."""
    for path in (root / _DONE, root / _BEGUN):
        if not path.is_file():
            continue
        try:
            held = json.loads(path.read_bytes())
        except ValueError:
            held = None
        if not isinstance(held, dict) or held.get("name") != "embedded":
            raise FileError(path, "does not describe an embedded data set", "choose another folder or remove this one")
        wanted = asdict(spec)
        other = [f"{key} = {held.get(key)!r}, not {wanted[key]!r}" for key in wanted if held.get(key) != wanted[key]]
        if other:
            message = f"the embedded data set here has {', '.join(other)}"
            raise FileError(path, message, "choose another folder or remove this one")
        return path.name == _DONE
    if root.is_dir() and any(not entry.name.startswith(".") for entry in root.iterdir()):
        raise FileError(root, "holds files, but no embedded data set", "choose an empty folder")
    if root.exists() and not root.is_dir():
        raise FileError(root, "is not a folder", "choose another path")
    return False


def _places(root: Path, spec: EmbeddedSpec, video: str) -> tuple[Path, Path, Path]:
    """Where a video's RGB, depth and joints lie."""
    rgb = root / f"{video}.mp4" if spec.container == "video" else root / "l8" / "rgb_l8" / video
    return rgb, root / "l8" / "depth_l8" / video, root / "joints" / f"{video}.npy"


def _stands(root: Path, spec: EmbeddedSpec, video: str, *, filled: bool) -> bool:
    """Whether all files of a video are there. Each came into place whole, so that names are enough; but after a power
    cut files may be empty until all of them are known to be on the disk (``filled``)."""
    rgb, depth, joints = _places(root, spec, video)
    try:
        files = [joints, *([rgb] if spec.container == "video" else os.scandir(rgb)), *os.scandir(depth)]
        count = 1 + spec.frames + (1 if spec.container == "video" else spec.frames)
        return len(files) == count and joints.is_file() and (filled or all(file.stat().st_size for file in files))
    except FileNotFoundError:
        return False


def _film_all(root: Path, spec: EmbeddedSpec, videos: list[str], workers: int, tell: Callable[[int], None]) -> None:
    done = 0
    if min(workers, len(videos) // _WORTH_A_PROCESS) <= 1:
        for done, _ in enumerate(_film_batch(root, spec, videos), start=1):
            tell(done)
        return
    batches = [videos[start : start + _BATCH] for start in range(0, len(videos), _BATCH)]
    try:
        with worker_pool(workers) as submit:
            for future in as_completed([submit(_film_to_end, root, spec, batch) for batch in batches]):
                done += future.result()
                tell(done)
    except BrokenProcessPool:
        raise RunError(f"{root}: a process that writes clips was ended; run again to continue") from None


def _film_to_end(root: Path, spec: EmbeddedSpec, videos: Sequence[str]) -> int:
    return sum(1 for _ in _film_batch(root, spec, videos))


def _film_batch(root: Path, spec: EmbeddedSpec, videos: Sequence[str]) -> Iterator[None]:
    """Films and writes videos, yielding after each."""
    programme = dict(zip(class_names(spec.version), actions(spec.version), strict=True))
    for video in videos:
        class_name, number = video.split("/v")
        clip = film(spec, programme[class_name], class_name, int(number))
        beside = root / _BESIDE / video.replace("/", "-")
        shutil.rmtree(beside, ignore_errors=True)
        pictures = {"depth": [png(frame) for frame in clip.depth]}
        whole = {"joints": npy(clip.joints)}
        if spec.container == "video":
            whole["rgb"] = mp4(clip.rgb)
        else:
            pictures["rgb"] = [jpeg(frame) for frame in clip.rgb]
        for kind, frames in pictures.items():
            suffix = "png" if kind == "depth" else "jpg"
            (beside / kind).mkdir(parents=True)
            for i, data in enumerate(frames, start=1):
                (beside / kind / f"{i:08d}.{suffix}").write_bytes(data)
        for kind, data in whole.items():
            (beside / kind).write_bytes(data)
        for kind, place in zip(("rgb", "depth", "joints"), _places(root, spec, video), strict=True):
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():  # incomplete, or it would not be filmed again
                shutil.rmtree(place)
            os.replace(beside / kind, place)
        beside.rmdir()
        yield
