"""Skeleton images: limbs in colour, or joint heat maps."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities.base import EXPERTS, Expert
from fewdistill.teachers.modalities.topology import Limb, PosedClip, Skeleton

STYLES = ("limbs", "heatmap")
MARGIN = 0.1  # of the drawing's side, kept free around the person so that a centre crop cuts nothing off
SHIFT = 4  # fractional bits of OpenCV's sub-pixel drawing
FAR = 1e6  # px; a place beyond is outside any picture and would overflow OpenCV's integers
Places = NDArray[np.float64]


@EXPERTS.register("skeleton")
@dataclass(frozen=True)
class SkeletonImage(Expert):
    """3-D joints seen through the data set's camera, drawn for an image network.

    Left limbs live in channel 0, right limbs in channel 2, the trunk in all with 1 the strongest; so the two
    sides differ in colour, and a flip of the picture swaps channels 0 and 2. ``style`` "limbs" draws each limb
    as a line whose colour runs along a ramp from root to tip, over soft spots at the joints, far limbs first;
    "heatmap" draws the spots alone, as PoseConv3D's joint maps (Duan et al. 2022) summed up by side.
    ``normalise_box`` moves and scales the picture so that the box of all people over the whole clip fills it:
    where a person stands is lost, how they move is kept.
    """

    style: str = "limbs"
    normalise_box: bool = True

    name = "skeleton"
    version = 1
    requires = "joints"
    mirror_swap = (0, 2)

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise TeacherError(f"skeleton style {self.style!r}: choose one of {', '.join(STYLES)}")

    def derive(self, source: PosedClip) -> NDArray[np.uint8]:
        """PosedClip -> uint8 (T, H, W, 3) on black; H x W is the camera's picture, or with ``normalise_box`` a
        square of its short side. TeacherError when no joint of the clip is in front of the camera.
        """
        skeleton, camera = source.skeleton, source.skeleton.needed_camera()
        points = np.moveaxis(source.joints, 3, 1)  # (T, M, V, 3)
        places = camera.project(points)
        if not np.isfinite(places).any():
            raise TeacherError("expert 'skeleton': no joint of the clip is in front of the camera (z > 0)")
        height, width = camera.height, camera.width
        extent = _extent(places)
        if self.normalise_box:
            height = width = min(height, width)
            places, extent = _fill_picture(places, width)
        spots = _spots(places, skeleton, height, width, sigma=max(0.022 * extent, 0.6))
        if self.style == "heatmap":
            return spots
        clip = (spots * 0.45).astype(np.uint8)
        thickness = max(1, round(0.035 * extent))
        for canvas, people, depths in zip(clip, places, points[..., 2], strict=True):
            _draw_limbs(canvas, people, depths, skeleton, thickness)
        return clip


def _extent(places: Places) -> float:
    """Longer side of the box around all visible joints, in pixels."""
    seen = places[np.isfinite(places).all(axis=-1)]
    return float(np.ptp(seen, axis=0).max())


def _fill_picture(places: Places, side: int) -> tuple[Places, float]:
    """Places scaled alike in both directions so that the clip's box is centred in ``side`` px, and its extent."""
    seen = places[np.isfinite(places).all(axis=-1)]
    low, high = seen.min(axis=0), seen.max(axis=0)
    target = side * (1 - 2 * MARGIN)
    scale = target / max(float((high - low).max()), 1e-6)
    return (places - (low + high) / 2) * scale + (side - 1) / 2, target


def _spots(places: Places, skeleton: Skeleton, height: int, width: int, sigma: float) -> NDArray[np.uint8]:
    """uint8 (T, H, W, 3): Gaussian spots of ``sigma`` px; channels are left, trunk and right joints."""
    frames, people, joints, _ = places.shape
    flat = np.nan_to_num(places, nan=-FAR)  # far outside: no spot
    across = np.exp(-((np.arange(width) - flat[..., 0, None]) ** 2) / (2 * sigma**2)).astype(np.float32)
    down = np.exp(-((np.arange(height) - flat[..., 1, None]) ** 2) / (2 * sigma**2)).astype(np.float32)
    sides = np.array([skeleton.side(joint) for joint in range(joints)])
    clip = np.zeros((frames, height, width, 3), np.float32)
    for person in range(people):
        for joint in range(joints):
            spot = down[:, person, joint, :, None] * across[:, person, joint, None, :]
            channel = clip[..., int(sides[joint]) + 1]
            np.maximum(channel, spot, out=channel)
    return np.rint(255 * clip).astype(np.uint8)


def _draw_limbs(
    canvas: NDArray[np.uint8], people: Places, depths: NDArray[np.floating], skeleton: Skeleton, thickness: int
) -> None:
    """Draw one frame's limbs, far ones first; ``people`` is (M, V, 2) px, ``depths`` (M, V) metres."""
    strokes = [
        (float(depths[person, parent] + depths[person, child]), person, parent, child, _colour(limb, position))
        for person in range(people.shape[0])
        for limb in skeleton.limbs
        for parent, child, position in limb.edges
        if np.isfinite(people[person, [parent, child]]).all()
    ]
    for _, person, parent, child, colour in sorted(strokes, key=lambda stroke: -stroke[0]):
        ends = np.rint(np.clip(people[person, [parent, child]], -FAR, FAR) * 2**SHIFT).astype(int).tolist()
        cv2.line(canvas, ends[0], ends[1], colour, thickness, cv2.LINE_AA, SHIFT)


def _colour(limb: Limb, position: float) -> tuple[int, int, int]:
    """RGB of an edge: the side decides red or blue, the limb the green part, the way to the tip the brightness."""
    ramp = round(120 + 135 * position)
    if limb.side == 0:
        return ramp // 2, ramp, ramp // 2
    green = round(0.65 * ramp * limb.rank)
    return (ramp, green, 0) if limb.side < 0 else (0, green, ramp)
