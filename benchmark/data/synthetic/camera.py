"""The camera: a pinhole with fixed intrinsics, hand-held, looking at the figure from a random place.

Camera frame: x right, y down, z forwards, metres. A point projects to u = fx x / z + cx, v = fy y / z + cy in pixels,
pixel centres at integers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FOCAL = 1.2  # in image sizes: a vertical field of view of 45 degrees


@dataclass(frozen=True, eq=False)
class Camera:
    """Where the camera is in each of T frames: position (T, 3) and rotation world -> camera (T, 3, 3)."""

    position: Floats
    rotation: Floats

    def see(self, points: Floats) -> Floats:
        """World points (T, N, 3) -> camera frame (T, N, 3)."""
        return (points - self.position[:, None]) @ self.rotation.swapaxes(1, 2)

    def place(self, points: Floats) -> Floats:
        """Points (N, 3) in the frame of the first picture's camera -> world (N, 3)."""
        return points @ self.rotation[0] + self.position[0]


def intrinsics(size: int) -> dict[str, float]:
    """fx, fy, cx, cy, width, height in pixels of pictures of ``size`` x ``size``."""
    focal, centre = _FOCAL * size, (size - 1) / 2
    return {"fx": focal, "fy": focal, "cx": centre, "cy": centre, "width": size, "height": size}


def project(points: Floats, size: int) -> Floats:
    """Camera-frame points (..., 3) -> pixels (..., 2) in a picture of ``size`` x ``size``."""
    return _FOCAL * size * points[..., :2] / points[..., 2:] + (size - 1) / 2


def rays(size: int) -> Floats:
    """The direction of each pixel's ray in the camera frame, z = 1: (size * size, 3)."""
    offset = (np.arange(size) - (size - 1) / 2) / (_FOCAL * size)
    x, y = np.meshgrid(offset, offset)
    return np.stack([x.ravel(), y.ravel(), np.ones(size * size)], axis=1)


def _looking(directions: Floats, roll: Floats) -> Floats:
    """Rotations world -> camera (T, 3, 3) that look along unit directions (T, 3), rolled by (T,) radians."""
    right = np.cross(directions, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    down = np.cross(directions, right)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([c * right + s * down, c * down - s * right, directions], axis=1)


def draw_camera(rng: np.random.Generator, joints: Floats, height: float) -> Camera:
    """A viewpoint for world joints (T, V, 3) of a figure of ``height`` metres that faces +z.

    Azimuth within 45 degrees of frontal, elevation -4 to 24 degrees; so far away that the standing figure
    fills 52 to 74 % of the picture's height, a little off centre; slow drift and turn of the hand that holds it.
    """
    frames = len(joints)
    azimuth, elevation = np.radians(rng.uniform(-45, 45)), np.radians(rng.uniform(-4, 24))
    distance = _FOCAL * height / rng.uniform(0.52, 0.74)
    away = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    aim = (joints.min(axis=(0, 1)) + joints.max(axis=(0, 1))) / 2
    place = aim + distance * away
    place[1] = max(place[1], 0.35)

    time = np.linspace(-0.5, 0.5, frames)[:, None]
    position = place + time * rng.normal(0, 0.10, 3) + rng.normal(0, 0.004, (frames, 3))
    off_centre = rng.normal(0, 0.04, 3) * distance / _FOCAL
    target = aim + off_centre + time * rng.normal(0, 0.09, 3) + rng.normal(0, 0.006, (frames, 3))
    direction = target - position
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return Camera(position, _looking(direction, np.radians(rng.normal(0, 2.0) + time[:, 0] * rng.normal(0, 2.0))))
