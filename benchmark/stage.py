"""A stage: one piece of work, named by the hash of what decides its output."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.feature_cache import Entry, Key, Store, write_atomic
from fewdistill.feature_cache.errors import DamagedError
from fewdistill.results.records.record import key_of


@dataclass(frozen=True, eq=False)
class Stage:
    """Derived clips, a trained network, cached tokens: anything that is made once and read by what comes after.

    kind, version and settings are its identity. The settings are an allow-list in which other stages stand as
    themselves; version is raised whenever the code of the kind gives other numbers. All other fields are left out:

    runs: the run folder; label: for people, in the folder's name; run: makes the output; needs: the stages whose output
    ``run`` reads; present: whether the output exists, where that is not a folder with done.json; part: (i, n) makes the
    i-th of n parts, where the parts need not know of each other; divides: how many episodes or clips an optimiser step
    divides over the processes of torchrun, each with the suite's key that sets it; empty where one process works alone;
    part_name: what tells it from its like in one row, a modality or a stream, see ``spelt_out``; at: the folder of
    output and lock, where it is not the stage's own.
    """

    kind: str
    version: int
    settings: Mapping[str, Any]
    runs: Path
    label: str
    run: Callable[["Stage"], None] | None = None
    needs: tuple["Stage", ...] = ()
    present: Callable[[], bool] | None = None
    part: Callable[[int, int], None] | None = None
    divides: tuple[tuple[int, str], ...] = ()
    part_name: str = ""
    at: Path | None = field(default=None, repr=False)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Version, kind and settings as JSON values, the key of every stage in its place."""
        return {"version": self.version, "stage": self.kind, **_with_keys(self.settings)}

    @cached_property
    def key(self) -> str:
        """sha256 hex of the identity."""
        return key_of(self.identity)

    @cached_property
    def parents(self) -> tuple["Stage", ...]:
        """The stages among the settings, in their order."""
        return tuple(stage for _, stage in _stages(self.settings, ""))

    @property
    def teacher(self) -> "Stage | None":
        """The stage that it is distilled from: the first setting named "teacher"."""
        return next((stage for name, stage in _stages(self.settings, "") if name == "teacher"), None)

    @property
    def folder(self) -> Path:
        """Where the output is, or will be."""
        return self.at or self.runs / "stages" / f"{self.kind}-{self.label.replace('/', '-')}-{self.key[:12]}"

    @property
    def title(self) -> str:
        """Kind and label, for a line of progress."""
        return f"{self.kind} {self.label}".strip()

    @property
    def done(self) -> bool:
        """Whether the output exists."""
        return (self.folder / "done.json").exists() if self.present is None else self.present()

    def walk(self, teachers: bool = True) -> Iterator["Stage"]:
        """Everything in the identity, inputs first, then the stage itself, each once.

        teachers: follow settings named "teacher", too; without them it is what the stage itself was trained by.
        """
        seen: set[str] = set()

        def visit(stage: Stage) -> Iterator[Stage]:
            if stage.key not in seen:
                seen.add(stage.key)
                for name, parent in _stages(stage.settings, ""):
                    if teachers or name != "teacher":
                        yield from visit(parent)
                yield stage

        yield from visit(self)

    def path(self, name: str) -> Path:
        """A checkpoint file of this stage; removed when it finishes."""
        return self.folder / name

    def finish(self, weights: Mapping[str, Tensor], summary: Mapping[str, Any]) -> None:
        """Write weights.safetensors, then done.json, which makes the stage finished, and remove its checkpoints.

        summary: "seconds" of training, and what else records say of it, see training.train_stage.summary_of.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        stored = save({name: value.cpu().contiguous() for name, value in weights.items()})
        write_atomic(self.folder / "weights.safetensors", [stored])
        content = {"identity": self.identity, **summary}
        write_atomic(self.folder / "done.json", [json.dumps(content, indent=1).encode()])
        for checkpoint in self.folder.glob("*.pt"):
            checkpoint.unlink()

    def summary(self) -> dict[str, Any]:
        """What ``finish`` wrote: identity, seconds of training, curve, val_accuracy, selected_step."""
        path = self.folder / "done.json"
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: not readable ({error}); delete {self.folder} to train it again") from error

    def weights(self) -> dict[str, Tensor]:
        """The weights of a finished stage; RunError names a damaged file."""
        path = self.folder / "weights.safetensors"
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise RunError(f"{path}: not readable ({error}); delete {self.folder} to train it again") from error


@dataclass(frozen=True)
class CachedRows:
    """A cache entry with one row for each of these videos, which a stage fills.

    row: shape of one video's row, asked for when the entry is opened.
    """

    store: Store
    key: Key
    row: Callable[[], tuple[int, ...]]
    dtype: str
    videos: Sequence[str]
    rows_per_shard: int = 256

    def open(self) -> Entry:
        """The entry, made if it is not there."""
        return self.store.entry(self.key, row_shape=self.row(), dtype=self.dtype, rows_per_shard=self.rows_per_shard)

    def complete(self) -> bool:
        """Whether every video has its row; makes nothing. Of a damaged entry no: filling it then names the file."""
        try:
            entry = self.store.find(self.key)
            return entry is not None and not entry.missing(self.videos)
        except DamagedError:
            return False

    def stage(
        self,
        kind: str,
        version: int,
        settings: Mapping[str, Any],
        runs: Path,
        label: str,
        begin: Callable[[], Callable[[tuple[str, ...]], NDArray[Any]]],
        needs: tuple[Stage, ...],
    ) -> Stage:
        """The stage that fills the entry. begin: loads what is needed, and gives rows (N, ...) of N videos."""

        def fill(stage: Stage) -> None:
            entry, rows = self.open(), begin()
            shards = entry.plan(self.videos)
            with bar(f"{kind} {label}", "shards") as tick:
                for number, shard in enumerate(shards, start=1):
                    entry.write(shard, rows(shard.ids))
                    tick(number, len(shards))

        named = {**settings, "entry": self.key.digest}
        lock = self.store.root / f".fill-{self.key.digest}"  # the entry's own folder is made with its manifest in it
        return Stage(kind, version, named, runs, label, fill, needs, present=self.complete, at=lock)


def needed(targets: Iterable[Stage]) -> list[Stage]:
    """What must run for these, inputs first. The inputs of a finished stage are not asked for, and may be deleted."""
    found: dict[str, Stage] = {}
    seen: set[str] = set()

    def visit(stage: Stage) -> None:
        if stage.key in seen:
            return
        seen.add(stage.key)
        if stage.done:
            return
        for parent in stage.needs:
            visit(parent)
        found[stage.key] = stage

    for target in targets:
        visit(target)
    return list(found.values())


def with_needs(targets: Iterable[Stage]) -> dict[str, Stage]:
    """These stages and all that they need, finished or not, by key."""
    found: dict[str, Stage] = {}
    left = list(targets)
    while left:
        stage = left.pop()
        if stage.key not in found:
            found[stage.key] = stage
            left += stage.needs
    return found


def in_parts(stage: Stage, parts: int) -> list[Stage]:
    """A stage that can be divided as so many stages and, after them, itself; any other stage as it is."""
    if stage.part is None or parts < 2:
        return [stage]
    make = stage.part

    def one(number: int) -> Stage:
        return replace(
            stage,
            kind=f"{stage.kind}-part",
            settings={"of": stage, "part": [number, parts]},
            label=f"{stage.label} {number}/{parts}".strip(),
            run=lambda _: make(number, parts),
            part=None,
            at=stage.folder.with_name(f"{stage.folder.name}.part{number}"),
        )

    each = [one(number) for number in range(1, parts + 1)]
    return [*each, replace(stage, needs=(*stage.needs, *each))]


def spelt_out(trained: Stage) -> dict[str, dict[str, Any]]:
    """What the hashes in an identity stand for, for a record: "trained", and every stage behind it by its part.

    "teacher", "teacher of teacher" and so on for settings of that name, "base" and "teacher base" likewise; "member
    <part>" and "teacher <part>" for the members of a sum; kind and part for all others: "encoder rgb". No name holds a
    seed, so that the records of two seeds differ in nothing else.
    """
    found = {"trained": trained.identity}
    seen = {trained.key}

    def visit(stage: Stage, teachers: str, member: str) -> None:
        for relation, parent in _stages(stage.settings, ""):
            of, chain, name = member, teachers, f"{parent.kind} {parent.part_name}".strip()
            if relation == "teacher":
                chain = f"teacher of {teachers}" if teachers else "teacher"
                name = chain + member
            elif relation == "trained":
                of, name = f" {parent.part_name}", f"member {parent.part_name}"
            elif relation == "base":
                name = f"{teachers} base".strip() + member
            if parent.key not in seen:
                seen.add(parent.key)
                found[name] = parent.identity
                visit(parent, chain, of)

    visit(trained, "", "")
    return found


def training_seconds(trained: Stage) -> float | None:
    """Wall time of all training behind a stage, its teachers' left out; None where a part was trained elsewhere."""
    trainings = [stage for stage in trained.walk(teachers=False) if stage.run is not None]
    if not all(stage.done for stage in trainings):
        return None
    return sum(stage.summary()["seconds"] for stage in trainings)


def _with_keys(value: Any) -> Any:
    if isinstance(value, Stage):
        return value.key
    if isinstance(value, Mapping):
        return {name: _with_keys(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_keys(part) for part in value]
    return value


def _stages(value: Any, name: str) -> Iterator[tuple[str, Stage]]:
    """The stages in a value, each with the name it has there."""
    if isinstance(value, Stage):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _stages(part, key)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _stages(part, name)
