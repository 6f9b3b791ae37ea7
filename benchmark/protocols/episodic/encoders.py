"""The first stages of a teacher of videos: derived clips, one encoder a modality, cached tokens."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from fewdistill.benchmark.data.video.clips import Clips
from fewdistill.benchmark.data.video.derivation import derive
from fewdistill.benchmark.evaluation.matching import embed
from fewdistill.benchmark.protocols.episodic.settings import head_settings, selection_settings
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.stage import CachedRows, Stage
from fewdistill.benchmark.suite.registry import code_of
from fewdistill.benchmark.training.base import recalibrate, train_base
from fewdistill.benchmark.training.episodic import (
    train_episodes,
    validator,
)
from fewdistill.benchmark.training.initial_weights import weights_identity
from fewdistill.benchmark.training.teacher_outputs import TEACHER_BRANCH
from fewdistill.benchmark.training.train_stage import summary_of
from fewdistill.feature_cache import Key
from fewdistill.results.records.record import key_of
from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.distill.labels import LabelsOnly
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.heads.base import Head
from fewdistill.students.output import EpisodeOutput
from fewdistill.teachers.modalities import CoordinateExpert, Expert

ENCODER_VERSION = TOKENS_VERSION = CLIPS_VERSION = 1
CE_ONLY = LabelsOnly(ce_branches=(TEACHER_BRANCH,))


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
        return CE_ONLY(output, None, labels)

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
