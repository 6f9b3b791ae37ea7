"""Where a suite lives on disk: data, cached clips and tokens, finished stages. Nothing here trains."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from benchmark.clips import Clips, Read, remembered
from benchmark.compiling import compile_trunk
from benchmark.config import Suite
from benchmark.data.video_folder import VideoFolder
from benchmark.distributed import Group
from benchmark.episodes import ClassIndex, Episodes, frozen
from benchmark.errors import RunError, UserError
from benchmark.progress import say
from benchmark.tracking import Trackers
from benchmark.train import Progressed
from benchmark.weights import imported_weights, trunk_weights
from feature_cache import Entry, Key, Store, run_lock, write_atomic
from results.record import key_of
from students.backbones import TokenEncoder, load_imagenet_trunk
from students.few_shot import FewShotStudent
from students.interop import fill_student
from students.trunks import BACKBONES
from teachers.modalities import EXPERTS, Expert

M = TypeVar("M", bound=nn.Module)
SPLITS = ("train", "val", "test")
_REMEMBER_BYTES = 2 << 30  # decoded clips kept in memory, at most


@dataclass(frozen=True)
class Stage:
    """One finished or unfinished piece of training, in a folder named by the hash of its identity."""

    folder: Path
    identity: dict[str, Any]

    @property
    def key(self) -> str:
        """sha256 hex of the identity."""
        return key_of(self.identity)

    @property
    def done(self) -> bool:
        """Whether its weights stand."""
        return (self.folder / "done.json").exists()

    def path(self, name: str) -> Path:
        """A checkpoint file of this stage; removed when it finishes."""
        return self.folder / name

    def finish(
        self, weights: dict[str, Tensor], progress: Progressed | None = None, base: Progressed | None = None
    ) -> None:
        """Write weights.safetensors, then done.json, which makes the stage stand; checkpoints go.

        progress: of the training that was selected from; base: of the training before that.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        stored = save({k: v.cpu().contiguous() for k, v in weights.items()})
        write_atomic(self.folder / "weights.safetensors", [stored])
        seconds = sum(part.seconds for part in (base, progress) if part is not None)
        summary: dict[str, Any] = {"identity": self.identity, "seconds": round(seconds, 1)}
        if progress is not None:
            score = progress.best_score if progress.best is not None else None
            summary |= {"curve": progress.curve, "val_accuracy": score, "selected_step": progress.best_step}
        if base is not None:
            summary["base_curve"] = base.curve
        write_atomic(self.folder / "done.json", [json.dumps(summary, indent=1).encode()])
        for checkpoint in self.folder.glob("*.pt"):
            checkpoint.unlink()

    def summary(self) -> dict[str, Any]:
        """What finish wrote: identity, seconds of training, curve, val_accuracy, selected_step."""
        return json.loads((self.folder / "done.json").read_text())


def standing(stage: Stage) -> dict[str, Tensor]:
    """The weights of a finished stage; RunError names a damaged file."""
    path = stage.folder / "weights.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: not readable ({error}); delete {stage.folder} to train it again") from error


class Workspace:
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
        self.suite = suite
        self.group = group
        self.variant = variant
        self.trackers = trackers or Trackers()
        self.folder = folder
        self.runs = runs
        self.cache = cache
        self.store = Store(cache)
        self.device = device
        self.compile_trunks = compile_trunks
        self._readers: dict[Expert, Read] = {}
        self._varied: dict[str, Workspace] = {"": self}

    @property
    def leads(self) -> bool:
        """Whether this process does what one does for all: everything but the training of episodes."""
        return self.group is None or self.group.rank == 0

    @contextmanager
    def together(self, kind: str, seed: int, *names: str) -> Iterator[None]:
        """Training of episodes by all processes of the group: the first calls the others to it (see follower.py)."""
        if self.group is None or not self.leads:
            yield
            return
        self.group.call((self.variant, kind, seed, *names))
        with self.group.together():
            yield

    @contextmanager
    def turn(self, folder: Path, what: str, missing: Callable[[], bool]) -> Iterator[bool]:
        """Whether it is this process that makes what is missing in a folder; while another one does, this one waits.

        Runs of one folder live side by side by it, each thing made once. Who has a turn asks for no other but a row's
        holder, who asks for those of its stages one after the other: nobody waits in a circle.
        """
        if not missing():
            yield False
            return
        if not self.leads:
            raise RunError(f"{folder}: {what} is not here; all processes need the same run and data folders")
        with run_lock(folder, lambda owner: say(f"[waiting for {what}: {owner}]")):
            yield missing()

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
        """The split's video ids; rows of episodes point into this list."""
        return self.folder.videos(split)

    @cached_property
    def all_videos(self) -> tuple[str, ...]:
        """The videos of all splits, sorted."""
        return tuple(sorted(video for split in SPLITS for video in self.videos(split)))

    def class_index(self, split: str) -> ClassIndex:
        """The split's videos by class, to draw episodes from."""
        return ClassIndex.of(list(self.folder.by_class(split).values()))

    def clip_entry(self, modality: str) -> Entry:
        """The cache entry of a modality's derived clips, uint8 (T, R, R, C)."""
        identity = self.suite.teacher.new_expert(modality).identity()
        data = self.suite.data
        side = self.folder.resize
        fields = {
            "expert": identity,
            "content": self.folder.content_hash(EXPERTS[modality].requires),
            "frames": data.frames,
            "side": side,
            "window": "centre square",
        }
        return self.store.entry(
            Key("clips", fields), row_shape=(data.frames, side, side, 3), dtype="uint8", rows_per_shard=64
        )

    def clips(self, modality: str, backbone: str) -> Clips:
        """A modality as a backbone's input: RGB straight from the files, the others from their cache."""
        data, expert, trunk = self.suite.data, self.suite.teacher.new_expert(modality), BACKBONES[backbone]
        if expert not in self._readers:
            self._readers[expert] = self._rgb_reader() if modality == "rgb" else self._cache_reader(modality)
        return Clips(
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
        return remembered(read, _REMEMBER_BYTES) if no_choice else read

    def _cache_reader(self, modality: str) -> Read:
        entry = self.clip_entry(modality)
        return lambda video, rng: entry.gather([video])[0]

    def place(self, module: M, encoder: TokenEncoder) -> M:
        """A network that is to train on the run's device, its encoder's trunk compiled where the run asked for it."""
        module = module.to(self.device)
        if self.compile_trunks:
            compile_trunk(encoder, self.device, self.suite.data.image_size)
        return module

    def initial_weights(self, model: FewShotStudent, weights: str) -> None:
        """Give a network its initial weights.

        "random" leaves it as it is, "imagenet" or a classifier's state_dict file fills the trunk, a file written by
        import-checkpoint everything that it holds.
        """
        if weights == "random":
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

    def stage(self, kind: str, label: str, identity: dict[str, Any]) -> Stage:
        """The stage of this identity; its folder's name carries kind, label and the first 12 digits of the hash."""
        flat = label.replace("/", "-")  # of timm/<model>
        return Stage(self.runs / "stages" / f"{kind}-{flat}-{key_of(identity)[:12]}", identity)

    def stage_turn(self, stage: Stage) -> AbstractContextManager[bool]:
        """The turn to train a stage, see ``turn``."""
        return self.turn(stage.folder, stage.folder.name, lambda: not stage.done)

    def fill_turn(self, entry: Entry, what: str) -> AbstractContextManager[bool]:
        """The turn to fill a cache entry with the rows of all videos, see ``turn``."""
        return self.turn(entry.folder, what, lambda: bool(entry.missing(self.all_videos)))

    def stage_by_key(self, kind: str, key: str) -> Stage:
        """A finished stage by the hash of its identity."""
        found = list((self.runs / "stages").glob(f"{kind}-*-{key[:12]}"))
        if len(found) != 1:
            raise RunError(f"no finished {kind} stage {key[:12]} under {self.runs / 'stages'}; run the suite again")
        return Stage(found[0], json.loads((found[0] / "done.json").read_text())["identity"])

    def val_episodes(self) -> Episodes:
        """The frozen validation episodes that select."""
        config = self.suite.evaluate
        return self._frozen("val", config.val_shot, config.val_episodes)

    def test_episodes(self, shot: int) -> Episodes:
        """The frozen test episodes at a shot. Their rows name records; their videos are embedded after selection."""
        return self._frozen("test", shot, self.suite.evaluate.episodes)

    def _frozen(self, split: str, shot: int, episodes: int) -> Episodes:
        config = self.suite.evaluate
        names = hashlib.sha256(json.dumps(self.videos(split)).encode()).hexdigest()
        return frozen(
            self.runs / "episodes",
            split,
            self.class_index(split),
            names,
            way=config.way,
            shot=shot,
            query=config.query,
            episodes=episodes,
            seed=config.seed,
        )
