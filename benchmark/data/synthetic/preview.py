"""The contact sheet: what a data set looks like in every modality it carries."""

import os
import tempfile
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.data.video.splits import SPLITS
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.teachers.modalities.flow import Flow
from fewdistill.teachers.modalities.skeleton import SkeletonImage

UInt8 = NDArray[np.uint8]

_FRAMES = 8
_SIDE = 144  # pixels of a picture on the sheet
_INK, _FAINT = "#1b1f24", "#6b7280"
_SPLIT_COLOURS = {"train": "#2563eb", "val": "#b45309", "test": "#047857"}


def preview(root: Path | str, out_png: Path | str, *, classes: int = 6, seed: int = 0) -> None:
    """Draws one video each of ``classes`` classes (spread over the splits, chosen by ``seed``) to ``out_png``.

    A video has a row of eight frames (fewer if a video is shorter) for each of RGB, depth (near warm, far cold, black =
    no reading), drawn skeleton and flow (hue = direction, brightness = speed, of the RGB frames at the size shown);
    what the data set does not carry is left out. Works for any data set that VideoFolder reads. Raises DataError for
    missing or corrupt files.
    """
    if classes < 1:
        raise UserError(f"preview: classes = {classes}; at least one is needed")
    folder = VideoFolder(root)
    chosen, carried = _choose(folder, classes, seed), folder.modalities()
    frames = min([_FRAMES, *(folder.frame_count(video) for video in chosen if "rgb" in carried)])
    folder = VideoFolder(root, frames=frames, image_size=_SIDE, resize=_SIDE)
    names = [name for name in ("rgb", "depth", "skeleton", "flow") if _source(name) in carried]
    sheets = [(video, [_strip(folder, video, name) for name in names]) for video in chosen]
    _draw(sheets, names, folder, Path(out_png))


def _source(name: str) -> str:
    return {"skeleton": "joints", "flow": "rgb"}.get(name, name)


def _choose(folder: VideoFolder, classes: int, seed: int) -> list[str]:
    """A random video of each of so many random classes, the splits in turn, then in the order of the splits."""
    rng = generator(seed, "preview")
    of_split = {split: list(rng.permutation(list(folder.classes(split)))) for split in SPLITS}
    taken: dict[str, list[str]] = {split: [] for split in SPLITS}
    while sum(map(len, taken.values())) < classes and any(of_split.values()):
        split = min((s for s in SPLITS if of_split[s]), key=lambda s: len(taken[s]))
        name = of_split[split].pop()
        taken[split].append(folder.videos(split)[int(rng.choice(folder.by_class(split)[name]))])
    return [video for split in SPLITS for video in taken[split]]


def _strip(folder: VideoFolder, video: str, name: str) -> UInt8:
    """The frames of one modality side by side: uint8 (side, width, 3)."""
    if name == "rgb":
        clip = folder.clip(video)
    elif name == "depth":
        clip = _coloured_depth(folder.source(video, "depth"))  # type: ignore[arg-type]
    elif name == "skeleton":
        clip = SkeletonImage(normalise_box=False).derive(folder.source(video, "joints"))  # type: ignore[arg-type]
    else:
        clip = _coloured_flow(folder.clip(video))
    height, width = clip.shape[1:3]
    top, left = (height - _SIDE) // 2, (width - _SIDE) // 2
    clip = clip[:, top : top + _SIDE, left : left + _SIDE]
    gap = np.full((_SIDE, 3, 3), 255, np.uint8)
    return np.concatenate([part for frame in clip for part in (frame, gap)][:-1], axis=1)


def _coloured_depth(depth: NDArray[np.uint16]) -> UInt8:
    """Depth (T, H, W) in millimetres -> colours (T, H, W, 3), scaled to the clip's own range of readings."""
    read = depth > 0
    low, high = np.percentile(depth[read], [1, 99]) if read.any() else (0.0, 1.0)
    near = 1 - ((depth - low) / max(high - low, 1.0)).clip(0, 1)
    colours = matplotlib.colormaps["turbo"](0.06 + 0.88 * near)[..., :3]
    return np.rint(255 * colours * read[..., None]).astype(np.uint8)


def _coloured_flow(clip: UInt8) -> UInt8:
    """Frames (T, H, W, 3) -> flow to the next frame as hue and brightness, the last one repeated."""
    field = Flow().field(clip)
    speed = np.hypot(field[..., 0], field[..., 1])
    hsv = np.full((*speed.shape, 3), 255, np.uint8)
    hsv[..., 0] = np.rint(np.degrees(np.arctan2(field[..., 1], field[..., 0])) % 360 / 2) % 180
    hsv[..., 2] = np.rint(255 * (speed / max(float(np.percentile(speed, 99)), 1e-3)).clip(0, 1))
    colours = [cv2.cvtColor(frame, cv2.COLOR_HSV2RGB) for frame in hsv]
    return np.stack([*colours, colours[-1]]).astype(np.uint8)


def _draw(sheets: list[tuple[str, list[UInt8]]], names: list[str], folder: VideoFolder, out: Path) -> None:
    columns = 2 if len(sheets) > 3 else 1
    lines = -(-len(sheets) // columns)
    width = folder.frames * (_SIDE + 3)
    inch = width / 100
    strip = inch * _SIDE / width
    block, left, top = len(names) * (strip + 0.04) + 0.52, 0.72, 0.55
    size = (columns * (inch + left) + 0.25, lines * block + top)
    figure = Figure(figsize=size, dpi=100, facecolor="white")
    figure.text(0.25 / size[0], 1 - 0.30 / size[1], folder.root.name, size=15, weight="bold", color=_INK, va="center")
    for place, (video, strips) in enumerate(sheets):
        column, line = place % columns, place // columns
        x, y = column * (inch + left) + left, size[1] - top - line * block
        split = folder.split_of(video)
        figure.text(x / size[0], (y - 0.16) / size[1], video, size=11, weight="bold", color=_INK, va="center")
        at, colour = ((x + inch) / size[0], (y - 0.16) / size[1]), _SPLIT_COLOURS[split]
        figure.text(*at, split, size=11, color=colour, ha="right", va="center")
        for row, (name, pixels) in enumerate(zip(names, strips, strict=True)):
            bottom = y - 0.32 - (row + 1) * strip - row * 0.04
            axes = figure.add_axes((x / size[0], bottom / size[1], inch / size[0], strip / size[1]))
            axes.imshow(pixels, interpolation="nearest", aspect="auto")
            axes.set_axis_off()
            label = {"rgb": "RGB"}.get(name, name)
            at = ((x - 0.08) / size[0], (bottom + strip / 2) / size[1])
            figure.text(*at, label, size=9, color=_FAINT, ha="right", va="center")
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.", suffix=".png")
    with os.fdopen(handle, "wb") as file:
        figure.savefig(file, format="png")
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, out)
