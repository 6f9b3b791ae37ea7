"""The teacher's stages: derive modality clips, train one encoder per modality, cache tokens, train the fusion."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fewdistill.benchmark.data.video.derivation import derive
from fewdistill.benchmark.evaluation.matching import embed
from fewdistill.benchmark.graph.place import Stage, standing
from fewdistill.benchmark.graph.tracked_stage import tracked
from fewdistill.benchmark.protocols.episodic import identity
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.training.base import base_stage, recalibrate
from fewdistill.benchmark.training.episodic import episode_pixels, episodes_for, labels_of, validator
from fewdistill.benchmark.training.loop import Plan, fit
from fewdistill.feature_cache import Entry, Key
from fewdistill.results.records.record import key_of
from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.distill.labels import LabelsOnly
from fewdistill.students.few_shot import FewShotStudent, episode_output
from fewdistill.students.heads.base import Head
from fewdistill.teachers.ensemble import ScoreFusion
from fewdistill.teachers.fusions.base import Fusion
from fewdistill.teachers.modalities import CoordinateExpert

TEACHER_BRANCH = "fused"
_CE_ONLY = LabelsOnly(ce_branches=(TEACHER_BRANCH,))


def new_encoder(ws: Workspace, modality: str, seed: int) -> FewShotStudent:
    """A fresh single-branch encoder with a head, initial weights by (seed, modality)."""
    teacher, width, norm = ws.suite.teacher.of(modality), ws.suite.width, ws.suite.token_norm
    expert = teacher.new_expert(modality)
    encoder: ClipEncoder
    with torch_scope(torch.device("cpu"), seed, "init", "encoder", modality):
        if isinstance(expert, CoordinateExpert):
            encoder = expert.encoder(ws.folder.skeleton, width, (TEACHER_BRANCH,), token_norm=norm)
        else:
            encoder = TokenEncoder(teacher.encoder, width, (TEACHER_BRANCH,), token_norm=norm)
            encoder.to(memory_format=torch.channels_last)
        model = FewShotStudent(
            encoder, new_head(ws), ws.suite.data.frames,
            passes=teacher.episodic.passes, micro_frames=teacher.episodic.micro_frames,
        )  # fmt: skip
        ws.initial_weights(model, teacher.weights)
        return model


def new_head(ws: Workspace) -> Head:
    """The head that the suite names; initial weights from the surrounding torch scope."""
    return ws.suite.head.new(ws.suite.width, ws.suite.data.frames)


def encoder_identity(ws: Workspace, modality: str, seed: int) -> dict[str, Any]:
    """What one modality's encoder is, known before it is trained."""
    expert = ws.suite.teacher.new_expert(modality).identity()
    return identity.encoder(ws.suite, ws.content_hash, modality, expert, seed)


def encoder_key(ws: Workspace, modality: str, seed: int) -> str:
    """sha256 hex that names one modality's encoder."""
    return key_of(encoder_identity(ws, modality, seed))


def fusion_identity(ws: Workspace, seed: int) -> dict[str, Any]:
    """What the fused teacher is, known before it is trained."""
    encoders = [encoder_key(ws, modality, seed) for modality in ws.suite.teacher.modalities]
    return identity.fusion(ws.suite, encoders, seed)


def teacher_key(ws: Workspace, seed: int) -> str:
    """sha256 hex that names a seed's teacher."""
    return key_of(fusion_identity(ws, seed))


def train_encoder(ws: Workspace, modality: str, seed: int) -> str:
    """Supervised, then episodic training of one modality's encoder; returns the identity of its weights."""
    out = encoder_stage(ws, modality, seed)
    with ws.stage_turn(out) as mine:
        if mine:
            encoder_training(ws, out, modality, seed)
    return out.key


def encoder_stage(ws: Workspace, modality: str, seed: int) -> Stage:
    """The stage of one modality's encoder."""
    return ws.stage("encoder", f"{modality}-s{seed}", encoder_identity(ws, modality, seed))


def encoder_training(ws: Workspace, out: Stage, modality: str, seed: int) -> None:
    """Train and finish an encoder's stage; whoever calls has the turn."""
    clips, suite = ws.clips(modality, ws.suite.teacher.encoder), ws.suite
    model = new_encoder(ws, modality, seed)
    teacher = suite.teacher.of(modality)
    bf16 = teacher.network(modality) in suite.bf16
    base = None
    if ws.leads:
        base = base_stage(ws, out, model.encoder, clips, teacher.base, seed, f"encoder-{modality}", bf16)
    config = teacher.episodic
    episodes = episodes_for(ws, config, seed, f"encoder-{modality}")
    pixels = episode_pixels(ws, clips, episodes, seed, f"encoder-{modality}")
    module = ws.place(model, model.encoder)

    def loss(step: int, micro: int) -> dict[str, Tensor]:
        index = step * config.accumulate + micro
        frames = clips.network_input(pixels(index))
        support_labels, query_labels = labels_of(episodes, ws.device)
        return _CE_ONLY(module(frames, support_labels, episodes.way), None, query_labels)

    plan = Plan(
        config,
        config.episodes // config.accumulate,
        seed,
        f"encoder-{modality}",
        loss,
        config.accumulate,
        bf16,
        validator(ws, module, clips),
        max(1, config.validate_every // config.accumulate),
        group=ws.group,
    )
    with (
        bar(f"teacher {modality}, episodes (seed {seed})") as tick,
        pixels,
        tracked(ws, out, "episodic", plan, episodes=config.accumulate) as track,
        ws.together("encoder", seed, modality),
    ):
        progress = fit(module, plan, out.path("episodic.pt"), ws.device, tick, track)
    if ws.leads:
        recalibrate(ws, model.encoder, clips)
        out.finish(model.state_dict(), progress, base)


def modality_tokens(ws: Workspace, modality: str, seed: int, trained: str) -> Entry:
    """Cached tokens of every video by one modality's encoder, float32 (T, D); trained: the encoder's key."""
    key = Key("tokens", {"encoder": trained, "content": ws.content_hash})
    entry = ws.store.entry(key, row_shape=(ws.suite.data.frames, ws.suite.width), dtype="float32")
    with ws.fill_turn(entry, f"{modality} tokens (seed {seed})") as mine:
        if mine:
            _fill_tokens(ws, entry, modality, seed, trained)
    return entry


def _fill_tokens(ws: Workspace, entry: Entry, modality: str, seed: int, trained: str) -> None:
    model = new_encoder(ws, modality, seed)
    model.load_state_dict(standing(ws.stage_by_key("encoder", trained)))
    module, clips = model.encoder.to(ws.device).eval(), ws.clips(modality, ws.suite.teacher.encoder)
    shards = entry.plan(ws.all_videos)
    with bar(f"tokens {modality} (seed {seed})", "shards") as tick:
        for number, shard in enumerate(shards):
            tokens = embed(module, shard.ids, clips.frames, ws.suite.data.frames, ws.device)
            entry.write(shard, tokens[TEACHER_BRANCH].cpu().numpy())
            tick(number + 1, len(shards))


class FusionTeacher(nn.Module):
    """A fusion and its head over cached modality tokens (k, N, T, D)."""

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        weights = ws.suite.score_weights
        self.fusion = ws.suite.new_fusion()
        self.head = ScoreFusion(lambda: new_head(ws), weights) if weights else new_head(ws)


@dataclass(frozen=True)
class Teacher:
    """A trained teacher on its cached tokens: what students distil from.

    tokens: entries of (T, D) a video, by modality and, under TEACHER_BRANCH, fused; head: the trained head, in eval
    mode, on the device.
    """

    stage: Stage
    tokens: dict[str, Entry]
    fusion: Fusion
    head: Head

    @property
    def key(self) -> str:
        """sha256 hex that names the teacher."""
        return self.stage.key


def train_fusion(ws: Workspace, entries: dict[str, Entry], seed: int) -> Stage:
    """Train fusion and head on cached tokens of the training classes; the finished stage holds the weights."""
    out = fusion_stage(ws, seed)
    with ws.stage_turn(out) as mine:
        if mine:
            fusion_training(ws, out, entries, seed)
    return out


def fusion_stage(ws: Workspace, seed: int) -> Stage:
    """The stage of a seed's fusion."""
    return ws.stage("fusion", f"s{seed}", fusion_identity(ws, seed))


def fusion_training(ws: Workspace, out: Stage, entries: dict[str, Entry], seed: int) -> None:
    """Train and finish a fusion's stage; whoever calls has the turn."""
    with torch_scope(torch.device("cpu"), seed, "init", "fusion"):
        module = FusionTeacher(ws).to(ws.device)
    config = ws.suite.teacher.fusion
    episodes = episodes_for(ws, config, seed, "fusion")
    train_tokens = _streams(ws, entries, ws.videos("train"))
    val_tokens = _streams(ws, entries, ws.videos("val"))

    def loss(step: int, micro: int) -> dict[str, Tensor]:
        index = step * config.accumulate + micro
        rows = torch.from_numpy(episodes.rows(index)).to(ws.device)
        support_labels, query_labels = labels_of(episodes, ws.device)
        fused = module.fusion(train_tokens[:, rows])
        output = episode_output({TEACHER_BRANCH: fused}, module.head, support_labels, episodes.way)
        return _CE_ONLY(output, None, query_labels)

    def tokens() -> dict[str, Tensor]:
        return {TEACHER_BRANCH: module.fusion(val_tokens, "cached")}

    plan = Plan(
        config,
        config.episodes // config.accumulate,
        seed,
        "fusion",
        loss,
        config.accumulate,
        False,
        validator(ws, module, None, tokens),
        max(1, config.validate_every // config.accumulate),
        group=ws.group,
    )
    with (
        bar(f"teacher fusion, episodes (seed {seed})") as tick,
        tracked(ws, out, "episodic", plan, episodes=config.accumulate) as track,
        ws.together("fusion", seed),
    ):
        progress = fit(module, plan, out.path("episodic.pt"), ws.device, tick, track)
    if ws.leads:
        out.finish(module.state_dict(), progress)


def fused_teacher(ws: Workspace, entries: dict[str, Entry], stage: Stage) -> Teacher:
    """The trained teacher with fused tokens of every video cached; its weights are loaded, never redrawn."""
    module = FusionTeacher(ws)
    module.load_state_dict(standing(stage))
    module = module.to(ws.device).eval().requires_grad_(False)
    key = fused_tokens_key(ws, stage)
    entry = ws.store.entry(key, row_shape=(ws.suite.data.frames, module.fusion.out_width), dtype="float32")
    with ws.fill_turn(entry, f"fused tokens {stage.folder.name}") as mine, torch.no_grad():
        for shard in entry.plan(ws.all_videos) if mine else ():
            entry.write(shard, module.fusion(_streams(ws, entries, shard.ids), "cached").cpu().numpy())
    return Teacher(stage, {**entries, TEACHER_BRANCH: entry}, module.fusion, module.head)


def fused_tokens_key(ws: Workspace, stage: Stage) -> Key:
    """Under which the fused tokens of every video are cached."""
    return Key("tokens", {"fusion": stage.key, "content": ws.content_hash})


def _streams(ws: Workspace, entries: dict[str, Entry], videos: tuple[str, ...]) -> Tensor:
    return torch.stack([torch.from_numpy(entry.gather(videos)) for entry in entries.values()]).to(ws.device)


def derive_clips(ws: Workspace) -> None:
    """The clips of all modalities of the teacher, of every video, but those that another process derives meanwhile."""
    cached = [modality for modality in ws.suite.teacher.modalities if modality != "rgb"]

    def missing() -> bool:
        return any(ws.clip_entry(modality).missing(ws.all_videos) for modality in cached)

    with ws.turn(ws.cache / f".derive-{ws.content_hash[:12]}", "the modality clips", missing) as mine:
        if mine:
            derive(ws)


def train_teacher(ws: Workspace, seed: int) -> Teacher:
    """All stages of one seed's teacher, each skipped when its output stands."""
    derive_clips(ws)  # all modalities before any training, so that a broken file is named first
    entries = {}
    for modality in ws.suite.teacher.modalities:
        entries[modality] = modality_tokens(ws, modality, seed, train_encoder(ws, modality, seed))
    return fused_teacher(ws, entries, train_fusion(ws, entries, seed))
