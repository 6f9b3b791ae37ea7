"""A suite: one TOML file, checked before any compute. Unknown keys and impossible values name line and remedy."""

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.errors import UserError
from benchmark.registry import load_plugins
from students.backbones import BACKBONES
from students.registry import UnknownNameError
from teachers.modalities import EXPERTS

Distillation = Literal["none", "tokens", "d2m", "both"]
SUITES = Path(__file__).parent / "suites"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Section):
    """Where clips come from and how they become network input."""

    source: Literal["embedded", "folder"] = "embedded"
    root: str | None = Field(None, description="folder of a real data set (source = 'folder')")
    version: int = 1
    seed: int = 0
    clips_per_class: int = Field(40, ge=2)
    train_classes: int = Field(30, ge=2)
    val_classes: int = Field(8, ge=2)
    test_classes: int = Field(10, ge=2)
    list_number: int = 3
    frames: int = Field(8, ge=1)
    image_size: int = Field(64, ge=32)
    resize: int | None = Field(None, description="short side before cropping; default round(image_size * 256 / 224)")
    flip: bool = Field(True, description="random horizontal flips in training, as published")
    input_norm: Literal["imagenet", "none"] = "imagenet"

    @model_validator(mode="after")
    def _root_given(self) -> Self:
        if self.source == "folder" and not self.root:
            raise ValueError("source = 'folder' needs root = '<folder of the data set>'")
        return self


class TrainConfig(_Section):
    """One stage of optimisation with AdamW and a one-cycle learning rate."""

    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    warmup: float = Field(0.2, ge=0, le=1, description="share of the steps in which the learning rate rises")


class BaseConfig(TrainConfig):
    """Supervised training on the training classes, before any episode."""

    epochs: float = Field(8, ge=0)
    batch: int = Field(32, ge=2, description="videos a step")
    clip_frames: int | None = Field(None, ge=1, description="frames drawn of each clip a step; default all")


class StudentBaseConfig(BaseConfig):
    """A student's base training, with or without token distillation."""

    token_weight: float = Field(2.0, ge=0, description="weight of token distillation where a setting uses it")
    token_target: str = Field("fused", description="teacher tokens to follow: fused, or one of teacher.modalities")


class EpisodicConfig(TrainConfig):
    """Episodic training on the training classes."""

    way: int = Field(5, ge=2)
    shot: int = Field(5, ge=1)
    query: int = Field(4, ge=1)
    episodes: int = Field(100, ge=0)
    accumulate: int = Field(1, ge=1, description="episodes a step; the whole loss is averaged over them")
    validate_every: int = Field(50, ge=1, description="episodes between two validations")


class StudentEpisodicConfig(EpisodicConfig):
    """Episodic training of a student, and what comes before it."""

    adapt_episodes: int = Field(0, ge=0, description="first, episodes for branches and head on the frozen trunk")
    adapt_lr: float = Field(1e-3, gt=0)
    token_weight: float = Field(0.0, ge=0, description="weight of token distillation where a setting uses it")


class D2MConfig(_Section):
    """See students/distill/d2m.py; weights apply where a setting distils with D2M."""

    temperature: float = Field(4.0, gt=0)
    query_weight: float = Field(1.0, ge=0)
    support_weight: float = Field(0.5, ge=0)
    support_temperature: float | None = Field(None, gt=0)
    standardise: bool = True
    ce_weight: float = Field(1.0, ge=0)
    ce_branches: tuple[Literal["kl", "ce"], ...] = ("kl", "ce")


class HeadConfig(_Section):
    """TRX over the given tuple sizes."""

    tuple_sizes: tuple[int, ...] = (2,)
    width: int = Field(1152, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    logit_scale: float = Field(1.0, gt=0, description="multiplies the logits; 1 as published")


class FusionConfig(EpisodicConfig):
    """MFM and its TRX head, trained on cached tokens."""

    layers: int = Field(2, ge=1)
    feedforward: int = Field(2048, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    shift: int = Field(1, ge=0)
    flow_shift: Literal["both", "extract_only"] = "both"


class TeacherConfig(_Section):
    """Per-modality encoders, then fusion."""

    modalities: tuple[str, ...] = ("rgb", "depth", "flow")
    encoder: str = "resnet50"
    weights: str = "random"
    base: BaseConfig = BaseConfig()
    episodic: EpisodicConfig = EpisodicConfig()
    fusion: FusionConfig = FusionConfig()


class EvaluateConfig(_Section):
    """Frozen episodes; test episodes are drawn and touched after selection."""

    way: int = Field(5, ge=2)
    shots: tuple[int, ...] = (1, 5)
    query: int = Field(1, ge=1)
    episodes: int = Field(10_000, ge=2)
    val_shot: int = Field(5, ge=1)
    val_episodes: int = Field(1_000, ge=2)
    seed: int = 0


class Suite(_Section):
    """A grid of cells: students x distillation x seeds, and the teacher of each seed."""

    name: str
    seeds: tuple[int, ...] = (0, 1, 2)
    students: tuple[str, ...] = ("resnet18", "mobilenetv3_small", "mobilenetv3_large")
    distillation: tuple[Distillation, ...] = ("none", "tokens", "d2m", "both")
    weights: str = Field("random", description="random, imagenet, or a state_dict file of the backbone")
    width: int = Field(2048, ge=2, description="token width of teacher and students")
    token_norm: bool = Field(True, description="layer-normalise tokens; false as published")
    bf16: tuple[str, ...] = Field((), description="backbones trained under bfloat16 autocast; scoring is float32")
    data: DataConfig = DataConfig()
    teacher: TeacherConfig = TeacherConfig()
    head: HeadConfig = HeadConfig()
    base: StudentBaseConfig = StudentBaseConfig()
    episodic: StudentEpisodicConfig = StudentEpisodicConfig()
    d2m: D2MConfig = D2MConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in (*self.students, self.teacher.encoder):
            BACKBONES[name]
        for modality in self.teacher.modalities:
            EXPERTS[modality]
        for what in ("seeds", "students", "distillation"):
            values = getattr(self, what)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{what} must hold at least one value, each once")
        if len(self.teacher.modalities) < 2:
            raise ValueError("teacher.modalities: fusion joins two modalities or more")
        targets = ("fused", *self.teacher.modalities)
        if self.base.token_target not in targets:
            raise ValueError(f"base.token_target = {self.base.token_target!r}: choose one of {', '.join(targets)}")
        if max(self.head.tuple_sizes, default=0) > self.data.frames:
            raise ValueError(f"head.tuple_sizes: tuples must fit into data.frames = {self.data.frames}")
        if self.data.source == "embedded":
            self._fits_embedded()
        return self

    def _fits_embedded(self) -> None:
        clips = self.data.clips_per_class
        train = {
            "episodic": self.episodic,
            "teacher.episodic": self.teacher.episodic,
            "teacher.fusion": self.teacher.fusion,
        }
        for where, stage in train.items():
            if stage.way > self.data.train_classes:
                raise ValueError(
                    f"{where}.way = {stage.way} is larger than the {self.data.train_classes} training classes"
                )
            if stage.shot + stage.query > clips:
                raise ValueError(
                    f"{where}: shot + query = {stage.shot + stage.query} is larger than clips_per_class = {clips}"
                )
        smallest = min(self.data.val_classes, self.data.test_classes)
        if self.evaluate.way > smallest:
            raise ValueError(f"evaluate.way = {self.evaluate.way} is larger than a split's {smallest} classes")
        most = max(*self.evaluate.shots, self.evaluate.val_shot) + self.evaluate.query
        if most > clips:
            raise ValueError(f"evaluate: shot + query = {most} is larger than clips_per_class = {clips}")


def suite_path(name_or_path: str) -> Path:
    """A suite file by path, or a shipped suite by name; UserError with the nearest names when there is none."""
    path = Path(name_or_path)
    if path.suffix == ".toml" and path.is_file():
        return path
    shipped = {p.stem: p for p in sorted(SUITES.glob("*.toml"))}
    if name_or_path in shipped:
        return shipped[name_or_path]
    near = difflib.get_close_matches(name_or_path, shipped, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"shipped suites: {', '.join(shipped)}"
    raise UserError(f"no suite {name_or_path!r}: {hint}")


def load_suite(name_or_path: str, overrides: tuple[str, ...] = ()) -> Suite:
    """Read and check a suite; ``overrides`` are ``section.key=value`` in TOML. UserError names line and remedy."""
    load_plugins()
    path = suite_path(name_or_path)
    text = path.read_text(encoding="utf-8")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path.name}: not valid TOML: {error}") from error
    for override in overrides:
        _apply(values, override)
    try:
        return Suite.model_validate(values)
    except UnknownNameError as error:
        raise UserError(f"{path.name}: {error}") from error
    except ValidationError as error:
        raise UserError("\n".join(_explain(path.name, text, problem) for problem in error.errors())) from error


def _apply(values: dict[str, Any], override: str) -> None:
    dotted, equals, raw = override.partition("=")
    if not equals:
        raise UserError(f"--set {override!r}: write section.key=value, for example --set episodic.episodes=50")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw
    *sections, key = dotted.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override!r}: {section!r} is no section")
    values[key] = value


def _explain(file: str, text: str, problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location) or "the suite"
    line = _line_of(text, location)
    where = f"{file}:{line}" if line else file
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _known_keys(location[:-1]), n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(_known_keys(location[:-1]))}"
        return f"{where}: unknown key {dotted!r}: {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {dotted}: {message}"


def _known_keys(sections: list[str]) -> list[str]:
    model: type[BaseModel] = Suite
    for section in sections:
        field = model.model_fields.get(section)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _line_of(text: str, location: list[str]) -> int | None:
    """The line that sets the key, or its section's header; None when neither is written in the file."""
    section, header = "", None
    keys = [part for part in location if not part.isdigit()]
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped.strip("[] ")
            if section == ".".join(keys):
                header = number
        name = stripped.partition("=")[0].strip()
        if name and ".".join(filter(None, [section, name])) == ".".join(keys):
            return number
    return header
