"""Kinetics-Skeleton (Yan et al., AAAI 2018): OpenPose's 18 joints of Kinetics-400, one JSON file a clip."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import DataProblem, FileError
from fewdistill.benchmark.data.skeletons.layout import LAYOUTS, ClipEntry, EmptyClipError, Layout, Listing
from fewdistill.benchmark.data.skeletons.parse import REMEDY, checked_clip, numbers, read_json

PARTS = ("train", "val")
PLAIN = re.compile(r"[\w-]+")
MOST_CLASSES, MOST_FRAMES = 10_000, 100_000
CONSIDERED, KEPT = 5, 2  # people of a frame looked at, and kept


@LAYOUTS.register("kinetics")
class Kinetics(Layout):
    """`kinetics_{train,val}/<id>.json` and `kinetics_{train,val}_label.json`, as released with ST-GCN.

    Channels are x and y as parts of the picture, moved by -0.5 so that its middle is 0, and OpenPose's confidence.
    A joint of confidence 0 is (0, 0, 0). Of the first five people of a frame the two of the highest summed confidence
    stay, the higher one first, frame by frame as published; frames without anybody stay as zeros, except at the ends.
    Clips that the label file says to have no skeleton, and those in which nobody is seen, are left out with the reason.
    """

    topology = "openpose18"
    unit = "parts of the picture, confidence"
    download = (
        "get kinetics-skeleton from the page of ST-GCN (https://github.com/yysijie/st-gcn) and unpack it, so that "
        "<folder>/kinetics_train/, kinetics_val/ and their _label.json files are there"
    )

    def listing(self) -> Listing:
        parts = [part for part in PARTS if (self.root / f"kinetics_{part}_label.json").is_file()]
        if not parts:
            raise FileError(self.root, "holds no kinetics_train_label.json or kinetics_val_label.json", self.download)
        entries, problems, left_out = [], [], {}
        names: dict[int, str] = {}
        for part in parts:
            source = self.root / f"kinetics_{part}_label.json"
            folder = self.root / f"kinetics_{part}"
            there = {path.name for path in folder.glob("[!.]*.json")}
            for clip, told in sorted(read_json(source).items()):
                fault = _fault(clip, told, names)
                if not fault and not told["has_skeleton"]:
                    left_out[clip] = "no skeleton, by the label file"
                elif not fault and f"{clip}.json" not in there:
                    problems.append(DataProblem(str(folder / f"{clip}.json"), "not found", "unpack the archive again"))
                elif not fault:
                    entries.append(ClipEntry(clip, folder / f"{clip}.json", told["label_index"], part=part))
                else:
                    problems.append(DataProblem(f"{source}: {clip[:60]}", fault, "copy the label file again"))
        classes = tuple(names.get(label, f"class {label}") for label in range(max(names, default=-1) + 1))
        return Listing(tuple(entries), classes, left_out, tuple(problems))

    def read(self, path: Path) -> NDArray[np.float32]:
        frames = read_json(path).get("data")
        if not isinstance(frames, list) or not frames:
            raise FileError(path, "'data' must be a list of frames", REMEDY)
        indices: list[int] = []
        for place, frame in enumerate(frames):
            index = frame.get("frame_index") if isinstance(frame, dict) else None
            if type(index) is not int or not 0 <= index < MOST_FRAMES or not isinstance(frame.get("skeleton"), list):
                raise FileError(path, f"entry {place} has no proper frame_index and skeleton list", REMEDY)
            indices.append(index)
        if len(set(indices)) < len(indices):
            raise FileError(path, f"frame {next(i for i in indices if indices.count(i) > 1)} is there twice", REMEDY)
        joints = np.zeros((max(indices) + 1, 18, 3, KEPT))
        for index, frame in zip(indices, frames, strict=True):
            people = [_person(path, index, person) for person in frame["skeleton"][:CONSIDERED]]
            people.sort(key=lambda person: -person[:, 2].sum())
            for place, person in enumerate(people[:KEPT]):
                joints[index, ..., place] = person
        seen = np.flatnonzero(joints.any(axis=(1, 2, 3)))
        if not len(seen):
            raise EmptyClipError(path, f"nobody is seen in any of {len(frames)} frames", REMEDY)
        return checked_clip(path, joints[seen[0] : seen[-1] + 1], self.skeleton)


def _fault(clip: str, told: Any, names: dict[int, str]) -> str:
    """What is wrong with one clip of a label file, "" when nothing is; enters the class's name."""
    if not PLAIN.fullmatch(clip):
        return "not a clip's id"
    if not isinstance(told, dict) or type(told.get("has_skeleton")) is not bool:
        return "has_skeleton is missing"
    label, name = told.get("label_index"), told.get("label")
    if type(label) is not int or not 0 <= label < MOST_CLASSES or not isinstance(name, str):
        return "label or label_index is missing"
    if names.setdefault(label, name) != name:
        return f"class {label} is {name!r} here and {names[label]!r} elsewhere"
    return ""


def _person(path: Path, frame: int, person: Any) -> NDArray[np.float64]:
    """x - 0.5, y - 0.5, confidence of one person, (18, 3); joints of confidence 0 are zeros."""
    if not isinstance(person, dict):
        raise FileError(path, f"frame {frame}: a person must have pose and score", REMEDY)
    places = numbers(path, f"frame {frame}: pose", person.get("pose"), (36,)).reshape(18, 2)
    score = numbers(path, f"frame {frame}: score", person.get("score"), (18,))[:, None]
    if not np.isfinite(places).all() or not ((score >= 0) & (score <= 2)).all():
        raise FileError(path, f"frame {frame}: a pose or confidence is out of range", REMEDY)
    return np.where(score > 0, np.concatenate([places - 0.5, score], axis=1), 0)
