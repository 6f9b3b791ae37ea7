"""What the cameras make of it: colour noise and exposure, depth noise and holes."""

import cv2
import numpy as np
from numpy.typing import NDArray

_RANGE_MM = 8000.0


def expose(rng: np.random.Generator, image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pictures float32 (T, S, S, 3) in [0, 1] -> uint8: exposure, white balance, tone curve, softness, noise."""
    gain = (rng.uniform(0.85, 1.25) * rng.uniform(0.9, 1.1, 3)).astype(np.float32)
    gamma, soft, noise = rng.uniform(0.8, 1.25), rng.uniform(0.0, 0.7), rng.uniform(0.008, 0.025)
    out = np.power((image * gain).clip(0, 1), gamma, dtype=np.float32)
    if soft > 0.25:
        out = np.stack([cv2.GaussianBlur(frame, (3, 3), soft) for frame in out])
    out += np.float32(noise) * rng.standard_normal(out.shape, np.float32)
    return np.rint(out.clip(0, 1) * 255).astype(np.uint8)


def range_image(rng: np.random.Generator, depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Depth float32 (T, S, S) in metres -> uint16 millimetres, 0 = no reading.

    The noise grows with the square of the distance as a structured-light sensor's does (Khoshelham and Elberink,
    Sensors 2012, eq. 12); edges, specks and blotches are lost, and everything beyond 8 m.
    """
    spread = 0.0016 * depth**2 * rng.standard_normal(depth.shape, np.float32)
    millimetres = 1000 * (depth + spread)
    # The second difference, so that a slanting floor is no edge.
    edge = np.abs(np.stack([cv2.Laplacian(frame, cv2.CV_32F, ksize=1) for frame in depth])) > 0.25
    chance = rng.random(depth.shape, np.float32)
    lost = (edge & (chance < 0.3)) | (chance > 0.995)
    blotches = rng.random((len(depth), 9, 9), np.float32)
    size = depth.shape[1:]
    lost |= np.stack([cv2.resize(b, size[::-1], interpolation=cv2.INTER_CUBIC) for b in blotches]) > 1.06
    lost |= millimetres > _RANGE_MM
    return np.where(lost, 0, np.rint(millimetres).clip(0, _RANGE_MM)).astype(np.uint16)
