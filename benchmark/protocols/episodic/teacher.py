"""The stages of a teacher of videos: derived clips, one encoder a modality, cached tokens, fusion, fused tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fewdistill.benchmark.data.video.clips import Clips
from fewdistill.benchmark.data.video.derivation import derive
from fewdistill.benchmark.evaluation.matching import embed
from fewdistill.benchmark.protocols.episodic.settings import head_settings, selection_settings
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.stage import CachedRows, Stage
from fewdistill.benchmark.suite.registry import code_of
from fewdistill.benchmark.suite.sections import FusionConfig
from fewdistill.benchmark.training.base import recalibrate, train_base
from fewdistill.benchmark.training.episodic import (
    episodes_for,
    episodic_plan,
    labels_of,
    train_episodes,
    validator,
)
from fewdistill.benchmark.training.initial_weights import weights_identity
from fewdistill.benchmark.training.teacher_outputs import TEACHER_BRANCH
from fewdistill.benchmark.training.train_stage import summary_of, train_stage
from fewdistill.feature_cache import Key
from fewdistill.results.records.record import key_of
from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.distill.labels import LabelsOnly
from fewdistill.students.few_shot import FewShotStudent, episode_output
from fewdistill.students.heads.base import Head
from fewdistill.students.output import EpisodeOutput
from fewdistill.teachers.ensemble import ScoreFusion
from fewdistill.teachers.fusions.base import Fusion
from fewdistill.teachers.modalities import CoordinateExpert, Expert

ENCODER_VERSION = FUSION_VERSION = TOKENS_VERSION = CLIPS_VERSION = 1
_CE_ONLY = LabelsOnly(ce_branches=(TEACHER_BRANCH,))


def clips_stage(run: VideoRun, experts: tuple[Expert, ...]) -> Stage:
    """The cached clips of all videos by these experts; a video is read once for all of them."""
    cached = {expert: run.clip_rows(expert) for expert in experts}

    def make(number: int, parts: int, workers: int | None = 1) -> None:
        opens = {expert: rows.open for expert, rows in cached.items()}
        derive(run.data, run.all_videos, opens, part=(number, parts), workers=workers)

    digests = [rows.key.digest for rows in cached.values()]
    label = " ".join(expert.name for expert in experts)
    return Stage(
        "clips",
        CLIPS_VERSION,
        {"entries": digests},
        run.context.runs,
        label,
        lambda stage: make(1, 1, None),
        present=lambda: all(rows.complete() for rows in cached.values()),
        part=make,
        at=run.context.cache.root / f".derive-{key_of({'entries': digests})[:12]}",
    )


def derived_experts(run: VideoRun) -> tuple[Expert, ...]:
    """The experts of the teacher whose clips are cached: all but rgb, which is read from its files."""
    return tuple(run.expert(modality) for modality in run.suite.teacher.modalities if modality != "rgb")


def teacher_experts(run: VideoRun) -> tuple[Expert, ...]:
    """The experts of the teacher's modalities."""
    return tuple(run.expert(modality) for modality in run.suite.teacher.modalities)


def new_encoder(run: VideoRun, modality: str, seed: int) -> FewShotStudent:
    """A fresh single-branch encoder with a head, initial weights by (seed, modality)."""
    teacher, width, norm = run.suite.teacher.of(modality), run.suite.width, run.suite.token_norm
    expert = teacher.new_expert(modality)
    encoder: ClipEncoder
    with torch_scope(torch.device("cpu"), seed, "init", "encoder", modality):
        if isinstance(expert, CoordinateExpert):
            encoder = expert.encoder(run.data.skeleton, width, (TEACHER_BRANCH,), token_norm=norm)
        else:
            encoder = TokenEncoder(teacher.encoder, width, (TEACHER_BRANCH,), token_norm=norm)
            encoder.to(memory_format=torch.channels_last)
        model = FewShotStudent(
            encoder, new_head(run), run.suite.data.frames,
            passes=teacher.episodic.passes, micro_frames=teacher.episodic.micro_frames,
        )  # fmt: skip
        run.initial_weights(model, teacher.weights)
        return model


def new_head(run: VideoRun) -> Head:
    """The head that the suite names; initial weights from the surrounding torch scope."""
    return run.suite.head.new(run.suite.width, run.suite.data.frames)


def encoder_stage(run: VideoRun, modality: str, seed: int) -> Stage:
    """Supervised, then episodic training of one modality's encoder."""
    return run.made(("encoder", modality, seed), lambda: _encoder_stage(run, modality, seed))


def _encoder_stage(run: VideoRun, modality: str, seed: int) -> Stage:
    teacher, expert = run.suite.teacher.of(modality), run.expert(modality)
    network = teacher.network(modality)
    weights = teacher.weights if network == teacher.encoder else "random"
    settings = {
        "data": run.data_settings(expert),
        "modality": modality,
        "expert": expert.identity() | code_of("experts", modality),
        "backbone": network,
        **code_of("students" if network == teacher.encoder else "skeletons", network),
        "weights": weights_identity(network, weights),
        "width": run.suite.width,
        "token_norm": run.suite.token_norm,
        "head": head_settings(run.suite.head),
        "base": teacher.base.model_dump(mode="json"),
        "episodic": teacher.episodic.model_dump(mode="json"),
        "bf16": network in run.suite.bf16,
        "selection": selection_settings(run.suite.evaluate),
        "seed": seed,
    }
    base, episodic = teacher.base, teacher.episodic
    own = f"teacher.own.{modality}" if modality in run.suite.teacher.own else "teacher"
    divides = [(min(base.batch, len(run.data.videos("train"))), f"{own}.base.batch")] if base.epochs else []
    divides += [(episodic.accumulate, f"{own}.episodic.accumulate")] if episodic.episodes else []
    derived = derived_experts(run)
    return Stage(
        "encoder",
        ENCODER_VERSION,
        settings,
        run.context.runs,
        f"{modality}-s{seed}",
        partial(_train_encoder, run, modality, seed),
        (clips_stage(run, derived),) if derived else (),
        divides=tuple(divides),
        part_name=modality,
    )


def _train_encoder(run: VideoRun, modality: str, seed: int, stage: Stage) -> None:
    context, suite, data = run.context, run.suite, run.data
    teacher = suite.teacher.of(modality)
    clips, model = run.clips(teacher.new_expert(modality), teacher.encoder), new_encoder(run, modality, seed)
    bf16, role = teacher.network(modality) in suite.bf16, f"encoder-{modality}"
    base = train_base(
        context, stage, model.encoder, data, clips, teacher.base,
        frames=suite.data.frames, image_size=suite.data.image_size, seed=seed, name=role, bf16=bf16,
    )  # fmt: skip
    module = context.to_device(model, model.encoder, suite.data.image_size)

    def loss(output: EpisodeOutput, rows: Tensor, support: Tensor, labels: Tensor, way: int) -> dict[str, Tensor]:
        return _CE_ONLY(output, None, labels)

    progress = train_episodes(
        context, stage, module, module, data, clips, teacher.episodic, loss, embedding_validator(run, module, clips),
        seed=seed, role=role, name=role, title=f"teacher {modality}, episodes (seed {seed})", bf16=bf16,
    )  # fmt: skip
    if context.rank0:
        recalibrate(model.encoder, data, clips, suite.data.frames)
        stage.finish(model.state_dict(), summary_of(progress, base))


def embedding_validator(run: VideoRun, module: FewShotStudent, clips: Clips) -> Callable[[], float]:
    """Validation of a network that reads clips: its batch norm is recalibrated, then it embeds the split."""

    def embedded() -> dict[str, Tensor]:
        recalibrate(module.encoder, run.data, clips, run.suite.data.frames)
        return embed(module.encoder, run.data.videos("val"), clips.frames, run.suite.data.frames, run.context.device)

    return validator(module, run.frozen, embedded)


def token_rows(run: VideoRun, modality: str, seed: int) -> CachedRows:
    """Every video's tokens by one modality's encoder, float32 (T, D)."""
    content = run.content((run.expert(modality),))
    key = Key("tokens", {"encoder": encoder_stage(run, modality, seed).key, "content": content})
    shape = (run.suite.data.frames, run.suite.width)
    return CachedRows(run.context.cache, key, lambda: shape, "float32", run.all_videos)


def tokens_stage(run: VideoRun, modality: str, seed: int) -> Stage:
    """The cached tokens of every video by one modality's encoder."""
    encoder, expert = encoder_stage(run, modality, seed), run.expert(modality)

    def begin() -> Callable[[tuple[str, ...]], NDArray[Any]]:
        model = new_encoder(run, modality, seed)
        model.load_state_dict(encoder.weights())
        module, clips = model.encoder.to(run.context.device).eval(), run.clips(expert, run.suite.teacher.encoder)

        def rows(videos: tuple[str, ...]) -> NDArray[Any]:
            tokens = embed(module, videos, clips.frames, run.suite.data.frames, run.context.device)
            return tokens[TEACHER_BRANCH].cpu().numpy()

        return rows

    return token_rows(run, modality, seed).stage(
        "tokens", TOKENS_VERSION, {"encoder": encoder}, run.context.runs, f"{modality}-s{seed}", begin,
        (*encoder.needs, encoder),
    )  # fmt: skip


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
        return _CE_ONLY(output, None, query_labels)

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
