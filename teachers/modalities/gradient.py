"""Temporal gradient: the difference of consecutive frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fewdistill.teachers.modalities.base import EXPERTS, Expert, require_clip


@EXPERTS.register("gradient")
@dataclass(frozen=True)
class Gradient(Expert):
    """Signed difference of consecutive frames, channel by channel, around 128 (the "TG" of Lite-MKD's teacher)."""

    name = "gradient"
    version = 1
    requires = "rgb"

    def derive(self, source: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (T, H, W, 3) -> uint8 (T, H, W, 3); 128 = unchanged, a step of 255 grey levels = 127 away.

        Frame t is frame t+1 less frame t; the last repeats the one before it. TeacherError below two frames.
        """
        require_clip(source, self.name, at_least=2)
        step = np.diff(source.astype(np.float32), axis=0)
        change = np.rint(128 + step * (127 / 255)).astype(np.uint8)
        return np.concatenate([change, change[-1:]])
