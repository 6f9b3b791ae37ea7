"""The stages of a student of videos: base training, then episodes, each distilled as far as its setting says."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fewdistill.benchmark.protocols.episodic.encoders import (
    clips_stage,
    embedding_validator,
    new_head,
    token_rows,
    tokens_stage,
)
from fewdistill.benchmark.protocols.episodic.settings import head_settings, selection_settings
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.protocols.episodic.teacher import (
    FusionTeacher,
    fused_rows,
    fused_stage,
    fusion_stage,
    load_teacher,
)
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.stage import Stage
from fewdistill.benchmark.suite.distillation import Distillation, distillation, options
from fewdistill.benchmark.suite.registry import code_of
from fewdistill.benchmark.training.base import TokenTargets, recalibrate, train_base
from fewdistill.benchmark.training.episodic import train_episodes
from fewdistill.benchmark.training.head_warmup import warm_up_head
from fewdistill.benchmark.training.initial_weights import weights_identity
from fewdistill.benchmark.training.teacher_outputs import TEACHER_BRANCH, TeacherOutputs, shuffled_labels
from fewdistill.benchmark.training.train_stage import summary_of
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH, TokenEncoder
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.distill.base import Distiller
from fewdistill.students.distill.tokens import standardised_tokens, token_loss
from fewdistill.students.few_shot import FewShotStudent, with_support_labels
from fewdistill.students.output import EpisodeOutput
from fewdistill.teachers.modalities import CoordinateExpert

BASE_VERSION = STUDENT_VERSION = 1
_FIRST_WITH_BASE_TERMS = "d2m"
"""Bases with this loss's terms are named without it, as when there was no other."""


class Learner(nn.Module):
    """What one optimiser trains: a student, and the projector of a distiller that has one."""

    def __init__(self, student: nn.Module, distiller: Distiller) -> None:
        super().__init__()
        self.student = student
        self.distiller = distiller if isinstance(distiller, nn.Module) else None


def new_student(run: VideoRun, name: str, seed: int) -> FewShotStudent:
    """A fresh two-branch student; initial weights by (seed, student), the same for every distillation setting."""
    suite = run.suite.of(name)
    expert, norm = suite.student_expert(name), suite.token_norm
    encoder: ClipEncoder
    with torch_scope(torch.device("cpu"), seed, "init", "student", name):
        if isinstance(expert, CoordinateExpert):
            encoder = expert.encoder(run.data.skeleton, suite.width, (QUERY_BRANCH, LABEL_BRANCH), token_norm=norm)
        else:
            encoder = TokenEncoder(name, suite.width, token_norm=norm, patch_enrichment=suite.patch_enrichment)
            encoder.to(memory_format=torch.channels_last)
        student = FewShotStudent(
            encoder, new_head(run), suite.data.frames,
            passes=suite.episodic.passes, micro_frames=suite.episodic.micro_frames,
        )  # fmt: skip
        run.initial_weights(student, run.suite.weights)
        return student


def base_weights(suite: Suite, setting: Distillation) -> dict[str, float]:
    """The weights of what a setting distils in base training; empty for a plain one, or where weights are given.

    suite: as the student trains, see Suite.of. "relation" is of the distiller's own terms, see Distiller.base_terms.
    """
    weights = {"tokens": suite.base.token_weight if setting.tokens else 0.0}
    weights["relation"] = suite.base.relation_weight if suite.distiller_of(setting.distiller).base_reads else 0.0
    return {name: weight for name, weight in weights.items() if weight and suite.weights == "random"}


def reads_teacher(run: VideoRun, name: str, named: str) -> bool:
    """Whether a student's distillation setting has any use for a teacher."""
    setting = distillation(named)
    return setting.tokens or bool(run.suite.of(name).distiller_of(setting.distiller).reads)


def base_stage(run: VideoRun, name: str, named: str, seed: int) -> Stage:
    """A student's base training, which settings share that distil the same in it."""
    suite = run.suite.of(name)
    setting = distillation(named)
    weights = base_weights(suite, setting)
    loss = setting.distiller if "relation" in weights else ""
    return run.made(("base", name, *weights, loss, seed), lambda: _base_stage(run, suite, name, weights, loss, seed))


def _base_stage(run: VideoRun, suite: Suite, name: str, weights: dict[str, float], loss: str, seed: int) -> Stage:
    stream, expert, base = suite.base.token_target, suite.student_expert(name), suite.base
    reads_joints = isinstance(expert, CoordinateExpert)
    settings = {
        "data": run.data_settings(expert),
        "student": name,
        **({"expert": expert.identity() | code_of("experts", expert.name)} if reads_joints else {}),
        **code_of("skeletons" if reads_joints else "students", name),
        "weights": weights_identity(name, "random" if reads_joints else suite.weights),
        "width": suite.width,
        "token_norm": suite.token_norm,
        "patch_enrichment": suite.patch_enrichment,
        "base": base.model_dump(mode="json", exclude={"token_weight", "relation_weight", "token_target"}),
        "distilled": {
            **weights,
            **({"distiller": distiller_settings(suite, loss)} if loss not in ("", _FIRST_WITH_BASE_TERMS) else {}),
            "target": stream,
            "teacher": fusion_stage(run, seed),
        }
        if weights
        else {},
        "bf16": name in suite.bf16,
        "seed": seed,
    }
    trains = suite.weights == "random" and base.epochs > 0
    where = f"own.{name}.base.batch" if "batch" in getattr(run.suite.own.get(name), "base", {}) else "base.batch"
    return Stage(
        "base",
        BASE_VERSION,
        settings,
        run.context.runs,
        f"{name}-{'-'.join(weights) or 'plain'}-s{seed}",
        partial(_train_base, run, suite, name, weights, loss, seed),
        (*_clips_needs(run, name), *(_teacher_needs(run, seed, {stream}) if weights else ())),
        divides=((min(base.batch, len(run.data.videos("train"))), where),) if trains else (),
    )


def _clips_needs(run: VideoRun, name: str) -> tuple[Stage, ...]:
    expert = run.suite.of(name).student_expert(name)
    return (clips_stage(run, (expert,)),) if isinstance(expert, CoordinateExpert) else ()


def _teacher_needs(run: VideoRun, seed: int, streams: set[str]) -> tuple[Stage, ...]:
    """The stages behind a seed's teacher and its cached tokens of these streams."""
    own = tuple(tokens_stage(run, name, seed) for name in sorted(streams - {TEACHER_BRANCH}))
    return (fusion_stage(run, seed), fused_stage(run, seed), *own)


def teacher_tokens(run: VideoRun, seed: int, stream: str) -> Tensor:
    """A teacher's cached tokens of the training videos, float32 (V, T, D): fused, or of one modality."""
    rows = fused_rows(run, seed) if stream == TEACHER_BRANCH else token_rows(run, stream, seed)
    return torch.from_numpy(rows.open().gather(run.data.videos("train")))


def _train_base(
    run: VideoRun, suite: Suite, name: str, weights: dict[str, float], loss: str, seed: int, stage: Stage
) -> None:
    encoder = new_student(run, name, seed).encoder
    progress, targets = None, None
    if weights:
        tokens = standardised_tokens(teacher_tokens(run, seed, suite.base.token_target))
        distiller = suite.distiller_of(loss) if loss else None
        targets = TokenTargets(tokens, weights.get("tokens", 0.0), distiller, weights.get("relation", 0.0))
    if suite.weights == "random":
        progress = train_base(
            run.context, stage, encoder, run.data, run.clips(suite.student_expert(name), name), suite.base,
            frames=suite.data.frames, image_size=suite.data.image_size, seed=seed, name=name,
            bf16=name in suite.bf16, distilled=targets,
        )  # fmt: skip
    if run.context.rank0:
        stage.finish(encoder.state_dict(), summary_of(progress))


def student_stage(run: VideoRun, name: str, named: str, seed: int) -> Stage:
    """A student's episodic training from its base; named: the distillation setting."""
    return run.made(("student", name, named, seed), lambda: _student_stage(run, name, named, seed))


def _student_stage(run: VideoRun, name: str, named: str, seed: int) -> Stage:
    suite, setting = run.suite.of(name), distillation(named)
    reads = suite.distiller_of(setting.distiller).reads
    base, config = base_stage(run, name, named, seed), suite.episodic
    reads_tokens = (setting.tokens and config.token_weight) or "tokens" in reads
    taught = reads_teacher(run, name, named)
    settings = {
        "base": base,
        "distillation": named,
        "teacher": fusion_stage(run, seed) if taught else None,
        "head": head_settings(suite.head),
        "episodic": config.model_dump(mode="json", exclude=set() if setting.tokens else {"token_weight"}),
        "distiller": distiller_settings(suite, setting.distiller),
        "token_target": suite.base.token_target if reads_tokens else None,
        "switches": _switches(suite, reads),
        "selection": selection_settings(suite.evaluate),
        "seed": seed,
    }
    streams = {suite.base.token_target} if reads_tokens else set()
    streams |= set(suite.teacher.modalities) if "streams" in reads else set()
    own = "accumulate" in getattr(run.suite.own.get(name), "episodic", {})
    where = f"own.{name}.episodic.accumulate" if own else "episodic.accumulate"
    return Stage(
        "student",
        STUDENT_VERSION,
        settings,
        run.context.runs,
        f"{name}-{named}-s{seed}",
        partial(_train_student, run, suite, name, named, seed, base),
        (base, *_clips_needs(run, name), *(_teacher_needs(run, seed, streams) if taught else ())),
        divides=((config.accumulate, where),) if config.episodes else (),
    )


def distiller_settings(suite: Suite, name: str) -> dict[str, Any]:
    """A distiller's name, all its options, and the code of one that the suite brings."""
    return {"name": name, **options(name, suite.options_of(name)), **code_of("distillers", name)}


def _switches(suite: Suite, reads: frozenset[str]) -> dict[str, str]:
    """The switches that a loss with these readings depends on."""
    fields = {"teacher_head": "logits", "teacher_mode": "logits", "support_order": "support_distances"}
    return {name: getattr(suite.switches, name) for name, field in fields.items() if field in reads}


def _train_student(run: VideoRun, suite: Suite, name: str, named: str, seed: int, base: Stage, stage: Stage) -> None:
    context, data, config = run.context, run.data, suite.episodic
    setting, clips, model = (
        distillation(named),
        run.clips(suite.student_expert(name), name),
        new_student(run, name, seed),
    )
    model.encoder.load_state_dict(base.weights())
    distiller = suite.distiller_of(setting.distiller)
    module = context.to_device(model, model.encoder, suite.data.image_size)
    learner = Learner(module, distiller).to(context.device)
    loss = _episode_loss(run, suite, setting, distiller, seed)

    def recalibrated() -> None:
        recalibrate(module.encoder, data, clips, suite.data.frames)

    warmed = None
    if config.adapt_episodes and context.rank0:
        warmed = warm_up_head(
            context, stage, module, learner.distiller, data, clips, run.frozen, config, loss, recalibrated,
            seed=seed, name=name,
        )  # fmt: skip
    progress = train_episodes(
        context, stage, module, learner, data, clips, config, loss, embedding_validator(run, module, clips),
        seed=seed, role="student", name=f"student-{name}", title=f"{name}, {named}, episodes (seed {seed})",
        bf16=name in suite.bf16,
    )  # fmt: skip
    if context.rank0:
        recalibrated()
        stage.finish(module.state_dict(), summary_of(progress, warmed))


def _episode_loss(
    run: VideoRun, suite: Suite, setting: Distillation, distiller: Distiller, seed: int
) -> Callable[[EpisodeOutput, Tensor, Tensor, Tensor, int], dict[str, Tensor]]:
    """The whole loss of an episode: the distiller's, and token distillation beside it where the setting has that."""
    device, stream = run.context.device, suite.base.token_target
    outputs = teacher_outputs(run, seed, distiller.reads, stream) if distiller.reads else None
    weight = suite.episodic.token_weight if setting.tokens else 0.0
    targets = standardised_tokens(teacher_tokens(run, seed, stream)) if weight else None

    def loss(output: EpisodeOutput, rows: Tensor, support: Tensor, queries: Tensor, way: int) -> dict[str, Tensor]:
        drawn = support
        if suite.switches.support_order == "as_drawn":
            drawn = shuffled_labels(support, rows, seed)
            output = with_support_labels(output, drawn, way)
        parts = distiller(output, outputs(rows, support, drawn, way) if outputs is not None else None, queries)
        if targets is not None:
            parts["tokens"] = token_loss(output.tokens, targets[rows].to(device))
            parts["loss"] = parts["loss"] + weight * parts["tokens"]
        return parts

    return loss


def teacher_outputs(run: VideoRun, seed: int, reads: frozenset[str], token_target: str) -> TeacherOutputs:
    """A seed's teacher on training episodes, as far as a loss ``reads``; its tokens are of the stream token_target.

    The suite's switches can make the head untrained, or leave its dropout on.
    """
    head = load_teacher(run, seed).head
    if run.suite.switches.teacher_head == "random":
        with torch_scope(torch.device("cpu"), seed, "init", "random teacher head"):
            head = FusionTeacher(run).head.to(run.context.device).eval()
    streams = run.suite.teacher.modalities if "streams" in reads else ()
    return TeacherOutputs(
        head,
        teacher_tokens(run, seed, TEACHER_BRANCH),
        run.context.device,
        teacher_tokens(run, seed, token_target) if "tokens" in reads else None,
        {name: teacher_tokens(run, seed, name) for name in streams},
        run.suite.switches.teacher_mode == "train",
    )
