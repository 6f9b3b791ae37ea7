"""Samples batches of skeleton clips: crop and resize in time, rotation, origin and scale, by data set."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.teachers import TeacherError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SamplingConfig:
    """How a clip becomes ``frames`` frames of a network's input.

    ``times`` "crop": a window of the clip, its share drawn from ``crop`` and its place drawn too, but no shorter than
    ``min_frames`` (or the clip), in training; the middle ``test_crop`` of the clip otherwise; resized bilinearly.
    ``times`` "draw": frames drawn with replacement and sorted in training, from a window of the clip whose share is
    drawn from ``window``, as if no more had been recorded; evenly spaced ones of the whole clip otherwise.
    ``rotation``: bounds, in radians, of the angles about x, y and z drawn for each clip in training.
    ``place`` "origin": the origin joint of the first frame is moved to 0; "box": moreover each axis is scaled so that
    the whole (rotated) clip or window just fills [-1, 1]; "keep": coordinates stay. Bodies that are absent stay zeros.
    ``mirror``: half of the clips, drawn in training, are seen in a mirror: left and right change places, x its sign.
    """

    frames: int = 64
    times: Literal["crop", "draw"] = "crop"
    crop: tuple[float, float] = (0.5, 1.0)
    test_crop: float = 0.95
    min_frames: int = 64
    rotation: tuple[float, float, float] = (0.3, 0.3, 0.3)
    place: Literal["keep", "origin", "box"] = "origin"
    mirror: bool = False
    window: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        shares = all(0 < low <= high <= 1 for low, high in (self.crop, self.window)) and 0 < self.test_crop <= 1
        if self.frames < 1 or self.min_frames < 1 or not shares:
            raise DataError(f"{self}: frames must be positive, crops and windows within (0, 1]")


VIEW = float(np.deg2rad(60))
SAMPLING = {
    # Chen et al., ICCV 2021 (CTR-GCN): crop and resize for NTU RGB+D; for NW-UCLA turned views, boxes, drawn frames.
    "ntu": SamplingConfig(),
    "nw_ucla": SamplingConfig(frames=52, times="draw", rotation=(VIEW, VIEW, 0.0), place="box"),
    # No recipe is published with these clips of 9 to 196 frames: NTU's, with windows of 16 frames and more.
    "msr_action3d": SamplingConfig(min_frames=16),
    # Yan et al., AAAI 2018, read the coordinates as they are; turning parts of a picture out of it makes no sense.
    "kinetics": SamplingConfig(rotation=(0.0, 0.0, 0.3), place="keep"),
    "npy": SamplingConfig(),
}


class ClipSampler:
    """Batches of a data set by a sampling configuration, by default its layout's; all frames are kept on ``device``.

    DataError for a layout without a recipe of its own when none is given, and where a recipe mirrors joints whose sides
    do not answer to each other.
    """

    def __init__(
        self, data: SkeletonSet, recipe: SamplingConfig | None = None, device: torch.device | str = "cpu"
    ) -> None:
        if recipe is None and data.layout not in SAMPLING:
            raise DataError(f"no recipe for the layout {data.layout!r}: give one")
        self.recipe = recipe or SAMPLING[data.layout]
        self._offsets, self._lengths = data.offsets[:-1], data.lengths
        self._bodies = data.frames.shape[1:]
        self._mirrored: list[int] = []
        if self.recipe.mirror:
            try:
                self._mirrored = list(data.skeleton.mirrored)
            except TeacherError as error:
                raise DataError(str(error)) from None
        frames = data.frames if self.recipe.place == "keep" else _at_origin(data)
        self._frames = torch.from_numpy(frames).to(device).flatten(2)  # (all frames, 3, V * M)

    def batch(self, places: Ints, rng: np.random.Generator | None = None) -> Tensor:
        """The clips at ``places``, int (N,), as float32 (N, 3, frames, V, M), contiguous; drawn from ``rng`` in
        training, fixed without one. Equal places and generator states give equal batches.
        """
        count, recipe = len(places), self.recipe
        starts, lengths = self._offsets[places], self._lengths[places]
        if recipe.times == "crop":
            low, share = crop_times(lengths, recipe, rng)
            clips = torch.lerp(
                self._gather(starts[:, None] + np.floor(low).astype(np.int64)),
                self._gather(starts[:, None] + np.ceil(low).astype(np.int64)),
                self._there(share)[:, None, :, None],
            )
        else:
            if rng is not None and recipe.window != (1, 1):
                first, lengths = windows(lengths, recipe.window, rng)
                starts = starts + first
            clips = self._gather(starts[:, None] + drawn_times(lengths, recipe.frames, rng))
        turn = None
        if rng is not None and any(recipe.rotation):
            turn = self._there(rotations(rng.uniform(-1, 1, (count, 3)) * recipe.rotation))
        clips = _turned(clips, turn)
        if recipe.place == "box":
            whole = starts[:, None] + np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)
            clips = self._boxed(clips, _turned(self._gather(whole), turn))
        clips = clips.reshape(count, 3, recipe.frames, *self._bodies[1:])
        if self._mirrored and rng is not None:
            chosen = torch.from_numpy(np.flatnonzero(rng.random(count) < 0.5)).to(clips.device)
            seen = clips[chosen][:, :, :, self._mirrored]
            seen[:, 0].neg_()
            clips[chosen] = seen
        return clips

    def _gather(self, rows: Ints) -> Tensor:
        """Frames (N, T) of the set as (N, 3, T, V * M)."""
        picked = self._frames.index_select(0, torch.from_numpy(rows.reshape(-1)).to(self._frames.device))
        return picked.view(*rows.shape, *self._frames.shape[1:]).transpose(1, 2).contiguous()

    def _there(self, values: Floats) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._frames.device)

    def _boxed(self, clips: Tensor, whole: Tensor) -> Tensor:
        """``clips`` (N, 3, T, V * M) scaled by each axis' extent over the whole clip, people only."""
        seen = self._seen(whole)
        low = torch.where(seen, whole, torch.inf).amin((2, 3), keepdim=True)
        high = torch.where(seen, whole, -torch.inf).amax((2, 3), keepdim=True)
        size = torch.where(high > low, high - low, 1)  # an axis without extent ends at -1
        return torch.where(self._seen(clips), (clips - low) / size * 2 - 1, 0)

    def _seen(self, clips: Tensor) -> Tensor:
        """Whether the body each value belongs to is there, bool (N, 1, T, V * M)."""
        bodies = clips.unflatten(3, self._bodies[1:])
        there = (bodies != 0).any(dim=3, keepdim=True).any(dim=1, keepdim=True)
        return there.expand(-1, -1, -1, self._bodies[1], -1).flatten(3)


def windows(lengths: Ints, bounds: tuple[float, float], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """First frames and lengths (N,) of a window of each clip: a share of its length drawn within ``bounds``, rounded
    up, at a place drawn too.
    """
    share, place = rng.random((2, len(lengths)))
    low, high = bounds
    long = np.ceil((low + (high - low) * share) * lengths).astype(np.int64)
    return np.floor(place * (lengths - long + 1)).astype(np.int64), long


def crop_times(lengths: Ints, recipe: SamplingConfig, rng: np.random.Generator | None) -> tuple[Floats, Floats]:
    """Places in time (N, frames) of the resized windows, in frames of each clip, and their share of the later frame.

    Bilinear with pixel centres at halves, ends held, as `torch.nn.functional.interpolate` without aligned corners.
    """
    if rng is None:
        first = ((1 - recipe.test_crop) * lengths / 2).astype(np.int64)
        window = lengths - 2 * first
    else:
        low, high = recipe.crop
        share, start = rng.random((2, len(lengths)))
        window = np.floor((low + (high - low) * share) * lengths).astype(np.int64)
        window = np.minimum(np.maximum(window, recipe.min_frames), lengths)
        first = np.floor(start * (lengths - window + 1)).astype(np.int64)
    steps = (np.arange(recipe.frames) + 0.5) / recipe.frames
    inside = np.clip(steps * window[:, None] - 0.5, 0, window[:, None] - 1)
    times = first[:, None] + inside
    return times, times - np.floor(times)


def drawn_times(lengths: Ints, frames: int, rng: np.random.Generator | None) -> Ints:
    """Frame numbers (N, frames), ascending: drawn with replacement, or without ``rng`` evenly from first to last."""
    if rng is None:
        return np.floor(np.linspace(0, lengths - 1, frames, axis=1)).astype(np.int64)
    drawn = np.floor(rng.random((len(lengths), frames)) * lengths[:, None]).astype(np.int64)
    return np.sort(drawn, axis=1)


def rotations(angles: Floats) -> Floats:
    """Rotation matrices (N, 3, 3) of angles (N, 3) in radians: about x, then y, then z, right-handed."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    rows = [
        [cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz],
        [cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz],
        [-sy, sx * cy, cx * cy],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def _turned(clips: Tensor, turn: Tensor | None) -> Tensor:
    """``clips`` (N, 3, T, W) with each clip's points multiplied by its matrix of ``turn`` (N, 3, 3)."""
    return clips if turn is None else torch.bmm(turn, clips.flatten(2)).view(clips.shape)


def _at_origin(data: SkeletonSet) -> NDArray[np.float32]:
    """All frames, each clip moved so that the first body's origin joint is at 0 in the first frame that shows it."""
    there = (data.frames != 0).any(axis=(1, 2))  # (all frames, M)
    rows = np.where(there[:, 0], np.arange(len(there)), len(there))
    first = np.minimum.reduceat(rows, data.offsets[:-1])
    origins = data.frames[np.minimum(first, len(there) - 1), :, data.origin, 0]
    origins[first == len(there)] = 0  # a clip that never shows its first body
    clip_of = np.repeat(np.arange(len(data)), data.lengths)
    return (data.frames - origins[clip_of, :, None, None]) * there[:, None, None, :]
