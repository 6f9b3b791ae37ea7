"""RGB as an expert, so that every modality is handled alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fewdistill.teachers.modalities.base import EXPERTS, Expert, require_clip


@EXPERTS.register("rgb")
@dataclass(frozen=True)
class RGB(Expert):
    """The clip as it is."""

    name = "rgb"
    version = 1
    requires = "rgb"

    def derive(self, source: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (T, H, W, 3) -> the same array; TeacherError for another shape or dtype."""
        require_clip(source, self.name)
        return source
