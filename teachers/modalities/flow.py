"""Optical flow between consecutive frames, encoded as an image."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities.base import EXPERTS, Expert, require_clip

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}

MIN_SIDE = 128  # px; smaller frames are enlarged, or the solver's 8-px patches at half size swallow a whole limb


@EXPERTS.register("flow")
@dataclass(frozen=True)
class Flow(Expert):
    """Dense inverse search (Kroeger et al., ECCV 2016) on grey frames, at the clip's own pixels.

    ``preset`` trades speed for accuracy; "medium" ends with variational refinement and is sub-pixel. ``bound`` is
    the motion from one frame to the next, as a share of the picture's short side, at which the encoding saturates:
    32 px at 256, 8 px at 64. It is fixed, so that equal pixels mean equal speeds in every clip, and wide, since
    the frames sampled from a video lie far apart in time. Clips with a short side below 128 px are enlarged for
    the search; the flow is in the clip's own pixels all the same.
    """

    preset: str = "medium"
    bound: float = 0.125

    name = "flow"
    version = 1
    requires = "rgb"
    mirror_channels = (0,)

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise TeacherError(f"flow preset {self.preset!r}: choose one of {', '.join(PRESETS)}")
        if not self.bound > 0:
            raise TeacherError(f"flow bound {self.bound}: a positive share of the short side is needed")

    def derive(self, source: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (T, H, W, 3) -> uint8 (T, H, W, 3): dx, dy (128 = still, 1 and 255 = ``bound``), magnitude (0 = still).

        Frame t is the flow from frame t to t+1; the last repeats the one before it. TeacherError below two frames.
        """
        field = self.field(source)
        share = field / np.float32(self.bound * min(field.shape[1:3]))
        speed = np.minimum(np.hypot(share[..., 0], share[..., 1]), 1)
        clip = np.empty(source.shape, np.uint8)
        clip[:-1, ..., :2] = np.rint(128 + 127 * np.clip(share, -1, 1))
        clip[:-1, ..., 2] = np.rint(255 * speed)
        clip[-1] = clip[-2]
        return clip

    def field(self, source: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow in pixels, float32 (T-1, H, W, 2) as (dx right, dy down), of a clip uint8 (T, H, W, 3)."""
        require_clip(source, self.name, at_least=2)
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in source]
        solver = cv2.DISOpticalFlow.create(PRESETS[self.preset])
        height, width = source.shape[1:3]
        times = -(-MIN_SIDE // min(height, width))
        if times > 1:
            grey = [cv2.resize(frame, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC) for frame in grey]
        # No start value from the pair before: each pair then depends on its two frames alone.
        pairs = [solver.calc(now, after, None) for now, after in pairwise(grey)]  # type: ignore[call-overload]
        if times > 1:
            pairs = [cv2.resize(pair, (width, height), interpolation=cv2.INTER_AREA) / times for pair in pairs]
        return np.stack(pairs)
