"""The actions: every joint angle a sinusoid, 48 programmes chosen to be far apart from one another.

The programmes belong to the version of the data set, not to its seed: another seed films the same actions anew.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.synthetic.body import ANGLES, COLUMN, MIRRORED, clamp, make_body, pose
from fewdistill.benchmark.runtime.seeds import generator

ACTIONS = 48
_CANDIDATES = 300
_PHASES = 16
_LOWER = ("stand", "sway", "march", "walk", "squat", "crouch", "lunge", "kick", "jacks", "hop", "balance", "sidestep")
_ARMS = ("both", "alternate", "single", "own")
_REST = {"raise": 8.0, "plane": 60.0, "turn": 0.0, "elbow": 12.0}

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Action:
    """A programme: angle(phi) = base + amplitude * sin(frequency * phi + phase), arrays (len(ANGLES),), degrees.

    ``yaw``: swing of the whole body in degrees, ``spin``: steady turn over a clip in degrees, ``jump``: height in
    metres at ``jump_frequency`` per cycle, ``travel``: metres over a clip, sideways and forwards.
    """

    name: str
    base: Floats
    amplitude: Floats
    frequency: Floats
    phase: Floats
    yaw: float
    spin: float
    jump: float
    jump_frequency: float
    travel: tuple[float, float]

    def angles(self, phi: Floats) -> Floats:
        """Joint angles (..., len(ANGLES)) in degrees at phases (...) in radians."""
        return clamp(self.base + self.amplitude * np.sin(self.frequency * phi[..., None] + self.phase))


class _Draft:
    """A programme being drawn: the sinusoids set so far, everything else at rest."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.rows = np.zeros((4, len(ANGLES)))  # base, amplitude, frequency, phase
        self.rows[2] = 1.0
        self.extra: dict[str, float] = {}

    def set(self, name: str, base: float, amplitude: float = 0.0, frequency: float = 1.0, phase: float = 0.0) -> None:
        self.rows[:, COLUMN[name]] = base, amplitude, frequency, phase

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))


def _legs(draft: _Draft, kind: str) -> tuple[float, float]:
    """Sets hips and knees (and jumps) of a kind of lower-body movement; returns the travel in metres."""
    u, rng = draft.uniform, draft.rng
    sides = ("left", "right") if rng.random() < 0.5 else ("right", "left")
    first, second = sides
    for side in sides:
        draft.set(f"{side}_hip", 3, 0)
        draft.set(f"{side}_hip_plane", 70)
        draft.set(f"{side}_knee", 4, 0)
    match kind:
        case "sway":
            spread = u(12, 24)
            for side, start in zip(sides, (0, np.pi), strict=True):
                draft.set(f"{side}_hip", spread, 4, 1, start)
                draft.set(f"{side}_knee", 14, 12, 1, start)
        case "march" | "walk":
            lift, stride = (u(26, 42), u(0.85, 1.0)) if kind == "march" else (u(2, 8), u(3.0, 4.5))
            for side, start in zip(sides, (0, np.pi), strict=True):
                draft.set(f"{side}_hip", lift, lift * stride, 1, start)
                draft.set(f"{side}_hip_plane", 0)
                draft.set(f"{side}_knee", 1.3 * lift + 12, 1.2 * lift + 8, 1, start - (0 if kind == "march" else 0.9))
            if kind == "walk":
                return (0.0, float(rng.choice([-1, 1])) * u(0.5, 0.8))
        case "squat" | "crouch":
            fold, swing = (u(38, 48), u(28, 36)) if kind == "squat" else (u(62, 88), u(4, 8))
            for side in sides:
                draft.set(f"{side}_hip", fold, swing)
                draft.set(f"{side}_hip_plane", u(0, 35))
                draft.set(f"{side}_knee", 1.7 * fold, 1.7 * swing)
            draft.set("bend", 0.4 * fold, 0.4 * swing)
        case "lunge":
            fold, swing = u(42, 55), u(12, 26)
            plane = float(rng.choice([0, 80]))
            draft.set(f"{first}_hip", fold, swing)
            draft.set(f"{first}_hip_plane", plane)
            draft.set(f"{first}_knee", 1.5 * fold, 1.4 * swing)
            draft.set(f"{second}_hip", 22 if plane else -18, 8 if plane else -8)
            draft.set(f"{second}_knee", 8, 5)
        case "kick":
            draft.set(f"{first}_hip", u(35, 48), u(35, 48))
            draft.set(f"{first}_hip_plane", float(rng.choice([0, 85])))
            draft.set(f"{first}_knee", u(10, 45), u(5, 30), 1, np.pi)
            draft.set(f"{second}_knee", 12, 5)
        case "jacks":
            for side in sides:
                draft.set(f"{side}_hip", 18, 15)
                draft.set(f"{side}_knee", 12, 9, 2)
            draft.extra.update(jump=u(0.06, 0.14), jump_frequency=2.0)
        case "hop":
            for side in sides:
                draft.set(f"{side}_hip", 26, 20)
                draft.set(f"{side}_hip_plane", 10)
                draft.set(f"{side}_knee", 48, 38)
            draft.extra.update(jump=u(0.15, 0.30), jump_frequency=1.0)
        case "balance":
            draft.set(f"{first}_hip", u(45, 85), u(5, 15))
            draft.set(f"{first}_hip_plane", u(0, 80))
            draft.set(f"{first}_knee", u(20, 110), u(5, 15))
        case "sidestep":
            for side, start in zip(sides, (0, 0.6 * np.pi), strict=True):
                draft.set(f"{side}_hip", 16, 14, 1, start)
                draft.set(f"{side}_knee", 14, 12, 1, start)
            return (float(rng.choice([-1, 1])) * u(0.4, 0.7), 0.0)
    return (0.0, 0.0)


def _arm(draft: _Draft) -> dict[str, tuple[float, float, float, float]]:
    """One arm's sinusoids: base, amplitude, frequency, phase by angle."""
    u, rng = draft.uniform, draft.rng
    start = u(0, 2 * np.pi)
    frequency = 2.0 if rng.random() < 0.25 else 1.0
    raised = u(15, 145)
    swing = min(u(8, 65), raised + 10, 170 - raised)
    elbow = u(5, 105)
    return {
        "raise": (raised, swing, frequency, start),
        "plane": (u(-10, 100), u(0, 45), frequency, start + u(0.4, 2.7)),
        "turn": (u(-60, 60), u(0, 35), frequency, start + u(0, 2 * np.pi)),
        "elbow": (
            elbow,
            min(elbow, 140 - elbow, u(0, 60)),
            frequency,
            start + float(rng.choice([0, np.pi / 2, np.pi])),
        ),
    }


def _candidate(rng: np.random.Generator) -> Action:
    draft = _Draft(rng)
    lower, arms = str(rng.choice(_LOWER)), str(rng.choice(_ARMS))
    travel = _legs(draft, lower)
    one, other = _arm(draft), _arm(draft)
    sides = ("left", "right") if rng.random() < 0.5 else ("right", "left")
    for angle, (base, amplitude, frequency, start) in one.items():
        draft.set(f"{sides[0]}_{angle}", base, amplitude, frequency, start)
        match arms:
            case "both":
                twin = (base, amplitude, frequency, start)
            case "alternate":
                twin = (base, amplitude, frequency, start + np.pi)
            case "single":
                twin = (_REST[angle], 2.0, 1.0, start)
            case _:
                twin = other[angle]
        draft.set(f"{sides[1]}_{angle}", *twin)
    u = draft.uniform
    for angle, chance, base, swing in (("bend", 0.3, 30, 25), ("lean", 0.3, 18, 18), ("twist", 0.3, 15, 30)):
        if rng.random() < chance and not draft.rows[:2, COLUMN[angle]].any():
            middle = u(0, base) if angle == "bend" else u(-base, base)
            draft.set(angle, middle, u(0.3, 1.0) * swing, 1.0, u(0, 2 * np.pi))
    draft.set("nod", u(-8, 12), u(0, 10), 1.0, u(0, 2 * np.pi))
    draft.set("look", u(-15, 15), u(0, 25), 1.0, u(0, 2 * np.pi))
    whole = rng.random()
    return Action(
        name=f"{lower}_{arms}",
        base=draft.rows[0],
        amplitude=draft.rows[1],
        frequency=draft.rows[2],
        phase=draft.rows[3],
        yaw=u(25, 50) if whole < 0.2 else 0.0,
        spin=float(rng.choice([-1, 1])) * u(60, 120) if whole > 0.9 else 0.0,
        jump=draft.extra.get("jump", 0.0),
        jump_frequency=draft.extra.get("jump_frequency", 1.0),
        travel=travel,
    )


def trajectory(action: Action) -> Floats:
    """One cycle of the average body in its own frame: (16, V, 3), pelvis at the origin, unit = body height."""
    body = make_body()
    phi = np.linspace(0, 2 * np.pi, _PHASES, endpoint=False)
    return pose(action.angles(phi), body)[0] / body.height


def distances(one: Floats, others: Floats) -> Floats:
    """Distance of a cycle (P, V, 3) to each of (N, P, V, 3): (N,), root mean square over joints and phases, the least
    over all shifts of the phase and over mirroring; in the unit of the joints."""
    phases, joints, _ = one.shape
    mirror = one[:, MIRRORED] * np.array([-1.0, 1.0, 1.0])
    flat = others.reshape(len(others), phases, -1)
    waves = np.fft.rfft(flat, axis=1)
    # The correlation with every shifted cycle at once, by the correlation theorem.
    products = [
        np.fft.irfft((np.fft.rfft(cycle.reshape(phases, -1), axis=0).conj() * waves).sum(axis=2), phases)
        for cycle in (one, mirror)
    ]
    squares = (one**2).sum() + (flat**2).sum(axis=(1, 2)) - 2 * np.maximum(*products).max(axis=1)
    return np.sqrt(np.maximum(squares, 0.0) / (phases * joints))


@cache
def actions(version: int) -> tuple[Action, ...]:
    """The 48 actions of a version, in the order in which the splits take them: farthest-point choice among 300 drawn
    programmes by ``distances``, then shuffled so that no split has the extremes for itself."""
    rng = generator(version, "embedded", "actions")
    drawn = [_candidate(rng) for _ in range(_CANDIDATES)]
    cycles = np.stack([trajectory(action) for action in drawn])
    chosen = [0]
    nearest = distances(cycles[0], cycles)
    while len(chosen) < ACTIONS:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distances(cycles[chosen[-1]], cycles))
    return tuple(drawn[chosen[i]] for i in rng.permutation(ACTIONS))
