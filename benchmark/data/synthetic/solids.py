"""Rounded solids (limbs, balls, posts) on a z-buffer: OpenCV fills their outlines, numpy finds their surfaces."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.synthetic.camera import project

Floats = NDArray[np.float64]

_CAP = np.linspace(0.0, np.pi, 7)
_SHIFT = 4  # fractional bits of OpenCV's polygon corners
FAR = 1e6


@dataclass(frozen=True, eq=False)
class Solids:
    """N tapered, round-ended bars over T frames, in the camera frame and metres.

    start, end: (T, N, 3), the ends of the axis. radius: (T, N, 2), half the visible width at start and end.
    depth: (T, N), half the thickness along the line of sight. cap: (N, 2), how far the rounded ends reach past the
    axis at start and end; a cap equal to the radius makes a half ball.
    """

    start: Floats
    end: Floats
    radius: Floats
    depth: Floats
    cap: Floats

    def __len__(self) -> int:
        return self.start.shape[1]


def join(*parts: Solids) -> Solids:
    """All solids of several groups over the same frames."""
    return Solids(
        start=np.concatenate([part.start for part in parts], axis=1),
        end=np.concatenate([part.end for part in parts], axis=1),
        radius=np.concatenate([part.radius for part in parts], axis=1),
        depth=np.concatenate([part.depth for part in parts], axis=1),
        cap=np.concatenate([part.cap for part in parts]),
    )


@dataclass(frozen=True, eq=False)
class Surface:
    """What each pixel shows: arrays (T, S, S).

    owner: int16, the solid's index, -1 for none. z: float32 metres, FAR for none. along, across: float32, position on
    the solid's surface, 0 to 1 from start to end and -1 to 1 over the width. sideways: float32 (T, N, 2), the
    direction of growing ``across`` in the picture.
    """

    owner: NDArray[np.int16]
    z: NDArray[np.float32]
    along: NDArray[np.float32]
    across: NDArray[np.float32]
    sideways: NDArray[np.float32]


def _outlines(a: Floats, b: Floats, axis: Floats, side: Floats, radius: Floats, cap: Floats) -> NDArray[np.int32]:
    """Polygons (T, N, 14, 2) around the solids in OpenCV's fixed-point pixels."""
    across, outwards = np.cos(_CAP)[:, None], np.sin(_CAP)[:, None]

    def half(centre: Floats, which: int, sign: int) -> Floats:
        reach = side[..., None, :] * across * radius[..., which, None, None]
        return centre[..., None, :] + sign * (reach + axis[..., None, :] * outwards * cap[..., which, None, None])

    corners = np.concatenate([half(b, 1, 1), half(a, 0, -1)], axis=2)
    return np.round(np.clip(corners, -4000, 4000) * (1 << _SHIFT)).astype(np.int32)


def rasterise(solids: Solids, size: int) -> Surface:
    """Draws the solids into pictures of ``size`` x ``size``; the nearest surface wins at each pixel."""
    frames = len(solids.start)
    focal = project(np.array([1.0, 0.0, 1.0]), size)[0] - (size - 1) / 2
    near = np.stack([solids.start[..., 2], solids.end[..., 2]], axis=-1).clip(0.2)
    a, b = project(solids.start, size), project(solids.end, size)
    radius, cap = solids.radius * focal / near, solids.cap * focal / near
    length = np.linalg.norm(b - a, axis=-1)
    axis = np.where(length[..., None] > 1e-3, (b - a) / np.maximum(length, 1e-3)[..., None], [0.0, 1.0])
    side = np.stack([-axis[..., 1], axis[..., 0]], axis=-1)
    outlines = _outlines(a, b, axis, side, radius, cap)

    surface = Surface(
        owner=np.full((frames, size, size), -1, np.int16),
        z=np.full((frames, size, size), FAR, np.float32),
        along=np.zeros((frames, size, size), np.float32),
        across=np.zeros((frames, size, size), np.float32),
        sideways=side.astype(np.float32),
    )
    columns = (*np.moveaxis(a, -1, 0), *np.moveaxis(axis, -1, 0), np.maximum(length, 1e-3))
    columns += (*np.moveaxis(radius, -1, 0).clip(1e-3), *np.moveaxis(near, -1, 0), solids.depth)
    table = np.stack(columns).astype(np.float32).transpose(2, 0, 1)  # (N, 10, T)
    # The mask is kept all zero between solids, so only each solid's own box is ever touched.
    mask = np.zeros((frames, size, size), np.uint8)
    low = np.clip((outlines.min(axis=(0, 2)) >> _SHIFT) - 1, 0, size)
    high = np.clip((outlines.max(axis=(0, 2)) >> _SHIFT) + 2, 0, size)
    for n in range(len(solids)):
        (x0, y0), (x1, y1) = low[n], high[n]
        if x0 >= x1 or y0 >= y1:
            continue
        for picture, outline in zip(mask, outlines[:, n], strict=True):
            cv2.fillConvexPoly(picture, outline, 1, cv2.LINE_8, _SHIFT)
        box = mask[:, y0:y1, x0:x1]
        t, y, x = box.nonzero()
        box[:] = 0
        ax, ay, ux, uy, reach, ra, rb, za, zb, thick = table[n].take(t, axis=1)
        dx, dy = x.astype(np.float32) + (x0 - ax), y.astype(np.float32) + (y0 - ay)
        along, over = dx * ux + dy * uy, dy * ux - dx * uy
        share = (along / reach).clip(0, 1)
        across = (over / (ra + share * (rb - ra))).clip(-1, 1)
        z = za * zb / (zb + share * (za - zb)) - thick * np.sqrt(1 - across**2)
        # A bar that points at the camera shows its near end's ball, not its side.
        for centre, radius_there, z_there in ((0, ra, za), (reach, rb, zb)):
            ball = 1 - ((along - centre) ** 2 + over**2) / radius_there**2
            z = np.where(ball > 0, np.minimum(z, z_there - thick * np.sqrt(np.maximum(ball, 0))), z)
        pixel = (t * size + y + y0) * size + x + x0
        front = z < surface.z.ravel()[pixel]
        pixel = pixel[front]
        surface.z.ravel()[pixel] = z[front]
        surface.owner.ravel()[pixel] = n
        surface.along.ravel()[pixel] = share[front]
        surface.across.ravel()[pixel] = across[front]
    return surface
