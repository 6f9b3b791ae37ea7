"""The record of one cell of a suite: what was run, what came out, what it cost. One JSON file each."""

import hashlib
import json
import math
from typing import Any, Final, Literal, Self

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from fewdistill.results import ResultError
from fewdistill.results.records.metrics import EPISODIC, METRICS, SUPERVISED, Frozen, Metrics

SCHEMA_VERSION: Final = 3
OLDEST_READ: Final = 2

PLAIN: Final = "plain"
"""Context of a validation whose input is known to be plain JSON: the walk through it takes longer than all the rest."""

Status = Literal["started", "done", "failed", "diverged", "skipped"]


def key_of(identity: dict[str, Any]) -> str:
    """Name of a cell: sha256 hex of its identity as canonical JSON (sorted keys, no spaces, UTF-8).

    Raises ResultError when the identity holds something JSON cannot carry (NaN, an array, a path object).
    """
    try:
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ResultError(f"identity is not plain JSON ({error}): use strings, numbers, lists and dicts") from error
    return hashlib.sha256(text.encode()).hexdigest()


class Cell(Frozen):
    """The axes of a suite. ``distillation`` is "none" for a student trained alone and "-" for a teacher.

    variant: name of the suite's variant, "" for the suite as it stands.
    protocol: one of METRICS. "episodic", or "supervised": every test clip once, among all classes (way) that were
    trained; nothing supports them, and query is 1. Records from before there were two have none written, and are
    episodic. shot: None in a protocol without shots. image_size: pixels, 0 of joints.
    """

    suite: str
    dataset: str
    role: Literal["teacher", "student"]
    model: str
    head: str
    distillation: str
    way: int = Field(ge=2)
    shot: int | None = Field(ge=1)
    query: int = Field(ge=1)
    frames: int = Field(ge=1)
    image_size: int = Field(ge=0)
    split: str
    seed: int = Field(ge=0)
    variant: str = ""
    protocol: str = EPISODIC

    @model_validator(mode="before")
    @classmethod
    def _without_shots(cls, data: Any) -> Any:
        """Supervised records were once written with 0 for a shot."""
        if isinstance(data, dict) and data.get("protocol") == SUPERVISED and data.get("shot") == 0:
            return data | {"shot": None}
        return data

    @model_validator(mode="after")
    def _of_its_protocol(self) -> Self:
        if self.protocol not in METRICS:
            raise ValueError(f"protocol {self.protocol!r} is not one of {', '.join(METRICS)}: import what adds it")
        if (self.shot is None) == (self.protocol == EPISODIC):
            raise ValueError(f"shot {self.shot} in the {self.protocol} protocol: episodes alone have one")
        return self

    @property
    def at(self) -> str:
        """Its shot in words: "5-shot", or the protocol's name where it has none."""
        return at_shot(self.shot, self.protocol)


def at_shot(shot: int | None, protocol: str) -> str:
    """A cell's shot in words: "5-shot"; its protocol's name where it has none."""
    return protocol if shot is None else f"{shot}-shot"


def shot_order(shot: int | None) -> int:
    """Sorts what has no shot before what has."""
    return 0 if shot is None else shot


class Cost(Frozen):
    """What the cell costs; None where it was not measured.

    macs_per_video: backbone on one clip; macs_per_episode: support, query and head; ``counter`` names who counted.
    bytes: of a file of its weights, floats as float32; None in schema 2.
    thop_gmacs_per_episode: the figure thop prints, with ``thop_note`` on what it leaves out. latency_ms_p50: median
    wall time in milliseconds with ``latency_threads`` threads at ``latency_load`` (1-minute load average),
    ``latency_note`` says of what. training_seconds: wall time of all training behind the cell, its base included, no
    teacher in a student's.
    """

    parameters: int | None = None
    bytes: int | None = None
    macs_per_video: float | None = None
    macs_per_episode: float | None = None
    counter: str | None = None
    thop_gmacs_per_episode: float | None = None
    thop_note: str | None = None
    latency_ms_p50: float | None = None
    latency_threads: int | None = None
    latency_load: float | None = None
    latency_note: str | None = None
    training_seconds: float | None = None


class Record(Frozen):
    """One cell. ``key`` must be ``key_of(identity)``; a done record has its protocol's metrics, a failed one a reason.

    settings: what hashes stand for: ``settings["trained"]`` has the identity's "trained" for its sha256, and the other
    entries ("base", "teacher", "encoder rgb" ...) spell out the hashes in it. Empty in schema 2.
    selection: how the setting or step was chosen; ``selection["split"]`` names the split it was chosen on.
    curve: training history, each point a dict with an integer "step" and plain numbers (None where not finite).
    provenance: commit, versions, hardware, dates and ``argv`` (list of str); no part of the identity.
    """

    schema_version: Literal[2, 3] = SCHEMA_VERSION
    key: str
    identity: dict[str, Any]
    status: Status
    reason: str = ""
    cell: Cell
    metrics: SerializeAsAny[Metrics] | None = None
    cost: Cost | None = None
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    selection: dict[str, Any] = Field(default_factory=dict)
    curve: list[dict[str, Any]] = Field(default_factory=list)
    provenance: dict[str, Any] = Field(default_factory=dict)

    @field_validator("metrics", mode="before")
    @classmethod
    def _of_its_protocol(cls, value: Any, info: ValidationInfo) -> Any:
        cell = info.data.get("cell")
        model = METRICS[cell.protocol] if isinstance(cell, Cell) else Metrics
        return model.model_validate(value) if isinstance(value, dict) else value

    @field_validator("identity", "settings", "selection", "curve", "provenance")
    @classmethod
    def _plain_json(cls, value: Any, info: ValidationInfo) -> Any:
        bad = None if info.context == PLAIN else next(_not_json(value, ""), None)
        if bad:
            raise ValueError(f"{bad}: JSON has no such value, write None, a number or a string")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key != key_of(self.identity):
            raise ValueError(f"key {self.key[:12]}... is not the sha256 of the identity: build it with key_of")
        for name, spelt_out in self.settings.items():
            if self.identity.get(name, key_of(spelt_out)) != key_of(spelt_out):
                raise ValueError(f"settings.{name} is not what the identity's {name} is the sha256 of")
        if self.status == "done" and self.metrics is None:
            raise ValueError("a done record needs metrics")
        if self.metrics is not None and type(self.metrics) is not METRICS[self.cell.protocol]:
            wanted = METRICS[self.cell.protocol].__name__
            raise ValueError(f"{type(self.metrics).__name__} in the {self.cell.protocol} protocol: wanted {wanted}")
        if self.status in ("failed", "diverged", "skipped") and not self.reason:
            raise ValueError(f"a {self.status} record needs a reason")
        for index, point in enumerate(self.curve):
            if not isinstance(point.get("step"), int):
                raise ValueError(f'curve[{index}] needs an integer "step"')
        return self

    @property
    def standing(self) -> str:
        """A line on a record that is not done: its status, and the reason or since when it has been running."""
        if self.status == "started":
            return f"started {self.provenance.get('date', 'at a time not recorded')}, not finished"
        return f"{self.status}: {self.reason}" if self.reason else self.status


def _not_json(value: Any, where: str) -> Any:
    """Yield a description of every leaf that would not come back from JSON as it went in."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                yield f"{where}: key {name!r} is not a string"
            yield from _not_json(item, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _not_json(item, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where.lstrip('.')} is {value}"
    elif value is not None and not isinstance(value, str | int | float | bool):
        yield f"{where.lstrip('.')} is a {type(value).__name__}"
