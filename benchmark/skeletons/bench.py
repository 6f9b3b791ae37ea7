"""A suite of skeleton networks opened: its clips in memory, the parts of its split, its run folder."""

import hashlib
import json
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.data.skeletons.feeder import RECIPES, Feeder, Recipe
from benchmark.data.skeletons.packed import SkeletonSet, load
from benchmark.data.skeletons.splits import split_by
from benchmark.data.skeletons.streams import stream
from benchmark.errors import DataError
from benchmark.place import Place
from benchmark.progress import bar
from benchmark.seeds import torch_scope
from benchmark.skeletons.suite import SkeletonData, SkeletonSuite
from benchmark.tracking import Trackers
from students.skeletons import SKELETONS, JointGraph, SkeletonNetwork

Places = NDArray[np.int64]


class Bench(Place):
    """A suite with its clips and its run folder. variant: the variant that the suite is, "" for the suite itself."""

    def __init__(
        self,
        suite: SkeletonSuite,
        clips: SkeletonSet,
        runs: Path,
        device: torch.device,
        variant: str = "",
        trackers: Trackers | None = None,
    ) -> None:
        super().__init__(runs, device, None, variant, trackers)
        self.suite: SkeletonSuite = suite
        self.clips = clips
        self.parts = parts(clips, suite.data)
        self._varied: dict[str, Bench] = {"": self}

    def varied(self, variant: str) -> "Bench":
        """The bench of a variant of the suite, with the same clips and run folder; "" is this one."""
        if variant not in self._varied:
            suite = self.suite.varied(variant)
            self._varied[variant] = Bench(suite, self.clips, self.runs, self.device, variant, self.trackers)
        return self._varied[variant]

    @property
    def recipe(self) -> Recipe:
        """How clips become a network's input."""
        data = self.suite.data
        recipe = RECIPES[data.layout]
        return recipe if data.frames is None else replace(recipe, frames=data.frames)

    @cached_property
    def feeder(self) -> Feeder:
        """Batches of the whole data set, on the run's device."""
        return Feeder(self.clips, self.recipe, self.device)

    def batch(self, places: Places, name: str, rng: np.random.Generator | None = None) -> Tensor:
        """Clips as the input of a network of the named stream, float32 (N, 3, T, V, M); ``rng`` in training."""
        return stream(self.feeder.batch(places, rng), name, self.clips.skeleton.parents)

    def labels(self, places: Places) -> Tensor:
        """Classes int64 (N,), on the run's device."""
        return torch.from_numpy(self.clips.labels[places]).to(self.device)

    def new_network(self, name: str, seed: int) -> SkeletonNetwork:
        """A fresh network; its initial weights belong to (seed, name), whatever it reads and learns from."""
        skeleton = self.clips.skeleton
        graph = JointGraph(len(skeleton.joints), skeleton.edges, skeleton.centre)
        with torch_scope(torch.device("cpu"), seed, "init", "skeleton", name):
            return SKELETONS[name](graph, len(self.clips.classes), bodies=self.clips.frames.shape[3])

    def identity(self) -> dict[str, Any]:
        """What a trained network saw: contents of the files, the clips of each part that trains, their sampling."""
        ids = {part: [self.clips.entries[place].id for place in self.parts[part]] for part in ("train", "val")}
        digests = {part: hashlib.sha256(json.dumps(names).encode()).hexdigest() for part, names in ids.items()}
        return {"content": self.clips.content_hash, **digests, "sampling": json.loads(json.dumps(asdict(self.recipe)))}

    @cached_property
    def test_hash(self) -> str:
        """Of the test clips' ids and classes, in order: what pairs records."""
        clips = [(self.clips.entries[place].id, int(self.clips.labels[place])) for place in self.parts["test"]]
        return hashlib.sha256(json.dumps(clips).encode()).hexdigest()


def parts(clips: SkeletonSet, data: SkeletonData) -> dict[str, Places]:
    """Places in the data set that train, validate and test, ascending; no clip is in two of them.

    Subjects that validate leave training altogether, and nothing of the test part validates. Raises DataError.
    """
    if data.split is not None:
        train, test = clips.split(data.split)
    else:
        assert data.split_by is not None
        train, test = split_by(clips.entries, data.split_by.field, data.split_by.train, data.split_by.test)
    subject = np.array([clips.entries[place].subject for place in train], object)
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


def read_clips(data: SkeletonData) -> SkeletonSet:
    """The whole data set in memory; DataError says what to download where there is none."""
    with bar(f"read {data.root}", "clips") as tick:
        return load(data.root, data.layout, progress=tick)
