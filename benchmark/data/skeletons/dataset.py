"""A suite of skeleton networks opened: its clips in memory, its networks, its run folder."""

import json
from abc import abstractmethod
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewdistill.benchmark.data.skeletons.sampling import ClipSampler, SamplingConfig
from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet, load
from fewdistill.benchmark.data.skeletons.streams import stream
from fewdistill.benchmark.graph.place import Place
from fewdistill.benchmark.protocols.supervised.suite import ClipSource, NetworkSuite
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.tracking import Trackers
from fewdistill.students.skeletons import SKELETONS, JointGraph, SkeletonNetwork

Places = NDArray[np.int64]


class SkeletonPlace(Place):
    """A suite with its clips and its run folder. variant: the variant that the suite is, "" for the suite itself.

    parts: places of the clips that train, validate and test, by name.
    """

    def __init__(
        self,
        suite: NetworkSuite,
        clips: SkeletonSet,
        runs: Path,
        device: torch.device,
        variant: str = "",
        trackers: Trackers | None = None,
    ) -> None:
        super().__init__(runs, device, None, variant, trackers)
        self.suite: NetworkSuite = suite
        self.clips = clips
        self.parts = self.divided()
        self._varied: dict[str, Any] = {"": self}

    @abstractmethod
    def divided(self) -> dict[str, Places]:
        """Places of the clips that train, validate and test; DataError where a part cannot be."""

    @abstractmethod
    def with_suite(self, suite: Any, variant: str) -> Self:
        """The same clips and run folder under another suite of the kind."""

    def varied(self, variant: str) -> Self:
        """The place of a variant of the suite; "" is this one."""
        if variant not in self._varied:
            self._varied[variant] = self.with_suite(self.suite.varied(variant), variant)
        return self._varied[variant]

    @property
    @abstractmethod
    def recipe(self) -> SamplingConfig:
        """How clips become a network's input."""

    @property
    def sampling_identity(self) -> dict[str, Any]:
        """The recipe as plain JSON; without a mirror or a window it is told as it was before there were any."""
        told = json.loads(json.dumps(asdict(self.recipe)))
        later = {"mirror": False, "window": [1.0, 1.0]}
        return {name: value for name, value in told.items() if name not in later or value != later[name]}

    @cached_property
    def sampler(self) -> ClipSampler:
        """Batches of the whole data set, on the run's device."""
        return ClipSampler(self.clips, self.recipe, self.device)

    def batch(self, places: Places, name: str, rng: np.random.Generator | None = None) -> Tensor:
        """Clips as the input of a network of the named stream, float32 (N, 3, T, V, M); ``rng`` in training."""
        return stream(self.sampler.batch(places, rng), name, self.clips.skeleton.parents)

    @property
    def trained_classes(self) -> tuple[str, ...]:
        """Names of the classes that a network tells apart."""
        return self.clips.classes

    def labels(self, places: Places) -> Tensor:
        """Classes int64 (N,), places in ``trained_classes``, on the run's device."""
        return torch.from_numpy(self.clips.labels[places]).to(self.device)

    def new_network(self, name: str, seed: int) -> SkeletonNetwork:
        """A fresh network; its initial weights belong to (seed, name), whatever it reads and learns from."""
        skeleton = self.clips.skeleton
        graph = JointGraph(len(skeleton.joints), skeleton.edges, skeleton.centre)
        with torch_scope(torch.device("cpu"), seed, "init", "skeleton", name):
            return SKELETONS[name](graph, len(self.trained_classes), bodies=self.clips.frames.shape[3])


def read_clips(data: ClipSource) -> SkeletonSet:
    """The whole data set in memory; DataError says what to download where there is none."""
    with bar(f"read {data.root}", "clips") as tick:
        return load(data.root, data.layout, progress=tick)
