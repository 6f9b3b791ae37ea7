"""A suite of episodes on videos, opened: its videos, cached clips and networks' inputs. Nothing here trains."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.dataset import SPLITS, all_videos
from fewdistill.benchmark.data.skeletons.joint_clips import JointClips
from fewdistill.benchmark.data.video.clips import Clips, ImageClips, Read, cached_reader
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.evaluation.frozen import FrozenEpisodes
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.stage import CachedRows
from fewdistill.benchmark.suite.registry import code_of
from fewdistill.benchmark.training.initial_weights import imported_weights, trunk_weights
from fewdistill.feature_cache import Key
from fewdistill.results.records.record import key_of
from fewdistill.students.backbones import TokenEncoder, load_imagenet_trunk
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.interop import fill_student
from fewdistill.students.trunks import BACKBONES
from fewdistill.teachers.modalities import CoordinateExpert, Expert

T = TypeVar("T")
_REMEMBER_BYTES = 2 << 30  # decoded clips kept in memory, at most


class VideoRun:
    """One version of a suite, with its data set and run folder. It holds open caches, so one is made a run.

    variant: name of the version, "" for the suite itself; whole: the run of the suite itself, whose readers and hashes
    its variants share.
    """

    def __init__(
        self,
        suite: Suite,
        folder: VideoFolder,
        context: RunContext,
        variant: str = "",
        whole: "VideoRun | None" = None,
    ) -> None:
        self.suite = suite
        self.data = folder
        self.context = context
        self.variant = variant
        self.whole = whole or self
        self.frozen = FrozenEpisodes(folder, suite.evaluate, context.runs / "episodes")
        self._readers: dict[Expert, Read] = {} if whole is None else whole._readers
        self._made: dict[object, Any] = {}

    def versions(self) -> list["VideoRun"]:
        """The suite itself and its variants: the same files, caches and run folder."""
        others = (
            VideoRun(version, self.data, self.context, name, self) for name, version in self.suite.versions() if name
        )
        return self.made("versions", lambda: [self, *others])

    def made(self, key: object, make: Callable[[], T]) -> T:
        """What ``make`` gave for this key, made once."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @cached_property
    def all_videos(self) -> tuple[str, ...]:
        """The videos of all splits, sorted."""
        return all_videos(self.data)

    def content(self, experts: Iterable[Expert], splits: Sequence[str] = SPLITS) -> str:
        """Hash of what these experts read of some splits: contents of the files, ids and labels of the videos."""
        sources = tuple(sorted({expert.requires for expert in experts}))
        return self.whole.made(("content", sources, *splits), lambda: self._content(sources, splits))

    def _content(self, sources: Sequence[str], splits: Sequence[str]) -> str:
        listed = {split: [self.data.videos(split), self.data.labels(split).tolist()] for split in splits}
        files = {}
        for source in sources:
            hashes = self.data.content_hashes(source)
            shared = {name: digest for name, digest in hashes.items() if name not in self._every}
            files[source] = [shared, *([hashes[video] for video in self.data.videos(split)] for split in splits)]
        thinned = self.data.thinned
        return key_of({"listed": listed, "files": files, **({"thinned": thinned} if thinned else {})})

    @cached_property
    def _every(self) -> frozenset[str]:
        return frozenset(self.all_videos)

    def data_settings(self, expert: Expert) -> dict[str, Any]:
        """The clips that a network is trained on: contents and lists of its own source, sampling and transforms."""
        keep = {"frames", "image_size", "resize", "flip", "input_norm"}
        content = self.content((expert,), ("train", "val"))
        return {"content": content, **self.suite.data.model_dump(mode="json", include=keep)}

    def expert(self, modality: str) -> Expert:
        """A modality's expert, with the suite's options."""
        return self.suite.teacher.new_expert(modality)

    def clip_rows(self, expert: Expert) -> CachedRows:
        """An expert's clips of all videos: uint8 (T, R, R, C), or float32 coordinates (T', V, 3, M)."""
        frames, side = self.suite.data.frames, self.data.resize
        fields: dict[str, Any] = {
            "expert": expert.clip_identity() | code_of("experts", expert.name),
            "content": self.data.content_hash(expert.requires),
            "frames": frames,
        }
        cache, videos = self.context.cache, self.all_videos
        if isinstance(expert, CoordinateExpert):
            joints = expert  # for the type checker
            return CachedRows(
                cache, Key("clips", fields), lambda: joints.shape(self.data.skeleton), "float32", videos, 64
            )
        fields |= {"side": side, "window": "centre square"}
        return CachedRows(cache, Key("clips", fields), lambda: (frames, side, side, 3), "uint8", videos, 64)

    def clips(self, expert: Expert, backbone: str) -> Clips:
        """An expert's clips as a backbone's input: RGB straight from the files, the others from their cache.

        Coordinates are as their own network reads them, whatever the backbone. TeacherError where they cannot flip.
        """
        data = self.suite.data
        if expert not in self._readers:
            self._readers[expert] = self._rgb_reader() if expert.name == "rgb" else self._cache_reader(expert)
        if isinstance(expert, CoordinateExpert):
            mirrored = self.data.skeleton.mirrored if data.flip else None
            return JointClips(self._readers[expert], expert.rotation, mirrored, self.context.device)
        trunk = BACKBONES[backbone]
        return ImageClips(
            self._readers[expert],
            data.image_size,
            data.flip,
            (trunk.mean, trunk.std) if data.input_norm == "backbone" else None,
            self.context.device,
            expert.mirror_channels,
            expert.mirror_swap,
        )

    def _rgb_reader(self) -> Read:
        def read(video: str, rng: np.random.Generator | None) -> NDArray[np.uint8]:
            return self.data.raw(video, train=rng is not None, rng=rng)

        if self.data.pack is not None:  # mapped into memory as it is
            return read
        no_choice = all(self.data.frame_count(video) == self.suite.data.frames for video in self.all_videos)
        return cached_reader(read, _REMEMBER_BYTES) if no_choice else read

    def _cache_reader(self, expert: Expert) -> Read:
        entry = self.clip_rows(expert).open()
        return lambda video, rng: entry.gather([video])[0]

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
