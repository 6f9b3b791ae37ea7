"""The last stages of a teacher of videos: the fusion of its encoders' tokens, and the cached fused tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fewdistill.benchmark.protocols.episodic.encoders import (
    CE_ONLY,
    TOKENS_VERSION,
    encoder_stage,
    new_head,
    teacher_experts,
    token_rows,
    tokens_stage,
)
from fewdistill.benchmark.protocols.episodic.settings import head_settings, selection_settings
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.stage import CachedRows, Stage
from fewdistill.benchmark.suite.registry import code_of
from fewdistill.benchmark.suite.sections import FusionConfig
from fewdistill.benchmark.training.episodic import (
    episodes_for,
    episodic_plan,
    labels_of,
    validator,
)
from fewdistill.benchmark.training.teacher_outputs import TEACHER_BRANCH
from fewdistill.benchmark.training.train_stage import summary_of, train_stage
from fewdistill.feature_cache import Key
from fewdistill.students.few_shot import episode_output
from fewdistill.students.heads.base import Head
from fewdistill.teachers.ensemble import ScoreFusion
from fewdistill.teachers.fusions.base import Fusion

FUSION_VERSION = 1


def fusion_stage(run: VideoRun, seed: int) -> Stage:
    """Training of fusion and head on the cached tokens of the training classes."""
    return run.made(("fusion", seed), lambda: _fusion_stage(run, seed))


def _fusion_stage(run: VideoRun, seed: int) -> Stage:
    config, modalities = run.suite.teacher.fusion, run.suite.teacher.modalities
    settings = {
        "encoders": [encoder_stage(run, modality, seed) for modality in modalities],
        "width": run.suite.width,
        "head": head_settings(run.suite.head),
        "fusion": {
            **config.model_dump(mode="json", exclude=FusionConfig.unread_by(config.name)),
            **code_of("fusions", config.name),
        },
        "selection": selection_settings(run.suite.evaluate),
        "seed": seed,
    }
    return Stage(
        "fusion",
        FUSION_VERSION,
        settings,
        run.context.runs,
        f"s{seed}",
        partial(_train_fusion, run, seed),
        tuple(tokens_stage(run, modality, seed) for modality in modalities),
        divides=((config.accumulate, "teacher.fusion.accumulate"),) if config.episodes else (),
    )


class FusionTeacher(nn.Module):
    """A fusion and its head over cached modality tokens (k, N, T, D)."""

    def __init__(self, run: VideoRun) -> None:
        super().__init__()
        weights = run.suite.score_weights
        self.fusion = run.suite.new_fusion()
        self.head = ScoreFusion(lambda: new_head(run), weights) if weights else new_head(run)


def _train_fusion(run: VideoRun, seed: int, stage: Stage) -> None:
    context, data, config = run.context, run.data, run.suite.teacher.fusion
    with torch_scope(torch.device("cpu"), seed, "init", "fusion"):
        module = FusionTeacher(run).to(context.device)
    episodes = episodes_for(data, config, seed, "fusion")
    train_tokens, val_tokens = (modality_tokens(run, seed, data.videos(split)) for split in ("train", "val"))
    support_labels, query_labels = labels_of(episodes, context.device)

    def loss(step: int, micro: int) -> dict[str, Tensor]:
        rows = torch.from_numpy(episodes.rows(step * config.accumulate + micro)).to(context.device)
        fused = module.fusion(train_tokens[:, rows])
        output = episode_output({TEACHER_BRANCH: fused}, module.head, support_labels, episodes.way)
        return CE_ONLY(output, None, query_labels)

    validate = validator(module, run.frozen, lambda: {TEACHER_BRANCH: module.fusion(val_tokens, "cached")})
    progress = train_stage(
        context, stage, module, episodic_plan(config, seed, "fusion", loss, validate, context), part="episodic",
        title=f"teacher fusion, episodes (seed {seed})", episodes=config.accumulate,
    )  # fmt: skip
    if context.rank0:
        stage.finish(module.state_dict(), summary_of(progress))


def modality_tokens(run: VideoRun, seed: int, videos: tuple[str, ...]) -> Tensor:
    """Cached tokens of some videos, float32 (k, N, T, D) on the device, modalities in the suite's order."""
    each = (token_rows(run, modality, seed).open().gather(videos) for modality in run.suite.teacher.modalities)
    return torch.stack([torch.from_numpy(tokens) for tokens in each]).to(run.context.device)


@dataclass(frozen=True)
class Teacher:
    """A trained teacher: fusion and head, in eval mode on the device."""

    fusion: Fusion
    head: Head


def load_teacher(run: VideoRun, seed: int) -> Teacher:
    """The finished teacher of a seed; its weights are loaded, never drawn again."""
    module = FusionTeacher(run)
    module.load_state_dict(fusion_stage(run, seed).weights())
    module = module.to(run.context.device).eval().requires_grad_(False)
    return Teacher(module.fusion, module.head)


def fused_rows(run: VideoRun, seed: int) -> CachedRows:
    """Every video's fused tokens, float32 (T, out_width)."""
    key = Key("tokens", {"fusion": fusion_stage(run, seed).key, "content": run.content(teacher_experts(run))})
    frames = run.suite.data.frames
    return CachedRows(
        run.context.cache, key, lambda: (frames, run.suite.new_fusion().out_width), "float32", run.all_videos
    )


def fused_stage(run: VideoRun, seed: int) -> Stage:
    """The cached fused tokens of every video."""
    fusion = fusion_stage(run, seed)

    def begin() -> Callable[[tuple[str, ...]], NDArray[Any]]:
        module = load_teacher(run, seed).fusion

        @torch.no_grad()
        def rows(videos: tuple[str, ...]) -> NDArray[Any]:
            return module(modality_tokens(run, seed, videos), "cached").cpu().numpy()

        return rows

    return fused_rows(run, seed).stage(
        "fused", TOKENS_VERSION, {"fusion": fusion}, run.context.runs, f"s{seed}", begin, (*fusion.needs, fusion)
    )
