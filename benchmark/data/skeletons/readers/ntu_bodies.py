"""Chooses the people among Kinect v2's bodies: tables and seats are tracked too, and one person may change number."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import FileError
from fewdistill.benchmark.data.skeletons.parse import REMEDY

SHORTEST = 12  # frames; bodies of 11 and fewer are noise
WIDEST = 0.8  # a person's width over height; wider frames are noise
NOISY = 0.69754  # share of noisy frames from which a body is noise


@dataclass(frozen=True, eq=False)
class Body:
    """One tracking number: the frames it was seen in, ascending int (n,), and its joints there, float64 (n, V, 3)."""

    frames: NDArray[np.integer]
    joints: NDArray[np.float64]


def choose_two(path: Path, bodies: list[Body], frames: int) -> NDArray[np.float64]:
    """The two people of a clip, (T, V, 3, 2), the one that moves most first; absent bodies are zeros.

    The usual rules (the pre-processing of SGN, Zhang et al., CVPR 2020, kept by CTR-GCN), for files of several
    bodies: those of at most 11 frames are dropped; then, while more than one is left, those that are wider than 0.8
    of their height in 70 % of their frames. The rest are taken in order of their motion, the variance of all joints'
    places summed over x, y, z, noisy frames excepted. The first opens the first place; every other joins the first
    place if its time does not overlap with it, else the second, else it is dropped. Frames left without anybody are
    dropped. Unlike those rules, which write a body down as one unbroken run from its first frame, each body stands in
    the frames it was seen in. Raises FileError when no body is left.
    """
    if not bodies:
        raise FileError(path, f"no body in any of its {frames} frames", "move it out of the data set")
    if len(bodies) > 1:
        bodies = [body for body in bodies if len(body.frames) >= SHORTEST]
        if not bodies:
            raise FileError(path, f"no body is seen for {SHORTEST} frames", REMEDY)
        bodies = _by_motion(bodies)
    places = np.zeros((frames, *bodies[0].joints.shape[1:], 2))
    spans: list[tuple[int, int]] = [(0, 0), (0, 0)]
    for number, body in enumerate(bodies):
        start, end = int(body.frames[0]), int(body.frames[-1])
        for place, (first, last) in enumerate(spans):
            if not number or min(last, end) <= max(first, start):
                places[body.frames, ..., place] = body.joints
                spans[place] = (start, end) if not number else (min(first, start), max(last, end))
                break
    return places[places.any(axis=(1, 2, 3))]


def _by_motion(bodies: list[Body]) -> list[Body]:
    """The bodies that are no wide noise, most motion first."""
    left = list(bodies)
    motion = {id(body): _motion(body) for body in bodies}
    for body in bodies:
        if len(left) == 1:
            break
        width, height = (np.ptp(body.joints[..., axis], axis=1) for axis in (0, 1))
        fine = width <= WIDEST * height
        if (~fine).mean() >= NOISY:
            left.remove(body)
        elif not fine.all():
            calm = replace(body, frames=body.frames[fine], joints=body.joints[fine])
            motion[id(body)] = min(motion[id(body)], _motion(calm))
    return sorted(left, key=lambda body: -motion[id(body)])


def _motion(body: Body) -> float:
    """Variance of the joints' places over all frames and joints, summed over x, y, z."""
    return float(body.joints.reshape(-1, 3).var(axis=0).sum())
