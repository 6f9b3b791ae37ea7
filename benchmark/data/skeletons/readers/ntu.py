"""NTU RGB+D 60 and 120 (Shahroudy et al., CVPR 2016; Liu et al., TPAMI 2020), one `.skeleton` text file a clip."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import DataProblem, FileError
from fewdistill.benchmark.data.skeletons.layout import LAYOUTS, ClipEntry, Layout, Listing
from fewdistill.benchmark.data.skeletons.parse import REMEDY, checked_clip, read_text
from fewdistill.benchmark.data.skeletons.readers.ntu_bodies import Body, choose_two

NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
JOINTS, BODY_VALUES, JOINT_VALUES = 25, 10, 12
ACTIONS = 120
FOLDERS = (".", "nturgb+d_skeletons", "nturgb+d_skeletons120")  # the archives unpack into these names
MISSING = Path(__file__).with_name("ntu_missing.txt")


@LAYOUTS.register("ntu")
class NTU(Layout):
    """`SsssCcccPpppRrrrAaaa.skeleton`: Kinect v2 bodies, 25 joints in metres, any number of bodies a frame.

    At most two bodies come back, the one that moves most first (`ntu_bodies.choose_two`); frames without a body are
    dropped, as is usual. The 535 clips whose skeletons the data set's authors name as missing or incomplete are left
    out by name. Classes are A001 to A060, or to A120 when a file of the larger set is there.
    """

    topology = "ntu25"
    unit = "metres"
    origin = 1
    download = (
        "ask for NTU RGB+D (and 120) at https://rose1.ntu.edu.sg/dataset/actionRecognition, unpack "
        "nturgbd_skeletons_s001_to_s017.zip (and s018_to_s032) and put the .skeleton files, or the folders "
        "nturgb+d_skeletons and nturgb+d_skeletons120, into <folder>/"
    )

    def listing(self) -> Listing:
        entries, problems, left_out = [], [], {}
        missing = missing_clips()
        places: dict[str, Path] = {}
        for path in self.files(*FOLDERS, suffix=".skeleton", every=True):
            match = NAME.fullmatch(path.stem)
            setup, camera, subject, _, action = map(int, match.groups()) if match else (0, 0, 0, 0, 0)
            if not 1 <= action <= ACTIONS:
                message = f"not a clip of this data set: names are SsssCcccPpppRrrrAaaa, actions 1 to {ACTIONS}"
                problems.append(DataProblem(str(path), message, "move it out of the folder"))
            elif path.stem in missing:
                left_out[path.stem] = "missing or incomplete skeleton, by the authors' list"
            elif places.setdefault(path.stem, path) != path:
                problems.append(
                    DataProblem(str(path), f"the same clip as {places[path.stem]}", "remove one of the two")
                )
            else:
                entries.append(ClipEntry(path.stem, path, action - 1, subject, camera, setup))
        entries.sort(key=lambda entry: entry.id)
        count = ACTIONS if any(entry.label >= 60 for entry in entries) else 60
        classes = tuple(f"A{action:03d}" for action in range(1, count + 1))
        return Listing(tuple(entries), classes, left_out, tuple(problems))

    def read(self, path: Path) -> NDArray[np.float32]:
        return checked_clip(path, choose_two(path, *_parse(path)), self.skeleton)


def missing_clips() -> frozenset[str]:
    """Ids of the 535 clips (302 of them of NTU RGB+D 60) that the authors ask to ignore."""
    lines = (line.split(":") for line in MISSING.read_text().splitlines() if not line.startswith("#"))
    return frozenset(f"{clip}A{int(action):03d}" for clip, actions in lines for action in actions.split())


def _parse(path: Path) -> tuple[list[Body], int]:
    """(bodies in order of appearance, number of frames) of a `.skeleton` file; FileError names the broken line."""
    lines = read_text(path).splitlines()
    at = 0

    def count(what: str, most: int) -> int:
        nonlocal at
        if at >= len(lines):
            raise FileError(path, f"ends after line {at}: {what} expected", REMEDY)
        at += 1
        text = lines[at - 1].strip()
        if not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) <= most):
            raise FileError(path, f"line {at}: {text[:40]!r} is not {what}", REMEDY)
        return int(text)

    rows: list[list[str]] = []
    owners: dict[str, list[int]] = {}  # body id -> frames
    blocks: dict[str, list[int]] = {}  # body id -> number of its block of rows
    frames = count("a number of frames", len(lines))
    for frame in range(frames):
        for _ in range(count("a number of bodies", 100)):
            if at >= len(lines) or len(lines[at].split()) != BODY_VALUES:
                raise FileError(path, f"line {at + 1}: a body's {BODY_VALUES} values expected", REMEDY)
            body = lines[at].split()[0]
            at += 1
            joints = count("a number of joints", 1000)
            if joints != JOINTS:
                raise FileError(path, f"line {at}: {joints} joints, {JOINTS} needed", REMEDY)
            block = [line.split() for line in lines[at : at + JOINTS]]
            for line, values in enumerate(block, start=at + 1):
                if len(values) != JOINT_VALUES:
                    message = f"line {line}: a joint's {JOINT_VALUES} values expected, found {len(values)}"
                    raise FileError(path, message, REMEDY)
            if len(block) < JOINTS:
                raise FileError(path, f"ends after line {len(lines)}: a joint expected", REMEDY)
            while owners.get(body, [])[-1:] == [frame]:
                body += "'"  # one number twice in a frame: two bodies
            owners.setdefault(body, []).append(frame)
            blocks.setdefault(body, []).append(len(rows) // JOINTS)
            rows += [values[:3] for values in block]
            at += JOINTS
    if any(line.strip() for line in lines[at:]):
        raise FileError(path, f"line {at + 1}: more than the {frames} frames of the first line", REMEDY)
    try:
        places = np.array(rows, dtype=np.float64).reshape(-1, JOINTS, 3)
    except ValueError as error:
        raise FileError(path, f"not all joints are numbers ({error})", REMEDY) from None
    if not np.isfinite(places).all():
        body_number, joint = (int(place) for place in np.argwhere(~np.isfinite(places))[0][:2])
        raise FileError(path, f"joint {joint} of the file's body {body_number + 1} is not a finite number", REMEDY)
    return [Body(np.array(owners[body]), places[blocks[body]]) for body in owners], frames
