"""Checks a skeleton data set: a summary of its clips, and all its problems."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewdistill.benchmark.data.problem import DataProblem
from fewdistill.benchmark.data.skeletons.layout import ClipEntry
from fewdistill.benchmark.data.skeletons.skeleton_set import LeftOut, Progress, open_layout, read_clips
from fewdistill.benchmark.data.skeletons.splits import published_split, split_names
from fewdistill.benchmark.runtime.errors import DataError


@dataclass(frozen=True)
class SkeletonSummary:
    """A data set in numbers: clips by class, the values of what splits ask for, lengths in frames, joints, bodies.

    ``lengths`` are the shortest, mean and longest; ``splits`` the clips to train and to test of the published splits
    that this folder allows.
    """

    layout: str
    clips: int
    left_out: dict[str, str]
    classes: dict[str, int]
    subjects: list[int]
    views: list[int]
    setups: list[int]
    parts: list[str]
    joints: int
    bodies: int
    unit: str
    lengths: tuple[int, float, int]
    splits: dict[str, tuple[int, int]]


def check(root: Path | str, layout: str, progress: Progress | None = None) -> tuple[SkeletonSummary, list[DataProblem]]:
    """Read every clip of a data set; its summary, of the clips that can be read, and all problems.

    FileError when the folder is not there or holds no clip, DataError for an unknown layout.
    """
    folder = open_layout(root, layout)
    listing = folder.listing()
    problems, left_out = list(listing.problems), dict(listing.left_out)
    entries: list[ClipEntry] = []
    frames: list[int] = []
    bodies = 0
    clips = read_clips(folder, layout, listing.entries, None, progress)
    for entry, clip in zip(listing.entries, clips, strict=True):
        if isinstance(clip, LeftOut):
            left_out[entry.id] = clip.message
            continue
        if isinstance(clip, DataProblem):
            problems.append(clip)
            continue
        entries.append(entry)
        frames.append(len(clip))
        bodies = max(bodies, clip.shape[3])
    if not entries and not problems:
        problems.append(DataProblem(str(folder.root), "all clips are left out", folder.download))
    counts = Counter(entry.label for entry in entries)
    splits = {}
    for name in split_names(layout):
        try:
            train, test = published_split(entries, layout, name)
        except DataError:
            continue  # its subjects or cameras are not all here; the counts show it
        splits[name] = (len(train), len(test))
    summary = SkeletonSummary(
        layout=layout,
        clips=len(entries),
        left_out=left_out,
        classes={name: counts[label] for label, name in enumerate(listing.classes)},
        subjects=sorted({entry.subject for entry in entries if entry.subject is not None}),
        views=sorted({entry.view for entry in entries if entry.view is not None}),
        setups=sorted({entry.setup for entry in entries if entry.setup is not None}),
        parts=sorted({entry.part for entry in entries if entry.part}),
        joints=len(folder.skeleton.joints),
        bodies=bodies,
        unit=folder.unit,
        lengths=(min(frames, default=0), float(np.mean(frames)) if frames else 0.0, max(frames, default=0)),
        splits=splits,
    )
    return summary, problems


def lines(summary: SkeletonSummary) -> list[str]:
    """The summary for people, one fact a line."""
    present = [count for count in summary.classes.values() if count]
    shortest, mean, longest = summary.lengths
    spread = f"{min(present, default=0)} to {max(present, default=0)} a class"
    text = [
        f"{summary.clips} clips of {len(present)} classes, {spread}",
        f"{summary.joints} joints, {summary.bodies} bod{'y' if summary.bodies == 1 else 'ies'} at most, {summary.unit}",
        f"{shortest} to {longest} frames, {mean:.1f} on average",
    ]
    for name in ("subjects", "views", "setups", "parts"):
        values = getattr(summary, name)
        if values:
            text.append(f"{len(values)} {name}: {', '.join(map(str, values))}")
    text += [f"split {name}: {train} train, {test} test" for name, (train, test) in summary.splits.items()]
    shown = list(summary.left_out.items())[:3]
    more = f", and {len(summary.left_out) - 3} more" if len(summary.left_out) > 3 else ""
    if shown:
        text.append(f"left out: {'; '.join(f'{clip} ({reason})' for clip, reason in shown)}{more}")
    return text
