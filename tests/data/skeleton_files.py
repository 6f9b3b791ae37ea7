"""Small skeleton clips in the original formats, written by the tests, and where real ones may be."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fewdistill.benchmark.data.skeletons.topology import topology
from fewdistill.teachers.modalities import Skeleton

Array = NDArray[np.float64]
SHARED = Path(os.environ.get("FEWDISTILL_DATA", Path(__file__).parents[3] / "shared" / "data"))
NTU_CLIP = "S001C001P001R001A001.skeleton"
BROKEN_NTU = "S001C002P005R002A008"  # on the authors' list of missing skeletons


def real(folder: str, tmp_path: Path) -> Path:
    """A folder that leads to a real data set, so that nothing is written beside it; skips where there is none."""
    if not (SHARED / folder).is_dir():
        pytest.skip(f"no folder {SHARED / folder}: name one in FEWDISTILL_DATA")
    (tmp_path / folder).symlink_to(SHARED / folder)
    root = tmp_path / f"{folder}_root"
    root.mkdir()
    inner = {"nw_ucla": "all_sqe", "msr_action3d": "MSRAction3DSkeletonReal3D"}[folder]
    source = SHARED / folder / inner
    (root / inner).symlink_to(source if source.is_dir() else SHARED / folder)
    return root


def body(skeleton: Skeleton, frames: int, seed: int = 0, motion: float = 1.0) -> Array:
    """A moving body (T, V, 3) in metres with bones of constant length, left at negative x, about 3 m away."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((frames, len(skeleton.joints), 3))
    joints[:, skeleton.centre] = [0.1, 0.4, 3.0]
    time = np.arange(frames)[:, None] * 0.2 * motion
    for joint in sorted(range(len(skeleton.joints)), key=lambda joint: skeleton.hops[joint])[1:]:
        below = -0.3 if "head" in skeleton.joints[joint] else 1.0
        rest = np.array([0.15 * skeleton.side(joint), -below, 0.1 * rng.normal()])
        direction = rest + 0.15 * np.sin(time * rng.uniform(0.5, 1.5, 3) + rng.uniform(0, 6, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        joints[:, joint] = joints[:, skeleton.parents[joint]] + rng.uniform(0.15, 0.3) * direction
    return joints


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_nw_ucla(root: Path, name: str, joints: Array, label: int) -> Path:
    table = {"file_name": name, "skeletons": joints.tolist(), "label": label}
    return write(root / "all_sqe" / f"{name}.json", json.dumps(table))


def write_msr(root: Path, name: str, joints: Array) -> Path:
    rows = "".join(f"{x!r} {y!r} {z!r} 1.000000\n" for x, y, z in joints.reshape(-1, 3).tolist())
    return write(root / f"{name}_skeleton3D.txt", rows)


def write_ntu(path: Path, frames: int, bodies: Sequence[tuple[str, Sequence[int], Array]]) -> Path:
    """``bodies`` are (number, frames it is seen in, joints there); as Kinect v2's recorder wrote them, with CR LF."""
    lines = [str(frames)]
    for frame in range(frames):
        present = [(number, joints[list(seen).index(frame)]) for number, seen, joints in bodies if frame in seen]
        lines.append(str(len(present)))
        for number, joints in present:
            lines += [f"{number} 0 1 1 1 1 0 0.0253 -0.108 2", str(len(joints))]
            lines += [
                f"{x!r} {y!r} {z!r} 257.9 167.3 980.1 405.5 0.22 0.01 0.97 -0.02 2" for x, y, z in joints.tolist()
            ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\r\n".join([*lines, ""]).encode())
    return path


def write_kinetics(root: Path, clips: dict[str, list[list[tuple[Array, Array]]]], part: str = "train") -> None:
    """``clips``: frames, each a list of people (places (18, 2) in the picture, confidences (18,)), by id."""
    table = {}
    for label, (clip, frames) in enumerate(clips.items()):
        data = [
            {
                "frame_index": index + 1,
                "skeleton": [{"pose": p.reshape(-1).tolist(), "score": s.tolist()} for p, s in people],
            }
            for index, people in enumerate(frames)
        ]
        about = {"label": f"action {label}", "label_index": label}
        write(root / f"kinetics_{part}" / f"{clip}.json", json.dumps({"data": data, **about}))
        table[clip] = {"has_skeleton": True, **about}
    table["nobody"] = {"has_skeleton": False, "label": "action 0", "label_index": 0}
    write(root / f"kinetics_{part}_label.json", json.dumps(table))


def person(frames: int, seed: int = 0) -> list[tuple[Array, Array]]:
    """One person of each frame as OpenPose tells it: places (18, 2) within the picture, confidences (18,)."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0.2, 0.8, (18, 2))
    score = rng.uniform(0.3, 0.9, (frames, 18)).round(3)
    return [((start + 0.01 * frame).round(3), score[frame]) for frame in range(frames)]


def made_nw_ucla(root: Path, frames: Sequence[int] = (12, 30, 1, 70)) -> Path:
    """A whole small set: actions 1, 8 and 12, subjects 1 to 2, views 1 to 3, lengths taken in turn."""
    skeleton = topology("nw_ucla20")
    number = 0
    for action, label in ((1, 1), (8, 7), (12, 10)):
        for subject in (1, 2):
            for view in (1, 2, 3):
                joints = body(skeleton, frames[number % len(frames)], seed=number).round(6)
                write_nw_ucla(root, f"a{action:02d}_s{subject:02d}_e00_v{view:02d}", joints, label)
                number += 1
    return root


def made_ntu(root: Path) -> Path:
    """Clips of two people, of one, and one on the authors' list of missing skeletons."""
    skeleton = topology("ntu25")
    pair = [body(skeleton, 20, seed=seed, motion=seed) for seed in (1, 3)]
    every = range(20)
    ids = ("72057594037931691", "72057594037931692")
    write_ntu(root / "S001C001P001R001A050.skeleton", 20, [(i, every, b) for i, b in zip(ids, pair, strict=True)])
    write_ntu(root / "S001C002P003R001A001.skeleton", 20, [(ids[0], every, pair[0])])
    write_ntu(root / "S018C003P041R001A061.skeleton", 20, [(ids[0], every, pair[1])])
    write_ntu(root / f"{BROKEN_NTU}.skeleton", 3, [])
    return root
