"""Small data sets written as real files, for the tests of the reader and the check."""

from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

SKELETON = """
joints = ["pelvis", "head", "left_hand", "right_hand"]
edges = [[0, 1], [0, 2], [0, 3]]
centre = 0
left = [2]
right = [3]

[camera]
fx = 60.0
fy = 60.0
cx = 19.5
cy = 15.5
width = 40
height = 32
"""


def picture(seed: int, frame: int, height: int = 32, width: int = 40) -> NDArray[np.uint8]:
    """A smooth coloured picture, uint8 (height, width, 3), that tells which video and frame it is."""
    y, x = np.mgrid[:height, :width]
    planes = [120 + 60 * np.sin(0.2 * x + seed), 30 + 12 * frame + 0 * x, 120 + 60 * np.cos(0.15 * y + seed)]
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


def write_image(path: Path, rgb: NDArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 else rgb)


def write_video(path: Path, frames: Sequence[NDArray[np.uint8]], codec: str = "mpeg4", **options: str) -> None:
    """Encode RGB frames at 10 a second and good quality; the container follows the file name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_lists(root: Path, lists: dict[str, list[str]], number: int = 3) -> None:
    (root / "splits").mkdir(parents=True, exist_ok=True)
    for split, videos in lists.items():
        (root / "splits" / f"{split}list{number:02d}.txt").write_text("".join(f"{video}\n" for video in videos))


def small_lists(classes: int = 2, videos: int = 3) -> dict[str, list[str]]:
    """`classes` classes a split, one of them with a space in its name, `videos` videos each."""
    return {
        split: [f"{split} act{c}/v_{split}_{c}_{v}" for c in range(classes) for v in range(videos)]
        for split in ("train", "val", "test")
    }


def write_data_set(root: Path, *, frames: int = 9, classes: int = 2, videos: int = 3, poses: bool = True) -> dict:
    """A whole data set in the frame layout, with depth and joints; returns its lists."""
    lists = small_lists(classes, videos)
    write_lists(root, lists)
    rng = np.random.default_rng(0)
    for seed, video in enumerate(video for split in lists.values() for video in split):
        for frame in range(frames):
            write_image(root / "l8" / "rgb_l8" / video / f"{frame + 1:08d}.jpg", picture(seed, frame))
            if poses:
                depth = np.full((32, 40), 1000 + 10 * seed + frame, np.uint16)
                write_image(root / "l8" / "depth_l8" / video / f"{frame + 1:08d}.png", depth)
        if poses:
            path = root / "joints" / f"{video}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            joints = rng.normal(0, 0.3, (frames, 4, 3, 1)).astype(np.float32) + np.float32([0, 0, 3]).reshape(3, 1)
            np.save(path, joints.astype(np.float32))
    if poses:
        (root / "joints" / "skeleton.toml").write_text(SKELETON)
    return lists
