"""A suite of episodes on skeleton clips opened: its classes divided, its frozen episodes, what is cached."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewdistill.benchmark.data.skeletons.dataset import Places, SkeletonPlace, read_clips
from fewdistill.benchmark.data.skeletons.joined import joined
from fewdistill.benchmark.data.skeletons.sampling import SamplingConfig
from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet
from fewdistill.benchmark.protocols.episodic.place import SPLITS, EpisodicPlace
from fewdistill.benchmark.protocols.episodic.skeleton_suite import FewShotSuite
from fewdistill.benchmark.protocols.supervised.suite import recipe_of
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.tracking import Trackers
from fewdistill.feature_cache import Store
from fewdistill.students.few_shot import FewShotSkeleton
from fewdistill.students.registry import nearest


@dataclass(frozen=True)
class Material:
    """The clips of one data set, or of two joined.

    own_classes: how many classes are of the first; trained_on: hash of its files.
    """

    clips: SkeletonSet
    own_classes: int
    trained_on: str


class Arena(SkeletonPlace, EpisodicPlace):
    """A suite of episodes with its clips, its caches and its run folder."""

    suite: FewShotSuite

    def __init__(
        self,
        suite: FewShotSuite,
        material: Material,
        runs: Path,
        cache: Path,
        device: torch.device,
        variant: str = "",
        trackers: Trackers | None = None,
    ) -> None:
        self.material = material
        self.cache = cache
        self.store = Store(cache)
        self.split_labels = split_labels(suite, material)
        super().__init__(suite, material.clips, runs, device, variant, trackers)

    def with_suite(self, suite: FewShotSuite, variant: str) -> "Arena":
        return Arena(suite, self.material, self.runs, self.cache, self.device, variant, self.trackers)

    @property
    def recipe(self) -> SamplingConfig:
        return recipe_of(self.suite.data.layout, self.suite.data.frames)

    def divided(self) -> dict[str, Places]:
        return {name: np.flatnonzero(np.isin(self.clips.labels, found)) for name, found in self.split_labels.items()}

    @property
    def trained_classes(self) -> tuple[str, ...]:
        return tuple(self.clips.classes[label] for label in self.split_labels["train"])

    def labels(self, places: Places) -> torch.Tensor:
        return torch.from_numpy(np.searchsorted(self.split_labels["train"], self.clips.labels[places])).to(self.device)

    def videos(self, split: str) -> tuple[str, ...]:
        return tuple(self.clips.entries[place].id for place in self.parts[split])

    def places(self, videos: Sequence[str]) -> Places:
        """Where the clips of these ids are in the data."""
        return np.array([self._place[video] for video in videos], np.int64)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {entry.id: place for place, entry in enumerate(self.clips.entries)}

    def by_class(self, split: str) -> dict[str, Places]:
        labels = self.clips.labels[self.parts[split]]
        return {self.clips.classes[label]: np.flatnonzero(labels == label) for label in self.split_labels[split]}

    def identity(self) -> dict[str, Any]:
        """What a trained network saw, or was selected by: contents of the files, clips by part, their sampling."""
        ids = {split: [self.videos(split), self.labelled(split)] for split in ("train", "val")}
        digests = {split: hashlib.sha256(json.dumps(told).encode()).hexdigest() for split, told in ids.items()}
        return {"content": self.material.trained_on, **digests, "sampling": self.sampling_identity}

    def labelled(self, split: str) -> list[int]:
        """The label of each of a split's clips."""
        return self.clips.labels[self.parts[split]].tolist()

    @cached_property
    def content_hash(self) -> str:
        """Of all files and of the clips of every split."""
        told = [self.clips.content_hash, *([self.videos(split), self.labelled(split)] for split in SPLITS)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def new_student(self, network: str, seed: int) -> FewShotSkeleton:
        """A fresh network with its head; initial weights by (seed, network), the same for every setting."""
        with torch_scope(torch.device("cpu"), seed, "init", "skeleton head", network):
            head = self.suite.new_head(network)
        return FewShotSkeleton(self.new_network(network, seed), head, token_norm=self.suite.token_norm)


def split_labels(suite: FewShotSuite, material: Material) -> dict[str, tuple[int, ...]]:
    """Labels of each split's classes, ascending; DataError for a class that has no clip, or is not new to the test."""
    other, split = suite.test_data, suite.data.division
    clips, first = material.clips, material.own_classes
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


def read_material(suite: FewShotSuite) -> Material:
    """All clips of the suite, in one joint order; DataError says what to download where there are none."""
    clips = read_clips(suite.data)
    both = clips if suite.test_data is None else joined(clips, read_clips(suite.test_data))
    return Material(both, len(clips.classes), clips.content_hash)
