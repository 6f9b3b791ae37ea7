"""Where a suite lives on disk: data, cached clips and tokens, finished stages. Nothing here trains."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fewdistill.benchmark.data.skeletons.joint_clips import JointClips
from fewdistill.benchmark.data.video.clips import Clips, ImageClips, Read, cached_reader
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.protocols.episodic.place import SPLITS, EpisodicPlace
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.runtime.compile_trunk import compile_trunk
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.process_group import Group
from fewdistill.benchmark.tracking import Trackers
from fewdistill.benchmark.training.initial_weights import imported_weights, trunk_weights
from fewdistill.feature_cache import Entry, Key, Store
from fewdistill.students.backbones import TokenEncoder, load_imagenet_trunk
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.interop import fill_student
from fewdistill.students.trunks import BACKBONES
from fewdistill.teachers.modalities import EXPERTS, CoordinateExpert, Expert

M = TypeVar("M", bound=nn.Module)
_REMEMBER_BYTES = 2 << 30  # decoded clips kept in memory, at most


class Workspace(EpisodicPlace):
    """A suite with its data set and its place on disk. Holds open caches, so one is made per run.

    variant: the variant that the suite is, "" for the suite itself; group: the processes that train together, if any;
    trackers: what follows the run; nothing that is stored depends on them.
    """

    def __init__(
        self,
        suite: Suite,
        folder: VideoFolder,
        runs: Path,
        cache: Path,
        device: torch.device,
        compile_trunks: bool = False,
        group: Group | None = None,
        variant: str = "",
        trackers: Trackers | None = None,
    ) -> None:
        super().__init__(runs, device, group, variant, trackers)
        self.suite: Suite = suite
        self.folder = folder
        self.cache = cache
        self.store = Store(cache)
        self.compile_trunks = compile_trunks
        self._readers: dict[Expert, Read] = {}
        self._varied: dict[str, Workspace] = {"": self}

    @contextmanager
    def together(self, kind: str, seed: int, *names: str) -> Iterator[None]:
        """Training of episodes by all processes of the group: the first calls the others to it (see follower.py)."""
        if self.group is None or not self.leads:
            yield
            return
        self.group.call((self.variant, kind, seed, *names))
        with self.group.together():
            yield

    def varied(self, variant: str) -> "Workspace":
        """The workspace of a variant of the suite: the same files, caches and run folder; "" is this one."""
        if variant not in self._varied:
            varied, trunks = self.suite.varied(variant), self.compile_trunks
            other = Workspace(
                varied, self.folder, self.runs, self.cache, self.device, trunks, self.group, variant, self.trackers
            )
            other.content_hash, other._readers = self.content_hash, self._readers
            self._varied[variant] = other
        return self._varied[variant]

    @cached_property
    def content_hash(self) -> str:
        """Hash of the files of every source that teachers and students read in any variant, and of the split lists."""
        modalities = {m for _, suite in self.suite.versions() for m in suite.teacher.modalities}
        sources = sorted({"rgb", *(EXPERTS[m].requires for m in modalities)})
        digest = hashlib.sha256("".join(self.folder.content_hash(source) for source in sources).encode())
        digest.update(json.dumps({split: self.videos(split) for split in SPLITS}).encode())
        return digest.hexdigest()

    def videos(self, split: str) -> tuple[str, ...]:
        return self.folder.videos(split)

    def by_class(self, split: str) -> Mapping[str, NDArray[np.int64]]:
        return self.folder.by_class(split)

    def clip_entry(self, modality: str) -> Entry:
        """The cache entry of a modality's derived clips: uint8 (T, R, R, C), or float32 coordinates (T', V, 3, M)."""
        expert = self.suite.teacher.new_expert(modality)
        frames, side = self.suite.data.frames, self.folder.resize
        fields: dict[str, Any] = {
            "expert": expert.clip_identity(),
            "content": self.folder.content_hash(expert.requires),
            "frames": frames,
        }
        shape: tuple[int, ...]
        if isinstance(expert, CoordinateExpert):
            shape, dtype = expert.shape(self.folder.skeleton), "float32"
        else:
            shape, dtype = (frames, side, side, 3), "uint8"
            fields |= {"side": side, "window": "centre square"}
        return self.store.entry(Key("clips", fields), row_shape=shape, dtype=dtype, rows_per_shard=64)

    def clips(self, modality: str, backbone: str) -> Clips:
        """A modality as a backbone's input: RGB straight from the files, the others from their cache.

        Coordinates are as their own network reads them, whatever the backbone. TeacherError where they cannot flip.
        """
        data, expert, trunk = self.suite.data, self.suite.teacher.new_expert(modality), BACKBONES[backbone]
        if expert not in self._readers:
            self._readers[expert] = self._rgb_reader() if modality == "rgb" else self._cache_reader(modality)
        if isinstance(expert, CoordinateExpert):
            mirrored = self.folder.skeleton.mirrored if data.flip else None
            return JointClips(self._readers[expert], expert.rotation, mirrored, self.device)
        return ImageClips(
            self._readers[expert],
            data.image_size,
            data.flip,
            (trunk.mean, trunk.std) if data.input_norm == "backbone" else None,
            self.device,
            expert.mirror_channels,
            expert.mirror_swap,
        )

    def _rgb_reader(self) -> Read:
        def read(video: str, rng: np.random.Generator | None) -> NDArray[np.uint8]:
            return self.folder.raw(video, train=rng is not None, rng=rng)

        if self.folder.pack is not None:  # mapped into memory as it is
            return read
        no_choice = all(self.folder.frame_count(video) == self.suite.data.frames for video in self.all_videos)
        return cached_reader(read, _REMEMBER_BYTES) if no_choice else read

    def _cache_reader(self, modality: str) -> Read:
        entry = self.clip_entry(modality)
        return lambda video, rng: entry.gather([video])[0]

    def place(self, module: M, encoder: ClipEncoder) -> M:
        """A network that is to train on the run's device, its encoder's trunk compiled where the run asked for it."""
        module = module.to(self.device)
        if self.compile_trunks and isinstance(encoder, TokenEncoder):
            compile_trunk(encoder, self.device, self.suite.data.image_size)
        return module

    def initial_weights(self, model: FewShotStudent, weights: str) -> None:
        """Give a network its initial weights; one that reads coordinates keeps those it has.

        "random" leaves it as it is, "imagenet" or a classifier's state_dict file fills the trunk, a file written by
        import-checkpoint everything that it holds.
        """
        if weights == "random" or not isinstance(model.encoder, TokenEncoder):
            return
        imported = imported_weights(weights)
        if imported is not None:
            if self.suite.token_norm or self.suite.data.input_norm != "none":
                raise UserError(
                    f"{weights}: released students know neither token norm nor input normalisation: set "
                    'token_norm = false and data.input_norm = "none"'
                )
            fill_student(model, imported)
        else:
            load_imagenet_trunk(model.encoder, trunk_weights(model.encoder.backbone, weights))
