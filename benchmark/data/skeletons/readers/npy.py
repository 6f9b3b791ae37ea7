"""A data set of one's own: joint files, a description of the skeleton, and if wanted a table of subjects and views."""

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import DataProblem, FileError
from fewdistill.benchmark.data.skeletons.layout import LAYOUTS, ClipEntry, Layout, Listing
from fewdistill.benchmark.data.skeletons.parse import checked_clip
from fewdistill.benchmark.data.video.joints import read_joints, read_skeleton
from fewdistill.teachers.modalities import Skeleton

TABLE = "clips.csv"
NUMBERS = ("subject", "view", "setup")


@LAYOUTS.register("npy")
class Npy(Layout):
    """`<class>/<clip>.npy`, float32 (T, V, 3, M), beside `skeleton.toml` with joints, edges, centre, left, right.

    `clips.csv`, if there, has a column `clip` (class/clip) and any of subject, view, setup (whole numbers) and part,
    for the splits that ask for them. The `joints` folder of a video data set is such a folder too.
    """

    topology = "skeleton.toml"
    unit = "as in the files"
    download = "write <class>/<clip>.npy, float32 (T, V, 3, M), and skeleton.toml there; the README has the format"

    def read_skeleton(self) -> Skeleton:
        return read_skeleton(self.root / "skeleton.toml", camera=False)

    def listing(self) -> Listing:
        classes = sorted(e.name for e in os.scandir(self.root) if e.is_dir() and not e.name.startswith("."))
        paths = {name: sorted((self.root / name).glob("[!.]*.npy")) for name in classes}
        classes = [name for name in classes if paths[name]]
        entries = {
            f"{name}/{path.stem}": ClipEntry(f"{name}/{path.stem}", path, label)
            for label, name in enumerate(classes)
            for path in paths[name]
        }
        if not entries:
            raise FileError(self.root, "holds no <class>/<clip>.npy", self.download)
        problems = self._describe(entries)
        return Listing(tuple(entries.values()), tuple(classes), problems=tuple(problems))

    def _describe(self, entries: dict[str, ClipEntry]) -> list[DataProblem]:
        """Enter what `clips.csv` tells into ``entries``; what is wrong with it comes back."""
        path = self.root / TABLE
        if not path.exists():
            return []
        problems = []
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = list(csv.DictReader(file, strict=True))
        except (OSError, ValueError, csv.Error) as error:
            return [DataProblem(str(path), f"not a readable table ({error})", "write it as UTF-8 CSV")]
        known = {"clip", "part", *NUMBERS}
        strange = sorted({str(name) for row in rows for name in row} - known)
        if strange or any(row.get("clip") is None for row in rows):
            message = f"unknown column {strange[0]!r}" if strange else "no column `clip`"
            return [DataProblem(str(path), message, f"the columns are clip, {', '.join(NUMBERS)}, part")]
        for line, row in enumerate(rows, start=2):
            entry = entries.get(row["clip"])
            texts = {name: row[name] for name in NUMBERS if row.get(name)}
            if entry is None or not all(
                text.isascii() and text.isdigit() and len(text) < 10 for text in texts.values()
            ):
                message = f"no clip {row['clip']!r}" if entry is None else "subject, view and setup are whole numbers"
                problems.append(DataProblem(f"{path}:{line}", message, "correct or drop the line"))
                continue
            told = {name: int(text) for name, text in texts.items()}
            entries[entry.id] = replace(entry, part=row.get("part") or "", **told)  # type: ignore[arg-type]
        return problems

    def read(self, path: Path) -> NDArray[np.float32]:
        return checked_clip(path, read_joints(path).astype(np.float64), self.skeleton)
