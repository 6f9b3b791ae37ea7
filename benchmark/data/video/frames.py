"""Samples frame numbers and decodes videos and frame folders."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import av
import av.error
import av.video.stream
import cv2
import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import FileError
from fewdistill.benchmark.runtime.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
TRUNCATED_BELOW = 0.9  # share of the length that a container declares, up to which its last frame must be shown
_NUMBERED = re.compile(r"(.*?)(\d+)(\.[^.]+)")
_OF_FRAMES = re.compile(r"(img|image|frame|rgb)?[ _-]?", re.IGNORECASE)
"""The name of a series of frames, before their numbers; flow_x_ and the like are others'."""

UInt8 = NDArray[np.uint8]


def sample_indices(
    n: int, frames: int = 8, *, train: bool = False, rng: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """Frame numbers (int64, ``frames`` of them, ascending, in 0..n-1) that stand for a video of ``n`` frames.

    The sampling of TRX (Perrett et al. 2021), which Lite-MKD keeps, for any clip length: evenly spaced over the
    video less its first and last frame; in training the ends are drawn from up to five frames at either side.
    A video of exactly ``frames`` frames is taken whole. Raises DataError when n < frames, ValueError when
    ``train`` comes without ``rng``.
    """
    if n < frames:
        raise DataError(f"{n} frames found, {frames} needed")
    if n == frames:
        return np.arange(n, dtype=np.int64)
    if not train:
        return _spread(n, frames, 1, n - 2)
    if rng is None:
        raise ValueError("sample_indices(train=True) needs a generator")
    pad = _slack(n, frames)
    if pad < 1:
        return _spread(n, frames, 0, n - 1)
    start = int(rng.integers(0, pad, endpoint=True))
    end = int(rng.integers(n - 1 - pad, n - 1, endpoint=True))
    return _spread(n, frames, start, end)


@lru_cache(maxsize=4096)
def drawable_indices(n: int, frames: int) -> NDArray[np.int64]:
    """Every frame number (int64, ascending, read-only) that `sample_indices` can give, in training or not.

    At most about 6 * frames of them, however long the video. Raises DataError when n < frames.
    """
    pad = _slack(n, frames)
    drawn = [sample_indices(n, frames)]
    if n > frames:
        drawn += [_spread(n, frames, start, end) for start in range(pad + 1) for end in range(n - 1 - pad, n)]
    found = np.unique(np.concatenate(drawn))
    found.flags.writeable = False  # shared by all callers
    return found


def _slack(n: int, frames: int) -> int:
    """By how many frames the ends of the sampled stretch may move inwards in training."""
    return int(min(5, (n - frames) / 2))


def _spread(n: int, frames: int, start: int, end: int) -> NDArray[np.int64]:
    if end - start < frames:
        start, end = 0, n - 1
    return np.floor(np.linspace(start, end, frames)).astype(np.int64)


def frame_count(path: Path | str) -> int:
    """Number of frames a video file decodes to; every frame is decoded, none is kept.

    Headers are not believed: packed B-frames and edit lists make them differ from what comes out. Raises
    DataError, naming the file, when it cannot be decoded, holds no frame, ends well before the length its container
    declares, or has a damaged frame.
    """
    damaged = [frame.is_corrupt for frame in _decoded(Path(path), whole=True)]
    if any(damaged):  # said only of a file that is whole: a truncated one is called that
        raise FileError(Path(path), f"frame {damaged.index(True)} is damaged")
    return len(damaged)


def decode(path: Path | str, indices: Sequence[int] | NDArray[np.int64] | None = None) -> UInt8:
    """Frames of a video file, uint8 RGB (T, H, W, 3), upright; T = len(indices), or all frames.

    ``indices`` may repeat and come in any order; only these frames are converted and kept in memory, and decoding
    stops after the last. Raises DataError, naming the file, when it cannot be decoded, a wanted frame is damaged
    or lies beyond the end, or the picture changes size.
    """
    path = Path(path)
    wanted = None if indices is None else {int(index) for index in indices}
    last = None if wanted is None else max(wanted, default=-1)
    kept: dict[int, UInt8] = {}
    count = 0
    for number, frame in enumerate(_decoded(path, whole=last is None)):
        count = number + 1
        if wanted is None or number in wanted:
            if frame.is_corrupt:
                raise FileError(path, f"frame {number} is damaged")
            turns = round(frame.rotation / 90)
            kept[number] = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
        if last is not None and number >= last:
            break
    order = list(range(count)) if indices is None else [int(index) for index in indices]
    beyond = [index for index in order if index not in kept]
    if beyond:
        raise FileError(path, f"truncated: frame {beyond[0]} asked for, {count} frames decoded")
    return _stack([kept[index] for index in order], path)


def list_frames(folder: Path | str) -> list[Path]:
    """The jpg and png files of a frame folder in frame order; raises DataError when there is no such folder.

    Numbers need not be padded: shorter names come first. Images without a number, and hidden files, are no frames.
    Of several numbered series the one named img, image, frame, rgb or by its numbers alone is read; DataError names
    them where that is not one.
    """
    return [Path(folder, name) for name in frame_names(folder)]


def frame_names(folder: Path | str) -> list[str]:
    """The file names of `list_frames`."""
    series: dict[tuple[str, str], list[str]] = {}
    images = []
    try:
        for entry in os.scandir(folder):
            if entry.name.lower().endswith(IMAGE_SUFFIXES) and not entry.name.startswith("."):
                images.append(entry.name)
                if numbered := _NUMBERED.fullmatch(entry.name):
                    series.setdefault((numbered[1], numbered[3].lower()), []).append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        raise FileError(folder, "no such frame folder") from None
    except OSError as error:
        raise FileError(folder, f"cannot be read ({error.strerror})", "check its permissions") from None
    if images and not series:
        raise FileError(folder, f"no image has a number ({min(images)}, ...)", "call frames 00001.jpg, 00002.jpg, ...")
    if len(series) > 1:
        series = {key: names for key, names in series.items() if _OF_FRAMES.fullmatch(key[0])} or series
    if len(series) > 1:
        listed = ", ".join(f"{prefix}*{suffix} ({len(names)})" for (prefix, suffix), names in sorted(series.items()))
        raise FileError(folder, f"holds {len(series)} series of images: {listed}", "keep the frames, and nothing else")
    return sorted((name for names in series.values() for name in names), key=lambda name: (len(name), name))


def read_frames(folder: Path | str, indices: Sequence[int] | NDArray[np.int64] | None = None) -> UInt8:
    """Frames of a folder of images, uint8 RGB (T, H, W, 3); T = len(indices), or all frames.

    Raises DataError, naming the file, for an empty, truncated, undecodable or 16-bit image, and for images of
    different sizes.
    """
    return _stack([read_image(path) for path in _chosen(folder, indices)], Path(folder))


def read_depth_frames(
    folder: Path | str, indices: Sequence[int] | NDArray[np.int64] | None = None
) -> NDArray[np.uint16]:
    """Depth of a folder of 16-bit grey PNGs, uint16 millimetres (T, H, W), 0 where the sensor saw nothing.

    Raises DataError, naming the file, for an empty, truncated or undecodable image or one that is not 16-bit grey.
    """
    return _stack([read_depth_image(path) for path in _chosen(folder, indices)], Path(folder))


def read_image(path: Path) -> UInt8:
    """One 8-bit image, uint8 RGB (H, W, 3); grey ones are repeated. Errors as `read_frames`."""
    image = _decode_image(path, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR_RGB)
    if image.dtype != np.uint8:
        raise FileError(path, f"an 8-bit image is needed, this is {image.dtype}", "write it as 8 bits a channel")
    return image.astype(np.uint8, copy=False)


def read_depth_image(path: Path) -> NDArray[np.uint16]:
    """One depth map, uint16 millimetres (H, W). Errors as `read_depth_frames`."""
    image = _decode_image(path, cv2.IMREAD_UNCHANGED)
    if image.dtype != np.uint16 or image.ndim != 2:
        found = f"{image.dtype} with {image.ndim} axes"
        raise FileError(path, f"depth must be 16-bit grey PNG in millimetres, this is {found}")
    return image.astype(np.uint16, copy=False)


def _decoded(path: Path, *, whole: bool) -> Iterator[av.VideoFrame]:
    """Frames as they come out of the decoder; with ``whole``, also checks the length the container declares."""
    decoded = 0
    shown: list[float] = []  # seconds from the start of each packet
    end = 0.0
    try:
        if path.stat().st_size == 0:
            raise FileError(path, "empty file (0 bytes)")
        with av.open(f"file:{path}") as container:  # else a colon in the path is taken for that of a protocol
            if not container.streams.video:
                raise FileError(path, "holds no video stream")
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                at = packet.dts if packet.pts is None else packet.pts  # AVI tells the order of decoding alone
                if packet.size and at is not None and packet.time_base:
                    shown.append(float(at * packet.time_base))
                    end = max(end, shown[-1] + float((packet.duration or 0) * packet.time_base))
                for frame in packet.decode():
                    decoded += 1
                    yield frame
            declared = _declared_end(stream)
    except FileNotFoundError:
        raise FileError(path, "no such video file") from None
    except av.error.FFmpegError as error:
        raise FileError(path, f"cannot be decoded after {decoded} frames ({error.strerror or error})") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise FileError(path, f"cannot be decoded after {decoded} frames ({error})") from None
    if not decoded:
        raise FileError(path, "holds no decodable frame")
    shown.sort()
    gap = max((after - before for before, after in pairwise(shown)), default=0.0)  # the last frame may stay as long
    if whole and shown and end + gap < TRUNCATED_BELOW * declared:
        raise FileError(path, f"truncated: ends after {end:.1f} of {declared:.1f} s, with {decoded} frames")


def _declared_end(stream: av.video.stream.VideoStream) -> float:
    """Seconds at which a stream says that it ends: by its header, or the DURATION tag of Matroska; 0 if it does not.

    A number of frames counts for AVI, whose duration shrinks with the file; in an mp4 an edit list may hide some.
    """
    ends = [0.0]
    if stream.duration and stream.time_base:
        ends.append(float((stream.duration + (stream.start_time or 0)) * stream.time_base))
    if stream.container.format.name == "avi" and stream.frames and stream.average_rate:
        ends.append(float(stream.frames / stream.average_rate))
    with suppress(ValueError):
        hours, minutes, seconds = (float(part) for part in stream.metadata.get("DURATION", "").split(":"))
        ends.append(hours * 3600 + minutes * 60 + seconds)
    return max(ends)


def _chosen(folder: Path | str, indices: Sequence[int] | NDArray[np.int64] | None) -> list[Path]:
    paths = list_frames(folder)
    if indices is None:
        return paths
    wanted = [int(index) for index in indices]
    if wanted and max(wanted) >= len(paths):
        raise FileError(folder, f"frame {max(wanted)} asked for, {len(paths)} frames found")
    return [paths[index] for index in wanted]


def _decode_image(path: Path, flags: int) -> NDArray[np.generic]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileError(path, "no such frame") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from None
    if not data:
        raise FileError(path, "empty file (0 bytes)")
    # OpenCV fills what is missing of a cut-off image with grey and says nothing, so look for the end marker.
    complete = data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") if data[:2] == b"\xff\xd8" else True
    if data[:4] == b"\x89PNG":
        complete = b"IEND" in data[-64:]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if complete else None
    if image is None:
        raise FileError(path, "cannot be decoded" if complete else "truncated image")
    return image


def _stack(images: list, path: Path) -> NDArray:
    if not images:
        raise FileError(path, "no frames", "add them or drop the video from the split lists")
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise FileError(path, f"frames of different sizes {sorted(sizes)}", "write all frames of a video alike")
    return np.stack(images)
