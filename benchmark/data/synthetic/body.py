"""The articulated figure: joints, body proportions and forward kinematics.

World frame: x towards the left-hand side of a figure that faces +z, y up, metres.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

JOINTS = (
    "pelvis", "spine", "chest", "neck", "head",
    "left_shoulder", "left_elbow", "left_wrist", "left_hand",
    "right_shoulder", "right_elbow", "right_wrist", "right_hand",
    "left_hip", "left_knee", "left_ankle", "left_foot",
    "right_hip", "right_knee", "right_ankle", "right_foot",
)  # fmt: skip
INDEX = {name: i for i, name in enumerate(JOINTS)}
EDGES = (
    (0, 1), (1, 2), (2, 3), (3, 4),
    (2, 5), (5, 6), (6, 7), (7, 8), (2, 9), (9, 10), (10, 11), (11, 12),
    (0, 13), (13, 14), (14, 15), (15, 16), (0, 17), (17, 18), (18, 19), (19, 20),
)  # fmt: skip
CENTRE = INDEX["spine"]
LEFT = (5, 6, 7, 8, 13, 14, 15, 16)
RIGHT = (9, 10, 11, 12, 17, 18, 19, 20)
MIRRORED = np.array([0, 1, 2, 3, 4, *RIGHT[:4], *LEFT[:4], *RIGHT[4:], *LEFT[4:]])
"""Joint order after exchanging left and right."""

ANGLES = (
    "bend", "lean", "twist", "nod", "look",
    "left_raise", "left_plane", "left_turn", "left_elbow", "left_hip", "left_hip_plane", "left_knee",
    "right_raise", "right_plane", "right_turn", "right_elbow", "right_hip", "right_hip_plane", "right_knee",
)  # fmt: skip
"""Joint angles in degrees. raise/hip: away from hanging down; plane: 0 = forwards, 90 = sideways; turn: about the upper
arm's own axis; elbow/knee: bend of the middle joint; bend: trunk forwards; lean: trunk to the left."""
COLUMN = {name: i for i, name in enumerate(ANGLES)}

_LIMITS = {
    "bend": (-20, 75), "lean": (-40, 40), "twist": (-50, 50), "nod": (-35, 40), "look": (-60, 60),
    "raise": (-35, 175), "plane": (-25, 125), "turn": (-80, 80), "elbow": (0, 145),
    "hip": (-35, 115), "hip_plane": (-10, 95), "knee": (0, 145),
}  # fmt: skip
_LOW, _HIGH = np.array([_LIMITS[name.removeprefix("left_").removeprefix("right_")] for name in ANGLES], float).T

_HEIGHT = 1.70
_ARM = {"upper": 0.186, "fore": 0.150, "hand": 0.055}
_LEG = {"thigh": 0.245, "shin": 0.246, "foot": 0.105}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Body:
    """Bone lengths in metres; ``girth`` scales all thicknesses (1 = average build)."""

    height: float
    girth: float
    trunk: float
    neck: float
    head: float
    shoulder: float
    hip: float
    upper: float
    fore: float
    hand: float
    thigh: float
    shin: float
    foot: float


def make_body(height: float = _HEIGHT, girth: float = 1.0, stretch: Floats | None = None) -> Body:
    """A body of a height in metres; ``stretch`` (11,) multiplies the average bone lengths (after Winter, Biomechanics
    and Motor Control of Human Movement, ch. 4), in the order of the fields of Body from ``trunk`` on."""
    share = np.array([0.285, 0.040, 0.080, 0.120, 0.055, *_ARM.values(), *_LEG.values()])
    lengths = share * height * (1.0 if stretch is None else stretch)
    return Body(height, girth, *map(float, lengths))


def draw_body(rng: np.random.Generator) -> Body:
    """A random person: 1.50 to 1.92 m, slim to stout, each bone some 4 % longer or shorter than average."""
    return make_body(rng.uniform(1.50, 1.92), rng.uniform(0.82, 1.25), np.clip(rng.normal(1.0, 0.04, 11), 0.88, 1.12))


def clamp(angles: Floats) -> Floats:
    """Angles (..., len(ANGLES)) in degrees held within what joints allow."""
    return np.clip(angles, _LOW, _HIGH)


def rotation(axis: int, degrees: Floats) -> Floats:
    """Right-handed rotations about a world axis (0 x, 1 y, 2 z): (..., 3, 3)."""
    radians = np.radians(degrees)
    out = np.zeros((*np.shape(radians), 3, 3))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out[..., axis, axis] = 1.0
    out[..., i, i] = out[..., j, j] = np.cos(radians)
    out[..., j, i] = np.sin(radians)
    out[..., i, j] = -out[..., j, i]
    return out


def pose(angles: Floats, body: Body) -> tuple[Floats, Floats]:
    """Forward kinematics: angles (..., len(ANGLES)) in degrees -> joints (..., V, 3) in metres with the pelvis at the
    origin facing +z, and the direction the face looks (..., 3), unit length."""

    def angle(name: str) -> Floats:
        return angles[..., COLUMN[name]]

    joints = np.zeros((*angles.shape[:-1], len(JOINTS), 3))

    def put(name: str, parent: str, frame: Floats, offset: tuple[float, float, float]) -> None:
        joints[..., INDEX[name], :] = joints[..., INDEX[parent], :] + frame @ np.array(offset)

    half = rotation(0, angle("bend") / 2) @ rotation(2, -angle("lean") / 2) @ rotation(1, angle("twist") / 2)
    trunk = half @ half
    skull = trunk @ rotation(1, angle("look")) @ rotation(0, angle("nod"))
    put("spine", "pelvis", half, (0, body.trunk / 2, 0))
    put("chest", "spine", trunk, (0, body.trunk / 2, 0))
    put("neck", "chest", trunk, (0, body.neck, 0))
    put("head", "neck", skull, (0, body.head, 0.012 * body.height))
    upright = rotation(0, np.zeros(angles.shape[:-1]))
    for side, sign in (("left", 1), ("right", -1)):
        put(f"{side}_shoulder", "chest", trunk, (sign * body.shoulder, 0, 0))
        plane, turn = sign * angle(f"{side}_plane"), sign * angle(f"{side}_turn")
        # Turning the plane back after raising keeps a hanging arm's elbow pointing backwards whatever the plane.
        swing = rotation(1, plane) @ rotation(0, -angle(f"{side}_raise")) @ rotation(1, -plane)
        arm = trunk @ swing @ rotation(1, turn)
        put(f"{side}_elbow", f"{side}_shoulder", arm, (0, -body.upper, 0))
        arm = arm @ rotation(0, -angle(f"{side}_elbow"))
        put(f"{side}_wrist", f"{side}_elbow", arm, (0, -body.fore, 0))
        put(f"{side}_hand", f"{side}_wrist", arm, (0, -body.hand, 0))

        put(f"{side}_hip", "pelvis", upright, (sign * body.hip, 0, 0))
        plane = sign * angle(f"{side}_hip_plane")
        leg = rotation(1, plane) @ rotation(0, -angle(f"{side}_hip")) @ rotation(1, -plane)
        put(f"{side}_knee", f"{side}_hip", leg, (0, -body.thigh, 0))
        leg = leg @ rotation(0, angle(f"{side}_knee"))
        put(f"{side}_ankle", f"{side}_knee", leg, (0, -body.shin, 0))
        # The foot stays half level: the ankle takes up half of the shin's tilt.
        forwards = leg @ np.array([0.0, -0.25, 1.0]) + np.array([0.0, -0.25, 1.0])
        forwards /= np.linalg.norm(forwards, axis=-1, keepdims=True) + 1e-9
        joints[..., INDEX[f"{side}_foot"], :] = joints[..., INDEX[f"{side}_ankle"], :] + body.foot * forwards
    return joints, skull @ np.array([0.0, 0.0, 1.0])


def stand(joints: Floats, clearance: float = 0.035) -> Floats:
    """Joints (..., V, 3) lifted so that the lowest one is ``clearance`` metres above the floor y = 0."""
    lowest = joints[..., 1].min(axis=-1)
    return joints + np.stack([0 * lowest, clearance - lowest, 0 * lowest], axis=-1)[..., None, :]
