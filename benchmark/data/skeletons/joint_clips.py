"""From cached coordinates to a skeleton network's input, turned and mirrored by a given generator."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewdistill.benchmark.data.skeletons.sampling import rotations
from fewdistill.benchmark.data.video.clips import Read, StoredClips


@dataclass(frozen=True)
class JointClips(StoredClips):
    """Clips of coordinates: joints float32 (N, 3, T', V, M), x to the right.

    rotation: bound, in radians, of the angles about x, y and z drawn for each clip in training. mirrored: the joint
    that takes each joint's place in a mirror, for flips of half the clips in training; None for none. A network over
    time reads whole clips: of frames that are chosen only the number counts, as that of its tokens.
    """

    read: Read
    rotation: float
    mirrored: tuple[int, ...] | None
    device: torch.device

    def network_input(self, pixels: NDArray[np.float32]) -> Tensor:
        """Clips float32 (N, T', V, 3, M) -> joints float32 (N, 3, T', V, M) on the device."""
        return torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2, 4).contiguous()

    def _one(
        self,
        video: str,
        rng: np.random.Generator | None,
        keep: NDArray[np.int64] | None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        clip = self.read(video, rng)
        if rng is not None:
            clip = self._augmented(clip, rng)
        if out is None:
            return clip
        np.copyto(out, clip)
        return out

    def _augmented(self, clip: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        turn = rotations(rng.uniform(-self.rotation, self.rotation, (1, 3)))[0].astype(np.float32)
        mirror = rng.random() < 0.5  # drawn either way, so that the switch leaves the angles as they were
        clip = turn @ clip
        if mirror and self.mirrored is not None:
            clip = clip[:, list(self.mirrored)]
            clip[:, :, 0] *= -1
        return clip
