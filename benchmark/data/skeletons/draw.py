"""Skeleton clips as small pictures, for people to look at."""

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE, _MARGIN = 112, 10
_LINE, _BACKGROUND = (60, 60, 60), 250


def stick_figures(joints: NDArray[np.float32], edges: tuple[tuple[int, int], ...], frames: int) -> NDArray[np.uint8]:
    """Joints (3, T, V, M), x right and y up -> ``frames`` pictures of them, uint8 (frames, side, side, 3).

    Each shows the middle of one of so many equal parts of the clip, all at one scale. A body at zero is absent.
    """
    times = ((np.arange(frames) + 0.5) / frames * joints.shape[1]).astype(int)
    points = joints[:2, times]  # (2, frames, V, M)
    there = (points != 0).any(axis=0)
    shown = points[:, there]
    low, high = shown.min(axis=1), shown.max(axis=1)
    scale = (_SIDE - 2 * _MARGIN) / max(float((high - low).max()), 1e-6)
    centre = (low + high) / 2
    pictures = np.full((frames, _SIDE, _SIDE, 3), _BACKGROUND, np.uint8)
    x = (points[0] - centre[0]) * scale + _SIDE / 2
    y = _SIDE / 2 - (points[1] - centre[1]) * scale
    places = np.stack([x, y], axis=-1).round().astype(int)  # (frames, V, M, 2)
    for frame, picture in enumerate(pictures):
        for body in range(points.shape[3]):
            for one, two in edges:
                if there[frame, one, body] and there[frame, two, body]:
                    ends = places[frame, one, body].tolist(), places[frame, two, body].tolist()
                    cv2.line(picture, *ends, _LINE, 2, cv2.LINE_AA)
    return pictures
