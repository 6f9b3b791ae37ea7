"""The student's stages: base training shared by its settings, then episodes with or without distillation."""

from typing import Any

import torch
from torch import Tensor, nn

from fewdistill.benchmark.graph.place import Stage, standing
from fewdistill.benchmark.graph.tracked_stage import tracked
from fewdistill.benchmark.protocols.episodic import identity
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.protocols.episodic.teacher import Teacher, new_head, teacher_key
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.suite.distillation import Distillation, distillation
from fewdistill.benchmark.training.base import Taught, base_stage, recalibrate
from fewdistill.benchmark.training.episodic import episode_pixels, episodes_for, labels_of, validator
from fewdistill.benchmark.training.head_warmup import adapt
from fewdistill.benchmark.training.loop import Plan, fit
from fewdistill.benchmark.training.teacher_outputs import Answers, shuffled
from fewdistill.results.records.record import key_of
from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.distill.base import Distiller
from fewdistill.students.distill.tokens import standardised_tokens, token_loss
from fewdistill.students.few_shot import FewShotStudent, with_support_labels
from fewdistill.students.output import EpisodeOutput


class _Learner(nn.Module):
    """What one optimiser trains: a student, and the projector of a distiller that has one."""

    def __init__(self, student: nn.Module, distiller: Distiller) -> None:
        super().__init__()
        self.student = student
        self.distiller = distiller if isinstance(distiller, nn.Module) else None


def new_student(ws: Workspace, name: str, seed: int) -> FewShotStudent:
    """A fresh two-branch student; initial weights by (seed, student), the same for every distillation setting."""
    suite = ws.suite.of(name)
    with torch_scope(torch.device("cpu"), seed, "init", "student", name):
        encoder = TokenEncoder(name, suite.width, token_norm=suite.token_norm, patch_enrichment=suite.patch_enrichment)
        encoder.to(memory_format=torch.channels_last)
        student = FewShotStudent(
            encoder, new_head(ws), suite.data.frames,
            passes=suite.episodic.passes, micro_frames=suite.episodic.micro_frames,
        )  # fmt: skip
        ws.initial_weights(student, ws.suite.weights)
        return student


def train_base(ws: Workspace, name: str, setting: Distillation, seed: int, teacher: Teacher | None) -> str:
    """Base training of a student, distilled as far as the setting says; returns the weights' identity."""
    suite = ws.suite.of(name)
    weights = base_weights(suite, setting)
    stage = identity.base(suite, ws.content_hash, name, weights, teacher.key if teacher else None, seed)
    out = ws.stage("base", f"{name}-{'-'.join(weights) or 'plain'}-s{seed}", stage)
    with ws.stage_turn(out) as mine:
        if mine:
            _base_training(ws, out, name, weights, seed, teacher)
    return out.key


def _base_training(
    ws: Workspace, out: Stage, name: str, weights: dict[str, float], seed: int, teacher: Teacher | None
) -> None:
    suite = ws.suite.of(name)
    encoder = new_student(ws, name, seed).encoder
    progress, taught = None, None
    if weights:
        assert teacher is not None
        target = token_targets(ws, teacher, suite.base.token_target)
        taught = Taught(target, weights.get("tokens", 0.0), weights.get("relation", 0.0))
    if suite.weights == "random":
        progress = base_stage(
            ws,
            out,
            encoder,
            ws.clips("rgb", name),
            suite.base,
            seed,
            name,
            name in suite.bf16,
            taught,
        )
    out.finish(encoder.state_dict(), progress)


def base_weights(suite: Suite, setting: Distillation) -> dict[str, float]:
    """The weights of what a setting distils in base training; empty for a plain one, or where weights are given.

    suite: as the student trains, see Suite.of.
    """
    weights = {"tokens": suite.base.token_weight if setting.tokens else 0.0}
    weights["relation"] = suite.base.relation_weight if setting.distiller == "d2m" else 0.0
    return {name: weight for name, weight in weights.items() if weight and suite.weights == "random"}


def token_targets(ws: Workspace, teacher: Teacher, stream: str) -> Tensor:
    """What token distillation follows: standardised tokens (V_train, T, D) of one of the teacher's streams."""
    tokens = teacher.tokens[stream].gather(ws.videos("train"))
    return standardised_tokens(torch.from_numpy(tokens))


def student_identities(ws: Workspace, name: str, named: str, seed: int) -> tuple[str, dict[str, Any]]:
    """The base's key and the student's identity, known before anything is trained."""
    suite = ws.suite.of(name)
    setting = distillation(named)
    teacher = teacher_key(ws, seed) if reads_teacher(ws, name, named) else None
    base = identity.base(suite, ws.content_hash, name, base_weights(suite, setting), teacher, seed)
    return key_of(base), identity.student(suite, key_of(base), named, teacher, seed)


def reads_teacher(ws: Workspace, name: str, named: str) -> bool:
    """Whether a student's distillation setting has any use for a teacher."""
    setting = distillation(named)
    return setting.tokens or bool(ws.suite.of(name).distiller_of(setting.distiller).reads)


def train_student(ws: Workspace, name: str, named: str, seed: int, teacher: Teacher | None) -> Stage:
    """Episodic training from the base; the finished stage holds the selected weights.

    named: the distillation setting; teacher: needed by every setting that reads one.
    """
    out = student_stage(ws, name, named, seed)
    train_base(ws, name, distillation(named), seed, teacher)
    with ws.stage_turn(out) as mine:
        if mine:
            student_training(ws, out, name, named, seed, teacher)
    return out


def student_stage(ws: Workspace, name: str, named: str, seed: int) -> Stage:
    """The stage of a student's episodic training."""
    return ws.stage("student", f"{name}-{named}-s{seed}", student_identities(ws, name, named, seed)[1])


def student_training(ws: Workspace, out: Stage, name: str, named: str, seed: int, teacher: Teacher | None) -> None:
    """Train and finish a student's stage from its base; whoever calls has the turn."""
    base_key, setting = student_identities(ws, name, named, seed)[0], distillation(named)
    suite, clips = ws.suite.of(name), ws.clips("rgb", name)
    config = suite.episodic
    model = new_student(ws, name, seed)
    model.encoder.load_state_dict(standing(ws.stage_by_key("base", base_key)))
    distiller = suite.distiller_of(setting.distiller)
    module = ws.place(model, model.encoder)
    learner = _Learner(module, distiller).to(ws.device)
    episodes = episodes_for(ws, config, seed, "student")
    pixels = episode_pixels(ws, clips, episodes, seed, "student")
    stream = suite.base.token_target
    answers = (
        Answers.of(ws, teacher, distiller.reads, stream, seed) if teacher is not None and distiller.reads else None
    )
    token_weight = config.token_weight if setting.tokens else 0.0
    targets = token_targets(ws, teacher, stream) if teacher is not None and token_weight else None

    def episode_loss(
        output: EpisodeOutput, rows: Tensor, support_labels: Tensor, query_labels: Tensor, way: int
    ) -> dict[str, Tensor]:
        drawn = support_labels
        if suite.switches.support_order == "as_drawn":
            drawn = shuffled(support_labels, rows, seed)
            output = with_support_labels(output, drawn, way)
        taught = answers(rows, support_labels, drawn, way) if answers is not None else None
        parts = distiller(output, taught, query_labels)
        if targets is not None:
            parts["tokens"] = token_loss(output.tokens, targets[rows].to(ws.device))
            parts["loss"] = parts["loss"] + token_weight * parts["tokens"]
        return parts

    adapted = (
        adapt(ws, out, module, learner.distiller, clips, config, seed, name, episode_loss)
        if config.adapt_episodes and ws.leads
        else None
    )

    def loss(step: int, micro: int) -> dict[str, Tensor]:
        index = step * config.accumulate + micro
        frames = clips.network_input(pixels(index))
        support_labels, query_labels = labels_of(episodes, ws.device)
        output = module(frames, support_labels, episodes.way)
        return episode_loss(output, torch.from_numpy(episodes.rows(index)), support_labels, query_labels, episodes.way)

    plan = Plan(
        config,
        config.episodes // config.accumulate,
        seed,
        f"student-{name}",
        loss,
        config.accumulate,
        name in suite.bf16,
        validator(ws, module, clips),
        max(1, config.validate_every // config.accumulate),
        group=ws.group,
    )
    with (
        bar(f"{name}, {named}, episodes (seed {seed})") as tick,
        pixels,
        tracked(ws, out, "episodic", plan, episodes=config.accumulate) as track,
        ws.together("student", seed, name, named),
    ):
        progress = fit(learner, plan, out.path("episodic.pt"), ws.device, tick, track)
    if ws.leads:
        recalibrate(ws, module.encoder, clips)
        out.finish(module.state_dict(), progress, adapted)
