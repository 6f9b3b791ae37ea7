"""A skeleton data set divided into splits, and its clips as a network's input."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewdistill.benchmark.data.skeletons.sampling import ClipSampler, SamplingConfig
from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet
from fewdistill.benchmark.data.skeletons.streams import stream as as_stream
from fewdistill.benchmark.data.video.clips import Clips
from fewdistill.benchmark.runtime.probe import Precision, precision_of
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.students.skeletons import SKELETONS, JointGraph, SkeletonNetwork

Indices = NDArray[np.int64]
_AT_ONCE = 128  # clips of one pass without gradient


@dataclass(frozen=True, eq=False)
class SkeletonClips:
    """A ClipDataset of joints, see ``data.dataset``.

    parts: by split, indices of its clips in the set, ascending; classes: by split, labels in the set of its classes,
    ascending; recipe: how clips become a network's input; device: of the batches.
    """

    skeletons: SkeletonSet
    parts: Mapping[str, Indices]
    classes: Mapping[str, tuple[int, ...]]
    recipe: SamplingConfig
    device: torch.device

    def videos(self, split: str) -> tuple[str, ...]:
        return tuple(self.skeletons.entries[index].id for index in self.parts[split])

    def labels(self, split: str) -> Indices:
        return self._labels_of(split, self.parts[split])

    def by_class(self, split: str) -> dict[str, Indices]:
        labels = self.skeletons.labels[self.parts[split]]
        return {self.skeletons.classes[label]: np.flatnonzero(labels == label) for label in self.classes[split]}

    @property
    def train_classes(self) -> tuple[str, ...]:
        """Names of the classes that a network is trained to tell apart."""
        return tuple(self.skeletons.classes[label] for label in self.classes["train"])

    def train_labels(self, indices: Indices) -> Tensor:
        """Labels int64 (N,) of training clips among ``train_classes``, on the device."""
        return torch.from_numpy(self._labels_of("train", indices)).to(self.device)

    def _labels_of(self, split: str, indices: Indices) -> Indices:
        return np.searchsorted(self.classes[split], self.skeletons.labels[indices])

    def indices(self, videos: Sequence[str]) -> Indices:
        """Indices in the set of the clips with these ids."""
        return np.array([self._index[video] for video in videos], np.int64)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {entry.id: index for index, entry in enumerate(self.skeletons.entries)}

    @cached_property
    def _sampler(self) -> ClipSampler:
        return ClipSampler(self.skeletons, self.recipe, self.device)

    @property
    def sampling_identity(self) -> dict[str, Any]:
        """The recipe as JSON values; fields that later versions added are left out at their neutral value."""
        recipe = json.loads(json.dumps(asdict(self.recipe)))
        neutral = {"mirror": False, "window": [1.0, 1.0]}
        return {name: value for name, value in recipe.items() if name not in neutral or value != neutral[name]}

    def batch(self, indices: Indices, stream: str, rng: np.random.Generator | None = None) -> Tensor:
        """Clips as a network's input in a stream, float32 (N, 3, T, V, M); ``rng`` draws augmentation in training."""
        return as_stream(self._sampler.batch(indices, rng), stream, self.skeletons.skeleton.parents)

    def test_batches(self, indices: Indices, stream: str) -> Iterator[Tensor]:
        """Clips without augmentation, in batches float32 (n, 3, T, V, M)."""
        return (self.batch(indices[at : at + _AT_ONCE], stream) for at in range(0, len(indices), _AT_ONCE))

    def new_network(self, name: str, seed: int) -> SkeletonNetwork:
        """A fresh classifier of ``train_classes``; its initial weights depend on (seed, name) alone."""
        skeleton = self.skeletons.skeleton
        graph = JointGraph(len(skeleton.joints), skeleton.edges, skeleton.centre)
        with torch_scope(torch.device("cpu"), seed, "init", "skeleton", name):
            return SKELETONS[name](graph, len(self.train_classes), bodies=self.skeletons.frames.shape[3])

    def probes(
        self, networks: Iterable[str], stream: str, batch: int
    ) -> dict[str, tuple[str, Callable[[], Precision]]]:
        """For ``resolve_bf16``: each network trained on one batch of clips, again and again."""

        def measure(network: str) -> Precision:
            joints = self.batch(np.resize(self.parts["train"], batch), stream)
            return precision_of(self.new_network(network, 0).to(self.device), joints)

        return {name: (f"{name}-{self.recipe.frames}frames", partial(measure, name)) for name in networks}


@dataclass(frozen=True)
class StreamClips(Clips):
    """The training clips of a skeleton set in one stream, as episodes read them."""

    data: SkeletonClips
    stream: str

    def pixels(
        self,
        videos: Sequence[str],
        rng: np.random.Generator | None = None,
        keep: NDArray[np.int64] | None = None,
        share: slice = slice(None),
    ) -> Any:
        """The joints themselves, float32 (N, 3, T, V, M); ``keep`` and ``share`` are for frames, and not read."""
        return self.data.batch(self.data.indices(videos), self.stream, rng)

    def network_input(self, pixels: Any) -> Tensor:
        """Joints as they are."""
        return pixels
