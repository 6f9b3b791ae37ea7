"""Suites of videos: as the command opens them, or on a small generated data set, whatever data they ask for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fewdistill.benchmark.api import load_suite
from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.synthetic import EmbeddedSpec, generate
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.graph.protocol import RunOptions
from fewdistill.benchmark.protocols.episodic.opening import OpenedVideos, open_videos
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.feature_cache import Entry, Store
from fewdistill.teachers.modalities import Expert


def video_suite(name_or_path: str | Path, changes: Sequence[str] = ()) -> Suite:
    """A suite of videos, read and checked."""
    suite = load_suite(str(name_or_path), changes)
    assert isinstance(suite, Suite)
    return suite


def small_folder(root: Path, train: int = 2, val: int = 1, test: int = 1, clips: int = 2) -> VideoFolder:
    """So many classes a split of so many clips: four frames of 32 pixels, with depth and joints."""
    spec = EmbeddedSpec(
        size=32, frames=4, clips_per_class=clips, train_classes=train, val_classes=val, test_classes=test
    )
    generate(root, spec, workers=1)
    return VideoFolder(root, frames=4, image_size=32, resize=32, list_number=3)


def run_on(folder: VideoFolder, suite: Suite, home: Path) -> VideoRun:
    """The suite on these videos; its run folder and its cache are in ``home``."""
    context = RunContext(home / "runs", Store(home / "cache"), torch.device("cpu"))
    return VideoRun(suite, folder, context)


def opened(path: Path, *changes: str, runs: str = "runs", **options: Any) -> OpenedVideos:
    """The suite of a file as the command opens it, with runs and data beside the file."""
    asked = RunOptions(path.parent / runs, path.parent / "data", "cpu", **options)
    return open_videos(video_suite(path, changes), asked)


def version(run: VideoRun, variant: str) -> VideoRun:
    """The run of one variant of a suite."""
    return next(found for found in run.versions() if found.variant == variant)


def small_shards(run: VideoRun, expert: Expert, rows: int) -> Entry:
    """An expert's entry of clips, made anew for shards of a few rows: an entry that is there keeps its own."""
    cached, store = run.clip_rows(expert), run.context.cache
    if (entry := store.find(cached.key)) is not None:
        store.remove(entry.folder.name)
    return store.entry(cached.key, row_shape=cached.row(), dtype=cached.dtype, rows_per_shard=rows)
