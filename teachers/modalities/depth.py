"""Depth as an image: near bright, far dark."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities.base import EXPERTS, Expert


@EXPERTS.register("depth")
@dataclass(frozen=True)
class Depth(Expert):
    """Sensor depth, holes filled and scaled to the clip's own range.

    ``trim`` is the percentage of readings cut off at either end before the range is taken, so that a few stray
    readings do not flatten the rest.
    """

    trim: float = 1.0

    name = "depth"
    version = 1
    requires = "depth"

    def __post_init__(self) -> None:
        if not 0 <= self.trim < 50:
            raise TeacherError(f"depth trim {self.trim}: a percentage from 0 to below 50 is needed")

    def derive(self, source: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """uint16 millimetres (T, H, W), 0 = no reading -> uint8 (T, H, W, 3), three equal channels.

        255 is the near end of the clip's range and 0 the far end. A pixel without reading takes the nearest one
        of its frame. TeacherError for another dtype or shape, and for a frame without any reading.
        """
        if source.dtype != np.uint16 or source.ndim != 3 or not source.size:
            raise TeacherError(f"expert 'depth' needs uint16 (T, H, W) in mm, got {source.dtype} {source.shape}")
        filled = np.stack([_fill_holes(frame, number) for number, frame in enumerate(source)])
        near, far = np.percentile(source[source > 0], [self.trim, 100 - self.trim])
        span = max(float(far - near), 1.0)
        grey = np.rint(255 * np.clip((far - filled) / span, 0, 1)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)


def _fill_holes(frame: NDArray[np.uint16], number: int) -> NDArray[np.float32]:
    """float32 (H, W): each 0 replaced by the reading nearest to it in the picture."""
    holes = frame == 0
    if holes.all():
        raise TeacherError(f"expert 'depth': frame {number} has no reading at all")
    filled = frame.astype(np.float32)
    if holes.any():
        _, nearest = cv2.distanceTransformWithLabels(
            holes.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        reading_of = np.zeros(int(nearest.max()) + 1, np.float32)
        reading_of[nearest[~holes]] = filled[~holes]
        filled[holes] = reading_of[nearest[holes]]
    return filled
