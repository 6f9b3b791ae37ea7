"""A person whose pose is known, for the tests of the joint experts."""

import numpy as np

from fewdistill.teachers.modalities import Camera, PosedClip, Skeleton

CAMERA = Camera(fx=100, fy=100, cx=47.5, cy=31.5, width=96, height=64)
JOINTS = ("pelvis", "chest", "head", "l_elbow", "l_hand", "r_elbow", "r_hand", "l_knee", "l_foot", "r_knee", "r_foot")
EDGES = ((0, 1), (1, 2), (1, 3), (3, 4), (1, 5), (5, 6), (0, 7), (7, 8), (0, 9), (9, 10))
SKELETON = Skeleton(JOINTS, EDGES, 0, (3, 4, 7, 8), (5, 6, 9, 10), CAMERA)
POSE = np.array(
    [
        [0, 0, 0],
        [0, -0.5, 0],
        [0, -0.8, 0],
        [0.3, -0.4, 0],
        [0.5, -0.1, 0],
        [-0.3, -0.5, 0],
        [-0.5, -0.7, 0],
        [0.15, 0.4, 0],
        [0.2, 0.8, 0],
        [-0.15, 0.4, 0],
        [-0.2, 0.8, 0],
    ],
    np.float32,
)
SWAP = [0, 1, 2, 5, 6, 3, 4, 9, 10, 7, 8]


def posed(moves: np.ndarray | None = None, people: int = 1) -> PosedClip:
    """A person 3 m away, moved by ``moves`` (T, 3) metres; more people stand farther right and back."""
    moves = np.zeros((2, 3)) if moves is None else moves
    bodies = [POSE[None] + moves[:, None] + np.array([0.4 * m, 0, 3 + m]) for m in range(people)]
    return PosedClip(np.stack(bodies, axis=-1).astype(np.float32), SKELETON)
