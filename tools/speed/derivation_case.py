"""Deriving two modalities from the same frames: one after the other, together, and on all cores."""

import shutil
import time

import torch

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.protocols.episodic.derive import derive_clips
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.feature_cache import Store
from tools.speed.cases import CASES, Bench, Case, Sample, Side
from tools.speed.evaluation_case import test_split

_MODALITIES = ("flow", "gradient")


def _run(bench: Bench) -> VideoRun:
    split, sizes = test_split(bench), bench.sizes
    videos = split.videos("test")[: sizes.derived_videos]
    folder = VideoFolder(
        split.root, frames=sizes.frames, image_size=sizes.image_size, resize=sizes.resize,
        lists={"train": (), "val": (), "test": videos},
    )  # fmt: skip
    suite = Suite.model_validate(
        {
            "name": "speed",
            "data": {
                "source": "folder",
                "root": str(split.root),
                "frames": sizes.frames,
                "image_size": sizes.image_size,
            },
            "teacher": {"modalities": ["rgb", *_MODALITIES]},
        }
    )
    derived = bench.folder / "derived"
    shutil.rmtree(derived, ignore_errors=True)
    return VideoRun(suite, folder, RunContext(derived, Store(derived / "cache"), torch.device("cpu")))


def _side(together: bool, workers: int | None) -> Side:
    def side(bench: Bench) -> Sample:
        run = _run(bench)
        run.data.content_hash()  # read once for all the commands of a run
        start = time.perf_counter()
        for modalities in [_MODALITIES] if together else [(name,) for name in _MODALITIES]:
            made = derive_clips(run, modalities, workers=workers)
            assert all(entry.made == len(run.all_videos) for entry in made)
        seconds = time.perf_counter() - start
        shutil.rmtree(bench.folder / "derived")
        return Sample((seconds,), len(run.all_videos))

    return side


CASES.register("derivation: flow and gradient of 800 videos")(
    Case(
        "video",
        {
            "one modality after the other": _side(together=False, workers=1),
            "together, one process": _side(together=True, workers=1),
            "together, all cores": _side(together=True, workers=None),
        },
        against="one modality after the other",
        rounds=1,
    )
)
