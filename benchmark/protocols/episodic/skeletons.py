"""A suite of episodes on skeleton clips, opened: its classes divided, its networks' stages.

A network is trained by labels on the training classes, then in episodes, with a teacher's outputs where its setting has
one. A teacher is any network of the suite, trained before.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.dataset import SPLITS, all_videos
from fewdistill.benchmark.data.skeletons.dataset import Indices, SkeletonClips, StreamClips
from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet
from fewdistill.benchmark.evaluation.frozen import FrozenEpisodes
from fewdistill.benchmark.evaluation.matching import exact_float32
from fewdistill.benchmark.protocols.episodic.settings import head_settings, selection_settings
from fewdistill.benchmark.protocols.episodic.skeleton_suite import SkeletonEpisodicSuite
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.stage import CachedRows, Stage
from fewdistill.benchmark.suite.distillation import options
from fewdistill.benchmark.suite.networks import NO_TEACHER
from fewdistill.benchmark.suite.registry import code_of
from fewdistill.benchmark.training.clips import train_clips
from fewdistill.benchmark.training.episodic import train_episodes, validator
from fewdistill.benchmark.training.teacher_outputs import TeacherOutputs
from fewdistill.benchmark.training.train_stage import summary_of
from fewdistill.feature_cache import Key
from fewdistill.students.backbones import LABEL_BRANCH
from fewdistill.students.few_shot import FewShotSkeleton
from fewdistill.students.output import EpisodeOutput
from fewdistill.students.registry import nearest

BASE_VERSION = EPISODES_VERSION = TOKENS_VERSION = 1
T = TypeVar("T")


@dataclass(frozen=True)
class JoinedData:
    """The clips of one data set, or of two joined.

    own_classes: how many classes are of the first; trained_on: hash of the first set's files.
    """

    clips: SkeletonSet
    own_classes: int
    trained_on: str


class SkeletonRun:
    """One version of a suite, with its clips and its run folder. variant: its name, "" for the suite itself."""

    def __init__(
        self, suite: SkeletonEpisodicSuite, joined: JoinedData, context: RunContext, variant: str = ""
    ) -> None:
        self.suite, self.joined, self.context, self.variant = suite, joined, context, variant
        classes = split_labels(suite, joined)
        parts = {name: np.flatnonzero(np.isin(joined.clips.labels, found)) for name, found in classes.items()}
        self.data = SkeletonClips(joined.clips, parts, classes, suite.recipe_of_clips, context.device)
        self.frozen = FrozenEpisodes(self.data, suite.evaluate, context.runs / "episodes")
        self._made: dict[object, Any] = {}

    def versions(self) -> list["SkeletonRun"]:
        """The suite itself and its variants: the same clips and run folder."""
        others = (SkeletonRun(s, self.joined, self.context, name) for name, s in self.suite.versions() if name)
        return self.made("versions", lambda: [self, *others])

    def made(self, key: object, make: Callable[[], T]) -> T:
        """What ``make`` gave for this key, made once."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _labelled(self, split: str) -> list[Any]:
        return [self.data.videos(split), self.joined.clips.labels[self.data.parts[split]].tolist()]

    @cached_property
    def data_settings(self) -> dict[str, Any]:
        """What a trained network saw, or was selected by: contents of the files, clips by part, their sampling."""
        digests = {s: hashlib.sha256(json.dumps(self._labelled(s)).encode()).hexdigest() for s in ("train", "val")}
        layout = code_of("layouts", self.suite.data.layout)
        return {"content": self.joined.trained_on, **digests, "sampling": self.data.sampling_identity, **layout}

    @cached_property
    def content_hash(self) -> str:
        """Of all files and of the clips of every split."""
        listed = [self.joined.clips.content_hash, *(self._labelled(split) for split in SPLITS)]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    def new_network(self, network: str, seed: int) -> FewShotSkeleton:
        """A fresh network with its head; initial weights by (seed, network), the same for every setting."""
        with torch_scope(torch.device("cpu"), seed, "init", "skeleton head", network):
            head = self.suite.new_head(network)
        return FewShotSkeleton(self.data.new_network(network, seed), head, token_norm=self.suite.token_norm)

    def stream_of(self, network: str) -> str:
        """What a network reads."""
        return self.suite.teacher_stream or self.suite.stream if network == self.suite.teacher else self.suite.stream

    def trained(self, network: str, setting: str, seed: int) -> FewShotSkeleton:
        """The finished network, on the device, in eval mode."""
        model = self.new_network(network, seed)
        model.load_state_dict(network_stage(self, network, setting, seed).weights())
        return model.to(self.context.device).eval()

    @torch.no_grad()
    def tokens(self, model: FewShotSkeleton, network: str, indices: Indices) -> dict[str, Tensor]:
        """Tokens of clips without augmentation, float32 (N, T', width) by branch, on the device, in eval mode."""
        model.eval()
        with exact_float32():
            found = [model.tokens(joints) for joints in self.data.test_batches(indices, self.stream_of(network))]
        return {name: torch.cat([tokens[name] for tokens in found]) for name in found[0]}

    def validator(self, model: FewShotSkeleton, network: str) -> Callable[[], float]:
        """Scores a network in training on the frozen validation episodes."""
        return validator(model, self.frozen, lambda: self.tokens(model, network, self.data.parts["val"]))


def _selection(run: SkeletonRun) -> dict[str, Any]:
    """How weights are selected, and by which matching rule."""
    rule = {"head": head_settings(run.suite.head), "token_norm": run.suite.token_norm}
    return {**selection_settings(run.suite.evaluate), **rule}


def base_stage(run: SkeletonRun, network: str, seed: int) -> Stage:
    """A network's training by labels, which all its settings share."""
    return run.made(("base", network, seed), lambda: _base_stage(run, network, seed))


def _base_stage(run: SkeletonRun, network: str, seed: int) -> Stage:
    suite, stream = run.suite, run.stream_of(network)
    settings = {
        "data": run.data_settings,
        "stream": stream,
        "network": network,
        **code_of("skeletons", network),
        "recipe": suite.recipe.model_dump(mode="json"),
        "selection": _selection(run) if suite.recipe.select == "best" else None,
        "bf16": network in suite.bf16,
        "seed": seed,
    }

    def train(stage: Stage) -> None:
        model = run.new_network(network, seed).to(run.context.device)
        progress = train_clips(
            run.context, stage, model.encoder, run.data, suite.recipe, run.validator(model, network),
            stream=stream, seed=seed, name=network, title=f"{network} (seed {seed}), labels",
            bf16=network in suite.bf16,
        )  # fmt: skip
        if run.context.rank0:
            stage.finish(model.encoder.state_dict(), summary_of(progress))

    batch = min(suite.recipe.batch, len(run.data.parts["train"]) * suite.recipe.repeat)
    return Stage(
        "skeleton-base", BASE_VERSION, settings, run.context.runs, f"{network}-{stream}-s{seed}", train,
        divides=((batch, "recipe.batch"),),
    )  # fmt: skip


def network_stage(run: SkeletonRun, network: str, setting: str, seed: int) -> Stage:
    """A network's whole training: by labels, then in episodes as its setting says."""
    return run.made(("network", network, setting, seed), lambda: _network_stage(run, network, setting, seed))


def _network_stage(run: SkeletonRun, network: str, setting: str, seed: int) -> Stage:
    suite, teacher = run.suite, run.suite.teacher_of(network, setting)
    base, config = base_stage(run, network, seed), suite.episodic_of(network)
    learns = None if teacher is None else network_stage(run, *teacher, seed)
    loss = suite.loss_of(network, setting)
    settings = {
        "base": base,
        "teacher": learns,
        "distiller": None
        if loss is None
        else {"name": loss, **options(loss, suite.distiller.get(loss, {})), **code_of("distillers", loss)},
        "episodic": config.model_dump(mode="json"),
        "selection": _selection(run),
        "seed": seed,
    }
    cached = () if teacher is None or learns is None else (learns, tokens_stage(run, *teacher, seed))
    return Stage(
        "skeleton-episodes",
        EPISODES_VERSION,
        settings,
        run.context.runs,
        f"{network}-{run.stream_of(network)}-{setting.strip(NO_TEACHER) or 'teacher'}-s{seed}",
        partial(_train_in_episodes, run, network, setting, seed),
        (base, *cached),
        divides=((config.accumulate, f"{suite.episodic_key(network)}.accumulate"),) if config.episodes else (),
    )


def token_rows(run: SkeletonRun, network: str, setting: str, seed: int) -> CachedRows:
    """The tokens of every clip by a finished network, float32 (T', width)."""
    key = Key("tokens", {"network": network_stage(run, network, setting, seed).key, "content": run.content_hash})

    def shape() -> tuple[int, int]:
        encoder = run.data.new_network(network, seed)
        return encoder.token_frames(run.data.recipe.frames), encoder.width

    return CachedRows(run.context.cache, key, shape, "float32", all_videos(run.data))


def tokens_stage(run: SkeletonRun, network: str, setting: str, seed: int) -> Stage:
    """The cached tokens of every clip by a finished network."""
    trained = network_stage(run, network, setting, seed)

    def begin() -> Callable[[tuple[str, ...]], NDArray[Any]]:
        model = run.trained(network, setting, seed)
        return lambda videos: run.tokens(model, network, run.data.indices(videos))[LABEL_BRANCH].cpu().numpy()

    return token_rows(run, network, setting, seed).stage(
        "tokens", TOKENS_VERSION, {"network": trained}, run.context.runs, trained.label, begin, (trained,)
    )


def _train_in_episodes(run: SkeletonRun, network: str, setting: str, seed: int, stage: Stage) -> None:
    suite, context = run.suite, run.context
    model = run.new_network(network, seed)
    model.encoder.load_state_dict(base_stage(run, network, seed).weights())
    model = model.to(context.device)
    distiller = suite.distiller_of(network, setting)
    learner = suite.learner(model, distiller).to(context.device)
    outputs = teacher_outputs(run, network, setting, seed, distiller.reads) if distiller.reads else None

    def loss(output: EpisodeOutput, rows: Tensor, support: Tensor, queries: Tensor, way: int) -> dict[str, Tensor]:
        return distiller(output, None if outputs is None else outputs(rows, support, support, way), queries)

    progress = train_episodes(
        context, stage, model, learner, run.data, StreamClips(run.data, run.stream_of(network)),
        suite.episodic_of(network), loss, run.validator(model, network), seed=seed,
        role="teacher" if network == suite.teacher else "student", name=f"skeleton-episodes-{network}",
        title=f"{network}, {setting} (seed {seed}), episodes", bf16=network in suite.bf16,
    )  # fmt: skip
    if context.rank0:
        stage.finish(model.state_dict(), summary_of(progress))


def teacher_outputs(run: SkeletonRun, network: str, setting: str, seed: int, reads: frozenset[str]) -> TeacherOutputs:
    """A setting's teacher on training episodes, as far as its loss ``reads``."""
    teacher = run.suite.teacher_of(network, setting)
    assert teacher is not None  # a loss that reads one is only of settings with a teacher
    rows = token_rows(run, *teacher, seed).open().gather(run.data.videos("train"))
    tokens = torch.from_numpy(rows)
    head = run.trained(*teacher, seed).head
    streams = {teacher[0]: tokens} if "streams" in reads else {}
    return TeacherOutputs(head, tokens, run.context.device, tokens if "tokens" in reads else None, streams)


def split_labels(suite: SkeletonEpisodicSuite, joined: JoinedData) -> dict[str, tuple[int, ...]]:
    """Labels of each split's classes, ascending; DataError for a class that has no clip, or is not new to the test."""
    other, split = suite.test_data, suite.data.division
    clips, first = joined.clips, joined.own_classes
    ours = clips.classes[:first]
    there = set(clips.labels.tolist())

    def found(names: tuple[str, ...], known: tuple[str, ...], start: int) -> tuple[int, ...]:
        for name in names:
            if name not in known or known.index(name) + start not in there:
                raise DataError(f"no clip of class {name!r}: {nearest(name, known)}")
        return tuple(sorted(known.index(name) + start for name in names))

    labels = {name: found(names, ours, 0) for name, names in (("train", split.train), ("val", split.val))}
    if other is None:
        return {**labels, "test": found(split.test, ours, 0)}
    theirs = clips.classes[first:]
    found(other.leave_out, theirs, first)
    tested = tuple(name for name in theirs if name not in other.leave_out and theirs.index(name) + first in there)
    if shared := sorted(set(tested) & {*split.train, *split.val}):
        raise DataError(f"class {shared[0]!r} is in both data sets, and not new: name it in test_data.leave_out")
    return {**labels, "test": found(tested, theirs, first)}
