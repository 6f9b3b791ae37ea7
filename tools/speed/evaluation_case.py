"""A whole test: every video decoded and embedded, 10,000 episodes matched, beside the plain way's episodes."""

import os
import time
from pathlib import Path

import torch

from fewdistill.benchmark.data.synthetic import EmbeddedSpec, generate
from fewdistill.benchmark.data.video.clips import ImageClips
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.episodes import ClassIndex, Episodes, draw
from fewdistill.benchmark.evaluation.matching import embed, match, project
from fewdistill.benchmark.runtime.machine import peak_memory_mib
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.students.trunks import IMAGENET_MEAN, IMAGENET_STD
from tools.speed import plain
from tools.speed.cases import CASES, Bench, Case, Sample
from tools.speed.network_cases import student

_CPU = torch.device("cpu")


def test_split(bench: Bench) -> VideoFolder:
    """A split of jpg clips of the real size: ``filmed`` different ones, linked until there are ``test_videos``."""
    sizes = bench.sizes
    source, root = bench.folder / "filmed", bench.folder / "split"
    spec = EmbeddedSpec(
        size=sizes.resize, frames=sizes.frames, clips_per_class=-(-sizes.filmed // sizes.test_classes),
        train_classes=sizes.test_classes, val_classes=1, test_classes=1,
    )  # fmt: skip
    generate(source, spec, workers=torch.get_num_threads())
    filmed = sorted((source / "l8" / "rgb_l8").glob("*/v*"))[: sizes.filmed]
    videos = [f"class{i % sizes.test_classes:02d}/v{i // sizes.test_classes:04d}" for i in range(sizes.test_videos)]
    for number, video in enumerate(videos):
        _link(filmed[number % len(filmed)], root / "l8" / "rgb_l8" / video)
    return VideoFolder(
        root, frames=sizes.frames, image_size=sizes.image_size, resize=sizes.resize,
        lists={"train": (), "val": (), "test": videos},
    )  # fmt: skip


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.mkdir(parents=True)
    for frame in source.iterdir():
        os.link(frame, target / frame.name)


def _episodes(bench: Bench, folder: VideoFolder) -> Episodes:
    sizes = bench.sizes
    index = ClassIndex.of(list(folder.by_class("test").values()))
    rng = generator(0, "speed")
    return draw(index, way=sizes.way, shot=sizes.shot, query=1, episodes=sizes.episodes, rng=rng)


def _ours(bench: Bench) -> Sample:
    sizes, folder = bench.sizes, test_split(bench)
    episodes, module = _episodes(bench, folder), student(bench.sizes, "resnet18").eval()
    module.encoder.to(memory_format=torch.channels_last)
    reader = ImageClips(
        lambda video, _: folder.raw(video), sizes.image_size, False, (IMAGENET_MEAN, IMAGENET_STD), _CPU
    )
    start = time.perf_counter()
    tokens = embed(module.encoder, folder.videos("test"), reader.frames, sizes.frames, _CPU)
    embedded = time.perf_counter() - start
    logits = match(module.head, project(module.head, tokens), episodes)
    seconds = time.perf_counter() - start
    return Sample(
        (seconds,), len(episodes), peak_memory_mib(), logits[: sizes.plain_episodes].numpy(),
        f"embedding {embedded:.0f} s, matching {seconds - embedded:.0f} s of {seconds:.0f} s",
    )  # fmt: skip


def _plain(bench: Bench) -> Sample:
    sizes, folder = bench.sizes, test_split(bench)
    episodes, module = _episodes(bench, folder), student(bench.sizes, "resnet18").eval()
    videos = folder.videos("test")
    seconds, logits = [], []
    for index in range(sizes.plain_episodes):
        start = time.perf_counter()
        support = [videos[row] for row in episodes.support[index].ravel()]
        query = [videos[row] for row in episodes.query[index].ravel()]
        logits.append(plain.episode_logits(module, folder, support, query, sizes.way))
        seconds.append(time.perf_counter() - start)
    return Sample(
        tuple(seconds), 1, peak_memory_mib(), torch.stack(logits).numpy(), f"from {len(seconds)} of its episodes"
    )


CASES.register("evaluation: 10,000 episodes, ResNet18, decode included")(
    Case("episode", {"plain": _plain, "ours": _ours}, aims={"ours": 200}, rounds=1)
)
