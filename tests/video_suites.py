"""Suites of videos opened as the command opens them, and on data sets that are there."""

from pathlib import Path
from typing import Any

import torch

from fewdistill.benchmark.api import load_suite
from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.graph.protocol import RunOptions
from fewdistill.benchmark.protocols.episodic.opening import OpenedVideos, open_videos
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.feature_cache import Entry, Store
from fewdistill.teachers.modalities import Expert


def read_suite(path: Path, *changes: str) -> Suite:
    """A suite of videos from its file; changes are ``section.key=value``."""
    suite = load_suite(str(path), changes)
    assert isinstance(suite, Suite)
    return suite


def opened(path: Path, *changes: str, runs: str = "runs", **options: Any) -> OpenedVideos:
    """The suite of a file, opened with runs and data beside it."""
    asked = RunOptions(path.parent / runs, path.parent / "data", "cpu", **options)
    return open_videos(read_suite(path, *changes), asked)


def run_on(suite: Suite, folder: VideoFolder, runs: Path, cache: Path) -> VideoRun:
    """The run of a suite on a data set that is there."""
    return VideoRun(suite, folder, RunContext(runs, Store(cache), torch.device("cpu")))


def version(run: VideoRun, variant: str) -> VideoRun:
    """The run of one variant of a suite."""
    return next(found for found in run.versions() if found.variant == variant)


def small_shards(run: VideoRun, expert: Expert, rows: int) -> Entry:
    """An expert's entry of clips, made anew for shards of a few rows: an entry that is there keeps its own."""
    cached, store = run.clip_rows(expert), run.context.cache
    if cached.folder.exists():
        store.remove(cached.folder.name)
    return store.entry(cached.key, row_shape=cached.row(), dtype=cached.dtype, rows_per_shard=rows)
