"""Reading: feature rows from the cache, drawing episodes, optical flow."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.data.video.pack_writer import plan, write
from fewdistill.benchmark.episodes import ClassIndex, draw
from fewdistill.feature_cache import Entry, Key, Store
from fewdistill.teachers.modalities.flow import Flow
from tools.speed import plain
from tools.speed.cases import CASES, Bench, Case, Sample, Side, timed
from tools.speed.evaluation_case import test_split

_READS = 50


def _rows(bench: Bench) -> tuple[list[str], np.ndarray]:
    sizes = bench.sizes
    videos = [f"c/v{i:05d}" for i in range(sizes.cached_videos)]
    rng = np.random.default_rng(0)
    return videos, rng.standard_normal((len(videos), sizes.frames, sizes.width), dtype=np.float32)


def _orders(bench: Bench) -> list[np.ndarray]:
    sizes, rng = bench.sizes, np.random.default_rng(1)
    wanted = sizes.way * (sizes.shot + sizes.query)
    return [rng.choice(sizes.cached_videos, wanted, replace=False) for _ in range(_READS)]


def _entry(bench: Bench) -> Entry:
    videos, rows = _rows(bench)
    entry = Store(bench.folder / "cache").entry(Key("speed", {"rows": 0}), row_shape=rows.shape[1:], dtype="float32")
    place = {video: row for row, video in enumerate(videos)}
    for shard in entry.plan(videos):
        entry.write(shard, rows[[place[video] for video in shard.ids]])
    return entry


def _gather(bench: Bench) -> Sample:
    entry, (videos, _) = _entry(bench), _rows(bench)
    names = [[videos[row] for row in order] for order in _orders(bench)]

    def work() -> list[np.ndarray]:
        return [entry.gather(wanted) for wanted in names]

    return Sample(
        timed(bench.sizes, lambda: [entry.gather(wanted).shape for wanted in names]), _READS, values=work()[0]
    )


def _load_each(bench: Bench) -> Sample:
    videos, rows = _rows(bench)
    folder = bench.folder / "files"
    for video, row in zip(videos, rows, strict=True):
        _save(folder / f"{video}.npy", row)
    paths = [[folder / f"{videos[row]}.npy" for row in order] for order in _orders(bench)]

    def read(order: list[Path]) -> np.ndarray:
        return np.stack([np.load(path, allow_pickle=False) for path in order])

    return Sample(timed(bench.sizes, lambda: [read(order).shape for order in paths]), _READS, values=read(paths[0]))


def _save(path: Path, row: np.ndarray) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, row)


def _draw(bench: Bench) -> Sample:
    sizes = bench.sizes
    rows = np.arange(sizes.train_videos)
    index = ClassIndex.of([rows[rows % sizes.train_classes == label] for label in range(sizes.train_classes)])
    rng = np.random.default_rng(0)

    def work() -> object:
        return draw(index, way=sizes.way, shot=sizes.shot, query=sizes.query, episodes=1, rng=rng)

    return Sample(timed(sizes, work))


def _scan(bench: Bench) -> Sample:
    sizes = bench.sizes
    labels = [row % sizes.train_classes for row in range(sizes.train_videos)]
    rng = np.random.default_rng(0)
    return Sample(timed(sizes, lambda: plain.draw_by_scanning(labels, sizes.way, sizes.shot + sizes.query, rng)))


def _some(bench: Bench, pack: Path | None) -> VideoFolder:
    """The first ``packed_videos`` of the split, from their jpg files or from a pack of them."""
    split, sizes = test_split(bench), bench.sizes
    return VideoFolder(
        split.root, frames=sizes.frames, image_size=sizes.image_size, resize=sizes.resize, pack=pack,
        lists={"train": (), "val": (), "test": split.videos("test")[: sizes.packed_videos]},
    )  # fmt: skip


def _clips(packed: bool) -> Side:
    def side(bench: Bench) -> Sample:
        folder = _some(bench, None)
        if packed:
            out = bench.folder / "pack"
            write(plan(folder, out), workers=1)
            folder = _some(bench, out)
        videos = folder.videos("test")
        seconds = timed(bench.sizes, lambda: [folder.clip(video).shape for video in videos])
        return Sample(seconds, len(videos), values=folder.clip(videos[-1]).astype(np.float32))

    return side


def _flow_clip(bench: Bench) -> np.ndarray:
    folder = test_split(bench)
    return folder.clip(folder.videos("test")[0])


def _flow(bench: Bench) -> Sample:
    clip = _flow_clip(bench)
    cv2.setNumThreads(1)
    return Sample(timed(bench.sizes, lambda: Flow().field(clip)), len(clip) - 1)


def _farneback(bench: Bench) -> Sample:
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in _flow_clip(bench)]
    cv2.setNumThreads(1)

    def work() -> None:
        for now, after in pairwise(grey):
            cv2.calcOpticalFlowFarneback(now, after, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]

    return Sample(timed(bench.sizes, work), len(grey) - 1)


CASES.register("cache: rows of an episode")(
    Case("episode", {"plain": _load_each, "ours": _gather}, aims={"ours": 15}, tolerance=0)
)
CASES.register("loading: clips of 8 jpg frames, one thread (ours: packed)")(
    Case("clip", {"plain": _clips(packed=False), "ours": _clips(packed=True)}, tolerance=0)
)
CASES.register("sampling: an episode of 77,500 videos")(Case("episode", {"plain": _scan, "ours": _draw}))
CASES.register("flow: pairs of frames, one thread (plain: Farneback)")(
    Case("pair", {"plain": _farneback, "ours": _flow})
)
