"""Joint coordinates, for a skeleton network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities.base import EXPERTS
from fewdistill.teachers.modalities.coordinates import CoordinateExpert
from fewdistill.teachers.modalities.topology import PosedClip, Skeleton

Floats = NDArray[np.float64]


@EXPERTS.register("joints")
@dataclass(frozen=True)
class Joints(CoordinateExpert):
    """3-D joints as they are, from the first to the last frame that stands for the video, resized in time.

    All frames in between are read, where the images of other experts are but those that stand for the video. Places in
    time are those of a linear resize with pixel centres at halves, ends held. The clip is moved so that the centre
    joint of the first person is at 0 in the first frame that shows them: where a person stands is lost, how they move
    is kept. A joint at exactly (0, 0, 0) was not seen: it is interpolated in time from the frames that show it. A
    person absent from a frame stays all zeros. People take places in the order of the file, without those never seen.
    """

    name = "joints"
    version = 1

    def derive(self, source: PosedClip) -> NDArray[np.float32]:
        """PosedClip -> float32 (frames, V, 3, people) in the file's unit.

        TeacherError when nobody is seen, when more people are than there is room for, and for a joint that a person
        never shows.
        """
        people = np.moveaxis(source.every.astype(np.float64), 3, 0)  # (M, T, V, 3)
        seen = (people != 0).any(axis=3)
        present = np.flatnonzero(seen.any(axis=(1, 2)))
        if not len(present):
            raise TeacherError("expert 'joints': nobody is seen, all joints are zero")
        if len(present) > self.people:
            raise TeacherError(
                f"expert 'joints': {len(present)} people are seen, there is room for {self.people}: set "
                f"teacher.expert.joints.people = {len(present)}"
            )
        times = resized_times(source.every.shape[0], self.frames)
        clip = np.zeros(self.shape(source.skeleton), np.float32)
        origin: Floats | None = None
        for place, person in enumerate(present):
            body = _resized(people[person], seen[person], times, source.skeleton)
            shown = seen[person].any(axis=1)[np.rint(times).astype(int)]
            if origin is None:
                origin = body[int(shown.argmax()), source.skeleton.centre]
            clip[shown, :, :, place] = (body - origin)[shown]
        return clip


def resized_times(frames: int, wanted: int) -> Floats:
    """Places in time (wanted,), in frames of a clip of ``frames``: a linear resize, pixel centres at halves."""
    return np.clip((np.arange(wanted) + 0.5) / wanted * frames - 0.5, 0, frames - 1)


def _resized(joints: Floats, seen: NDArray[np.bool_], times: Floats, skeleton: Skeleton) -> Floats:
    """One person's joints (T, V, 3) at ``times``, each interpolated between the frames that show it, seen (T, V)."""
    body = np.empty((len(times), *joints.shape[1:]))
    for joint, name in enumerate(skeleton.joints):
        known = np.flatnonzero(seen[:, joint])
        if not len(known):
            raise TeacherError(f"expert 'joints': joint {name!r} is never seen")
        for axis in range(3):
            body[:, joint, axis] = np.interp(times, known, joints[known, joint, axis])
    return body
