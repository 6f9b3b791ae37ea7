"""A supervised suite, opened: the parts of its split, and the stages of its networks."""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.skeletons.dataset import Indices, SkeletonClips
from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet
from fewdistill.benchmark.data.skeletons.splits import split_by
from fewdistill.benchmark.protocols.supervised.suite import SkeletonData, SkeletonSuite
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.benchmark.stage import Stage
from fewdistill.benchmark.suite.networks import NO_TEACHER
from fewdistill.benchmark.suite.registry import code_of
from fewdistill.benchmark.training.clips import ClipTeacher, train_clips
from fewdistill.benchmark.training.train_stage import summary_of
from fewdistill.students.skeletons import SkeletonNetwork

NETWORK_VERSION = 1
T = TypeVar("T")


class SupervisedRun:
    """One version of a suite, with its clips and its run folder. variant: its name, "" for the suite itself."""

    def __init__(self, suite: SkeletonSuite, clips: SkeletonSet, context: RunContext, variant: str = "") -> None:
        self.suite, self.clips, self.context, self.variant = suite, clips, context, variant
        labels = tuple(range(len(clips.classes)))
        classes = dict.fromkeys(("train", "val", "test"), labels)
        self.data = SkeletonClips(clips, parts(clips, suite.data), classes, suite.data.recipe, context.device)
        self._made: dict[object, Any] = {}

    def versions(self) -> list["SupervisedRun"]:
        """The suite itself and its variants: the same clips and run folder."""
        others = (SupervisedRun(s, self.clips, self.context, name) for name, s in self.suite.versions() if name)
        return self.made("versions", lambda: [self, *others])

    def made(self, key: object, make: Callable[[], T]) -> T:
        """What ``make`` gave for this key, made once."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @cached_property
    def data_settings(self) -> dict[str, Any]:
        """What a trained network saw: contents of the files, the clips of each part that trains, their sampling."""
        ids = {part: list(self.data.videos(part)) for part in ("train", "val")}
        digests = {part: hashlib.sha256(json.dumps(names).encode()).hexdigest() for part, names in ids.items()}
        layout = code_of("layouts", self.suite.data.layout)
        return {"content": self.clips.content_hash, **digests, "sampling": self.data.sampling_identity, **layout}

    @cached_property
    def test_hash(self) -> str:
        """Of the test clips' ids and classes, in order: what pairs records."""
        labels = self.data.labels("test").tolist()
        listed = list(zip(self.data.videos("test"), labels, strict=True))
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    def trained(self, network: str, stream: str, setting: str, seed: int) -> SkeletonNetwork:
        """The finished network on the run's device, in eval mode."""
        model = self.data.new_network(network, seed)
        model.load_state_dict(network_stage(self, network, stream, setting, seed).weights())
        return model.to(self.context.device).eval()

    @torch.no_grad()
    def logits(self, network: SkeletonNetwork, stream: str, indices: Indices) -> NDArray[np.float32]:
        """Class logits float32 (N, classes) of clips without augmentation, from a network in eval mode."""
        batches = self.data.test_batches(indices, stream)
        return np.concatenate([network(joints).float().cpu().numpy() for joints in batches])


def parts(clips: SkeletonSet, data: SkeletonData) -> dict[str, Indices]:
    """Indices of the clips that train, validate and test, ascending; no clip is in two of them.

    Subjects that validate leave training altogether, and nothing of the test part validates. Raises DataError.
    """
    if data.split is not None:
        train, test = clips.split(data.split)
    else:
        assert data.split_by is not None
        train, test = split_by(clips.entries, data.split_by.field, data.split_by.train, data.split_by.test)
    subject = np.array([clips.entries[index].subject for index in train], object)
    held = np.isin(subject, data.val_subjects) if data.val_subjects else np.zeros(len(train), bool)
    there = sorted({value for value in subject if value is not None})
    if unknown := sorted(set(data.val_subjects) - set(there)):
        known = f"it has {', '.join(map(str, there))}" if there else "its clips tell no subject; leave it empty"
        raise DataError(f"data.val_subjects: {unknown[0]} is no subject of the training part: {known}")
    if held.all():
        raise DataError("data.val_subjects holds every subject of the training part: leave some to train")
    if lost := sorted(set(clips.labels[test]) - set(clips.labels[train[~held]])):
        raise DataError(f"class {clips.classes[lost[0]]!r} is tested, but no clip of it is left to train")
    return {"train": train[~held], "val": train[held], "test": test}


def network_stage(run: SupervisedRun, network: str, stream: str, setting: str, seed: int) -> Stage:
    """The training of a network on a stream, by labels or by a teacher trained before on the same stream."""
    key = ("network", network, stream, setting, seed)
    return run.made(key, lambda: _network_stage(run, network, stream, setting, seed))


def _network_stage(run: SupervisedRun, network: str, stream: str, setting: str, seed: int) -> Stage:
    suite, named = run.suite, run.suite.teacher_of(network, setting)
    teacher = None if named is None else network_stage(run, named[0], stream, named[1], seed)
    settings = {
        "data": run.data_settings,
        "stream": stream,
        "network": network,
        **code_of("skeletons", network),
        "recipe": suite.recipe.model_dump(mode="json"),
        "distilled": None if teacher is None else {"teacher": teacher, **suite.dkd.model_dump(mode="json")},
        "bf16": network in suite.bf16,
        "seed": seed,
    }

    def train(stage: Stage) -> None:
        model = run.data.new_network(network, seed).to(run.context.device)
        val = run.data.parts["val"]

        def validate() -> float:
            found = run.logits(model.eval(), stream, val)
            return float((found.argmax(1) == run.clips.labels[val]).mean())

        progress = train_clips(
            run.context, stage, model, run.data, suite.recipe, validate if len(val) else None, stream=stream,
            seed=seed, name=network, title=f"{network}-{stream}, {setting} (seed {seed})", bf16=network in suite.bf16,
            teacher=None if named is None else ClipTeacher(run.trained(named[0], stream, named[1], seed), suite.dkd),
        )  # fmt: skip
        if run.context.rank0:
            stage.finish(model.state_dict(), summary_of(progress))

    batch = min(suite.recipe.batch, len(run.data.parts["train"]) * suite.recipe.repeat)
    label = f"{network}-{stream}-{setting.strip(NO_TEACHER) or 'teacher'}-s{seed}"
    return Stage(
        "skeleton", NETWORK_VERSION, settings, run.context.runs, label, train,
        () if teacher is None else (teacher,), divides=((batch, "recipe.batch"),), part_name=stream,
    )  # fmt: skip
