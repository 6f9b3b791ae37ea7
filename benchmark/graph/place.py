"""A run folder, whatever is run in it: finished stages of training, and whose turn it is to make what is missing."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.runtime.process_group import Group
from fewdistill.benchmark.runtime.progress import say
from fewdistill.benchmark.tracking import Trackers
from fewdistill.benchmark.training.loop import Progressed
from fewdistill.feature_cache import run_lock, write_atomic
from fewdistill.results.records.record import key_of


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


class Settings(Protocol):
    """What every suite says."""

    @property
    def name(self) -> str: ...

    @property
    def bf16(self) -> tuple[str, ...] | str: ...


class Place:
    """A suite's run folder, and the device that works in it. Its kinds add the data.

    variant: the variant that the suite is, "" for the suite itself; group: the processes that train together, if any;
    trackers: what follows the run; nothing that is stored depends on them.
    """

    suite: Settings

    def __init__(
        self, runs: Path, device: torch.device, group: Group | None, variant: str, trackers: Trackers | None
    ) -> None:
        self.runs = runs
        self.device = device
        self.group = group
        self.variant = variant
        self.trackers = trackers or Trackers()

    @property
    def leads(self) -> bool:
        """Whether this process does what one does for all: everything but the training of episodes."""
        return self.group is None or self.group.rank == 0

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

    def stage(self, kind: str, label: str, identity: dict[str, Any]) -> Stage:
        """The stage of this identity; its folder's name carries kind, label and the first 12 digits of the hash."""
        flat = label.replace("/", "-")  # of timm/<model>
        return Stage(self.runs / "stages" / f"{kind}-{flat}-{key_of(identity)[:12]}", identity)

    def stage_turn(self, stage: Stage) -> AbstractContextManager[bool]:
        """The turn to train a stage, see ``turn``."""
        return self.turn(stage.folder, stage.folder.name, lambda: not stage.done)

    def stage_by_key(self, kind: str, key: str) -> Stage:
        """A finished stage by the hash of its identity."""
        found = list((self.runs / "stages").glob(f"{kind}-*-{key[:12]}"))
        if len(found) != 1:
            raise RunError(f"no finished {kind} stage {key[:12]} under {self.runs / 'stages'}; run the suite again")
        return Stage(found[0], json.loads((found[0] / "done.json").read_text())["identity"])
