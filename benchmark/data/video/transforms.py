"""Clip transforms: resize, clip-consistent crop and flip, and the conversion to network input."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

UInt8 = NDArray[np.uint8]

Norm = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel of pixels in [0, 1]."""


def resize_for(image_size: int) -> int:
    """Short side, in pixels, to resize to before cropping ``image_size``: 256 for 224, 96 for 84."""
    return round(image_size * 256 / 224)


def resized_size(height: int, width: int, short: int) -> tuple[int, int]:
    """(height, width) once the short side is ``short``; the long side is int(short * long / short side)."""
    if width < height:
        return int(short * height / width), short
    return short, int(short * width / height)


def resize(clip: UInt8, short: int) -> UInt8:
    """Resize a clip, uint8 (T, H, W, C), so that its short side is ``short`` pixels; the aspect is kept.

    Bilinear with the filter widened when shrinking, which is what PIL's BILINEAR does (the published reader's
    filter); equal to it within one grey level. A clip of that size already is returned as it is.
    """
    height, width = clip.shape[1:3]
    size = resized_size(height, width, short)
    if size == (height, width):
        return clip
    frames = torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2)
    small = interpolate(frames, size=size, mode="bilinear", align_corners=False, antialias=True)
    return np.ascontiguousarray(small.permute(0, 2, 3, 1).numpy())


def resize_depth(depth: NDArray[np.uint16], short: int) -> NDArray[np.uint16]:
    """Resize depth maps (T, H, W) as `resize` does clips, to the nearest reading: distances and holes never mix."""
    height, width = depth.shape[1:3]
    size = resized_size(height, width, short)
    if size == (height, width):
        return depth
    return np.stack([cv2.resize(frame, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) for frame in depth])


@dataclass(frozen=True)
class Crop:
    """One window for all frames and all modalities of a video: corner and side in pixels, mirrored or not."""

    top: int
    left: int
    size: int
    flip: bool = False


def centre_crop(height: int, width: int, size: int) -> Crop:
    """The middle window, offset round((side - size) / 2) as published; ValueError when it does not fit."""
    _check_fits(height, width, size)
    return Crop(round((height - size) / 2), round((width - size) / 2), size)


def random_crop(height: int, width: int, size: int, rng: np.random.Generator, *, flip: bool = True) -> Crop:
    """A uniformly drawn window, mirrored with probability 1/2 unless ``flip`` is off.

    Turn ``flip`` off where left and right make the class (Something-Something). The mirror is drawn either way,
    so that the switch leaves the windows as they were. ValueError when the window does not fit.
    """
    _check_fits(height, width, size)
    top, left = (int(rng.integers(0, side - size, endpoint=True)) for side in (height, width))
    mirrored = bool(rng.random() < 0.5)
    return Crop(top, left, size, mirrored and flip)


def apply_crop(
    clip: UInt8,
    crop: Crop,
    *,
    keep: NDArray[np.int64] | None = None,
    mirror_channels: tuple[int, ...] = (),
    mirror_swap: tuple[int, int] | None = None,
    out: UInt8 | None = None,
) -> UInt8:
    """Cut ``crop`` out of a clip, uint8 (T, H, W, C) -> (T, size, size, C), and mirror it if the crop says so.

    Only what is in the window is copied, to ``out`` if it is given. ``keep``, int64 (T',), chooses frames: then it is
    (T', size, size, C).
    ``mirror_channels`` and ``mirror_swap`` are the modality's mirror rule (see `mirror`).
    """
    window = clip[:, crop.top : crop.top + crop.size, crop.left : crop.left + crop.size]
    if keep is not None:
        window = window[keep]
    if crop.flip:
        return mirror(window, mirror_channels=mirror_channels, mirror_swap=mirror_swap, out=out)
    if out is None:
        return np.ascontiguousarray(window)
    np.copyto(out, window)
    return out


def mirror(
    clip: UInt8,
    *,
    mirror_channels: tuple[int, ...] = (),
    mirror_swap: tuple[int, int] | None = None,
    out: UInt8 | None = None,
) -> UInt8:
    """Flip a clip, uint8 (T, H, W, C), left to right, into ``out`` if it is given.

    ``mirror_channels`` hold a horizontal vector component around 128 and change sign: v -> 256 - v, so that 128
    (no motion) stays 128. ``mirror_swap`` names two channels that stand for the left and the right side of the
    body and change places.
    """
    flipped = np.empty(clip.shape, np.uint8) if out is None else out
    for frame, turned in zip(clip, flipped, strict=True):
        cv2.flip(frame, 1, turned)  # numpy copies backwards byte by byte and takes ten times as long
    for channel in mirror_channels:
        values = flipped[..., channel]
        flipped[..., channel] = np.where(values == 0, np.uint8(255), np.negative(values))  # 256 - v, modulo 256
    if mirror_swap is not None:
        first, second = mirror_swap
        flipped[..., [first, second]] = flipped[..., [second, first]]
    return flipped


def normalise(frames: torch.Tensor, norm: Norm | None) -> torch.Tensor:
    """Network input: uint8 (N, T, H, W, C) -> float32 (N*T, C, H, W), stored channels-last.

    Values are scaled to [0, 1]; ``norm`` then subtracts the mean and divides by the deviation, None leaves them, as the
    released Lite-MKD and TRX do. Raises ValueError for another dtype or number of axes, and for a norm of another
    number of channels.
    """
    if frames.dtype != torch.uint8 or frames.ndim != 5:
        raise ValueError(f"uint8 (N, T, H, W, C) needed, got {frames.dtype} {tuple(frames.shape)}")
    clips, length, height, width, channels = frames.shape
    # Whole rows with the channel constants repeated along them: the same sums, two to three times as fast.
    rows = frames.reshape(-1, width * channels)
    if norm is None:
        images = rows * torch.tensor(1 / 255, device=frames.device)
    else:
        if channels != len(norm[0]):
            raise ValueError(f"the normalisation is for {len(norm[0])} channels, the frames have {channels}")
        mean, std = (torch.tensor(values, device=frames.device).repeat(width) for values in norm)
        images = (rows * (1 / (255 * std))).sub_(mean / std)
    return images.view(clips * length, height, width, channels).permute(0, 3, 1, 2)


def _check_fits(height: int, width: int, size: int) -> None:
    if size > min(height, width):
        raise ValueError(f"a crop of {size} px does not fit frames of {height} x {width}: lower image_size")
