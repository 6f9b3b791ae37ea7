"""Embedding frames, and a whole training episode with its memory, beside the plain way."""

from collections.abc import Callable, Sequence

import numpy as np
import psutil
import torch
from torch import Tensor

from fewdistill.benchmark.cost.published_trx import PublishedTRX
from fewdistill.benchmark.data.video.clips import ImageClips
from fewdistill.benchmark.evaluation.matching import embed, project
from fewdistill.benchmark.runtime.machine import peak_memory_mib
from fewdistill.benchmark.suite.distillation import distiller
from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.heads.trx import TRX
from fewdistill.students.output import EpisodeOutput, support_distances
from fewdistill.students.trunks import IMAGENET_MEAN, IMAGENET_STD
from tools.speed import plain
from tools.speed.cases import CASES, Bench, Case, Sample, Side, Sizes, timed

_CPU = torch.device("cpu")


def student(sizes: Sizes, backbone: str) -> FewShotStudent:
    """A two-branch student with a TRX head at random weights, the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = TokenEncoder(backbone, sizes.width, token_norm=True)
        head = TRX(sizes.width, sizes.frames, head_width=sizes.head_width, dropout=0.0, logit_scale=0.01)
        return FewShotStudent(encoder, head, sizes.frames)


def film(sizes: Sizes, videos: int) -> dict[str, np.ndarray]:
    """Clips of noise in memory, uint8 (T, R, R, 3), by video."""
    rng = np.random.default_rng(0)
    side = sizes.resize
    return {f"c/v{i}": rng.integers(0, 256, (sizes.frames, side, side, 3), dtype=np.uint8) for i in range(videos)}


def in_memory(sizes: Sizes, clips: dict[str, np.ndarray]) -> ImageClips:
    """The suite's reader over clips in memory."""
    return ImageClips(lambda video, _: clips[video], sizes.image_size, False, (IMAGENET_MEAN, IMAGENET_STD), _CPU)


def _embedding(backbone: str, ours: bool) -> Side:
    def side(bench: Bench) -> Sample:
        sizes = bench.sizes
        encoder = student(sizes, backbone).encoder.eval()
        clips = film(sizes, sizes.batch_frames // sizes.frames)
        if ours:
            encoder.to(memory_format=torch.channels_last)
            ready = in_memory(sizes, clips).frames(list(clips)).unflatten(0, (-1, sizes.frames))
            place = {video: row for row, video in enumerate(clips)}

            def frames(videos: Sequence[str]) -> Tensor:
                return ready[place[videos[0]] : place[videos[-1]] + 1].flatten(0, 1)

            rows = embed(encoder, list(clips), frames, sizes.frames, _CPU)
            seconds = timed(sizes, lambda: embed(encoder, list(clips), frames, sizes.frames, _CPU))
        else:
            batch = plain.network_input(list(clips.values()), sizes.image_size)
            with torch.no_grad():
                rows = plain.tokens(encoder, batch, sizes.frames)
                seconds = timed(sizes, lambda: plain.tokens(encoder, batch, sizes.frames))
        return Sample(seconds, sizes.batch_frames, values=next(iter(rows.values())).numpy())

    return side


def _training(ours: bool, bf16: bool = False, micro_frames: int = 0, backbone: str = "resnet18") -> Side:
    """One episode from clips in memory to gradients: augmentation aside, everything a step does but the update."""

    def side(bench: Bench) -> Sample:
        sizes = bench.sizes
        module = student(sizes, backbone).train()
        support, queries = sizes.way * sizes.shot, sizes.way * sizes.query
        clips = film(sizes, support + queries)
        labels = torch.arange(sizes.way).repeat_interleave(sizes.shot)
        asked = torch.arange(sizes.way).repeat_interleave(sizes.query)
        taught = torch.randn(support + queries, sizes.frames, sizes.width, generator=torch.Generator().manual_seed(1))
        with torch.random.fork_rng():
            torch.manual_seed(1)
            teacher = TRX(sizes.width, sizes.frames, head_width=sizes.head_width, logit_scale=0.01).eval()
        loss = distiller("d2m", {}, sizes.width)
        if ours:
            module.encoder.to(memory_format=torch.channels_last)
            module.micro_frames = micro_frames
            (keys,) = project(teacher, {"fused": taught})  # once per video, before training
            reader = in_memory(sizes, clips)

            def output() -> EpisodeOutput:
                return module(reader.frames(list(clips)), labels, sizes.way)

            def answer() -> Tensor:
                return teacher.match(
                    tuple(k[None, :support] for k in keys),
                    labels[None],
                    tuple(k[None, support:] for k in keys),
                    sizes.way,
                )[0]
        else:
            published = PublishedTRX(teacher)

            def output() -> EpisodeOutput:
                frames = plain.network_input(list(clips.values()), sizes.image_size)
                at = support * sizes.frames
                return plain.student_output(module, frames[:at], frames[at:], sizes.way)

            def answer() -> Tensor:
                return published(taught[:support], taught[support:], sizes.way) * teacher.logit_scale

        def work() -> None:
            module.zero_grad(set_to_none=True)
            with torch.no_grad():
                said = EpisodeOutput({"fused": answer()}, support_distances(taught[:support], labels, sizes.way), {})
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                parts = loss(output(), said, asked)
            parts["loss"].backward()

        return _with_memory(sizes, work)

    return side


def _with_memory(sizes: Sizes, work: Callable[[], None]) -> Sample:
    before = psutil.Process().memory_info().rss / 2**20
    work()
    peak = peak_memory_mib()
    short = Sizes(repeats=min(3, sizes.repeats), seconds=0)
    return Sample(timed(short, work, warm=True), memory_mib=peak - before)


for _backbone, _aim in (("resnet18", 2.5), ("mobilenetv3_large", 5.0), ("mobilenetv3_small", 5.0)):
    CASES.register(f"embedding: {_backbone}")(
        Case(
            "frame",
            {"plain": _embedding(_backbone, ours=False), "ours": _embedding(_backbone, ours=True)},
            aims={"ours": _aim},
            tolerance=1e-3,
        )
    )
CASES.register("training episode: ResNet18, D2M")(
    Case(
        "episode",
        {
            "plain": _training(ours=False),
            "one pass": _training(ours=True),
            "groups of 32 frames": _training(ours=True, micro_frames=32),
            "groups of 8 frames": _training(ours=True, micro_frames=8),
            "one pass, bfloat16": _training(ours=True, bf16=True),
            "groups of 32 frames, bfloat16": _training(ours=True, bf16=True, micro_frames=32),
        },
        aims={
            "one pass": 2, "groups of 32 frames": 2, "groups of 8 frames": 2,
            "one pass, bfloat16": 3, "groups of 32 frames, bfloat16": 3,
        },
        memory_aim=0.5,
        rounds=1,
    )
)  # fmt: skip
CASES.register("training episode: ResNet50, D2M, within 8 GiB")(
    Case(
        "episode",
        {
            f"groups of {count} frames": _training(ours=True, micro_frames=count, backbone="resnet50")
            for count in (32, 8)
        },
        against="groups of 32 frames",
        memory_limit_mib=8192,
        rounds=1,
    )
)
