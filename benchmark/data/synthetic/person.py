"""The figure's flesh and clothes: which solids a skeleton carries and what they are made of."""

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.synthetic.body import INDEX, Body
from fewdistill.benchmark.data.synthetic.paint import Materials, draw_cloth, draw_colour, plain, stack
from fewdistill.benchmark.data.synthetic.solids import Solids

Floats = NDArray[np.float64]

# name: joint at the start, joint at the end, half-widths there (share of the height, before build)
_BARS = {
    "hips": ("left_hip", "right_hip", 0.054, 0.054),
    "neck": ("chest", "neck", 0.034, 0.031),
    "left_shoulder": ("chest", "left_shoulder", 0.040, 0.036),
    "right_shoulder": ("chest", "right_shoulder", 0.040, 0.036),
    "left_upper_arm": ("left_shoulder", "left_elbow", 0.034, 0.026),
    "right_upper_arm": ("right_shoulder", "right_elbow", 0.034, 0.026),
    "left_forearm": ("left_elbow", "left_wrist", 0.026, 0.019),
    "right_forearm": ("right_elbow", "right_wrist", 0.026, 0.019),
    "left_hand": ("left_wrist", "left_hand", 0.021, 0.022),
    "right_hand": ("right_wrist", "right_hand", 0.021, 0.022),
    "left_thigh": ("left_hip", "left_knee", 0.050, 0.035),
    "right_thigh": ("right_hip", "right_knee", 0.050, 0.035),
    "left_shin": ("left_knee", "left_ankle", 0.034, 0.023),
    "right_shin": ("right_knee", "right_ankle", 0.034, 0.023),
    "left_foot": ("left_ankle", "left_foot", 0.025, 0.021),
    "right_foot": ("right_ankle", "right_foot", 0.025, 0.021),
}
PARTS = (*_BARS, "torso", "head")
HEAD = PARTS.index("head")


def flesh(joints: Floats, body: Body) -> Solids:
    """The solids of a person, in the order of PARTS, around camera-frame joints (T, V, 3)."""
    frames = len(joints)
    build = body.height * np.sqrt(body.girth)
    start = [joints[:, INDEX[bar[0]]] for bar in _BARS.values()]
    end = [joints[:, INDEX[bar[1]]] for bar in _BARS.values()]
    radius = [np.tile(np.array(bar[2:]) * build, (frames, 1)) for bar in _BARS.values()]
    depth = [r.mean(axis=1) for r in radius]
    cap = [r[0] for r in radius]

    # The torso is an elliptic cone: its visible half-width depends on how far it is turned away from the camera.
    pelvis, chest = joints[:, INDEX["pelvis"]], joints[:, INDEX["chest"]]
    breadth = joints[:, INDEX["left_shoulder"]] - joints[:, INDEX["right_shoulder"]]
    breadth /= np.linalg.norm(breadth, axis=1, keepdims=True)
    turned = np.abs(breadth[:, 2])
    frontal = np.sqrt(1 - turned**2)
    hips, shoulders = (body.hip + 0.035 * build), (body.shoulder + 0.012 * build)
    flat = np.array([0.060, 0.068]) * body.height * body.girth
    wide = np.array([hips, shoulders])
    start.append(pelvis)
    end.append(chest)
    radius.append(np.hypot(frontal[:, None] * wide, turned[:, None] * flat))
    depth.append(np.hypot(turned * wide.mean(), frontal * flat.mean()))
    cap.append(np.array([0.02, 0.035]) * body.height)

    # The head is a ball drawn out upwards; its joint is its centre.
    neck, head = joints[:, INDEX["neck"]], joints[:, INDEX["head"]]
    up = (head - neck) / np.linalg.norm(head - neck, axis=1, keepdims=True) * 0.018 * body.height
    start.append(head - up)
    end.append(head + up)
    radius.append(np.tile(np.array([0.046, 0.050]) * body.height, (frames, 1)))
    depth.append(radius[-1].mean(axis=1))
    cap.append(radius[-1][0])
    starts, ends, radii, depths = (np.stack(part, axis=1) for part in (start, end, radius, depth))
    return Solids(starts, ends, radii, depths, np.stack(cap))


def dress(rng: np.random.Generator) -> tuple[Materials, Floats]:
    """Clothes and skin for the solids of PARTS, and the hair colour (3,)."""
    skin = np.array([0.42, 0.27, 0.19]) + rng.uniform(0, 1) * np.array([0.50, 0.50, 0.48]) + rng.normal(0, 0.02, 3)
    shirt, trousers, shoes = draw_cloth(rng), draw_cloth(rng), plain(draw_colour(rng) * 0.7)
    bare = plain(skin.clip(0.05, 1))
    long_sleeves, long_trousers = rng.random(2) < (0.55, 0.7)
    worn: list[Materials] = []
    for part in PARTS:
        odd, own = rng.random() < 0.12, draw_cloth(rng)  # drawn for every part, used for some
        if part in ("head", "neck") or part.endswith("hand"):
            worn.append(bare)
        elif part.endswith("foot"):
            worn.append(shoes)
        elif (part.endswith("forearm") and not long_sleeves) or (part.endswith("shin") and not long_trousers):
            worn.append(bare)
        elif odd and part != "torso":
            worn.append(own)
        elif part == "hips" or part.endswith(("thigh", "shin")):
            worn.append(trousers)
        else:
            worn.append(shirt)
    hair = np.array([0.08, 0.06, 0.05]) + rng.uniform(0, 1) ** 2 * np.array([0.65, 0.50, 0.30])
    return stack(*worn), hair
