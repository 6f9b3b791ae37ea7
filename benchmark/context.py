"""What a run works with, whatever its suite: folders, device, processes, trackers, and locks on what is made once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from fewdistill.benchmark.runtime.compile_trunk import compile_trunk
from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.process_group import Group
from fewdistill.benchmark.runtime.progress import say
from fewdistill.benchmark.tracking import Trackers
from fewdistill.feature_cache import Entry, Store, run_lock
from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.clip_encoder import ClipEncoder

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class RunContext:
    """runs: the suite's run folder; cache: derived clips and tokens; group: the processes that train together, if any.

    compile_trunks: with torch.compile, where the device is CUDA; argv: the command, for provenance. No result depends
    on trackers or argv.
    """

    runs: Path
    cache: Store
    device: torch.device
    group: Group | None = None
    trackers: Trackers = field(default_factory=Trackers)
    compile_trunks: bool = False
    argv: tuple[str, ...] = ()

    @property
    def rank0(self) -> bool:
        """Whether this process does what one process does for all."""
        return self.group is None or self.group.rank == 0

    @contextmanager
    def once(self, folder: Path, what: str, missing: Callable[[], bool]) -> Iterator[bool]:
        """Hold a folder's lock while something missing is made; yields whether this process is to make it.

        While another process makes it, this one waits. Runs of one folder work side by side, and each thing is made
        once. What is made inside takes no second lock of this kind, so no two processes wait for each other.
        """
        if not missing():
            yield False
            return
        if not self.rank0:
            raise RunError(f"{folder}: {what} is not here; all processes need the same run and data folders")
        with run_lock(folder, lambda owner: say(f"[waiting for {what}: {owner}]")):
            yield missing()

    def fill_once(self, entry: Entry, videos: Sequence[str], what: str) -> AbstractContextManager[bool]:
        """Fill a cache entry with the rows of these videos, see ``once``."""
        return self.once(entry.folder, what, lambda: bool(entry.missing(videos)))

    def to_device(self, module: M, encoder: ClipEncoder, image_size: int) -> M:
        """A network about to train, on the run's device, its trunk compiled where the run asked for it."""
        module = module.to(self.device)
        if self.compile_trunks and isinstance(encoder, TokenEncoder):
            compile_trunk(encoder, self.device, image_size)
        return module


def device_named(asked: str) -> torch.device:
    """The device for auto, cpu or cuda; UserError for another name, and for cuda where there is none."""
    if asked not in ("auto", "cpu", "cuda"):
        raise UserError(f"no device {asked!r}: choose auto, cpu or cuda")
    if asked == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device here: use --device cpu, or auto")
    return torch.device("cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu")
