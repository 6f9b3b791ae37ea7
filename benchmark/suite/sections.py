"""The sections of a suite: names, defaults, bounds, and what does not go together within one."""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from fewdistill.benchmark.suite.options import checked, chosen
from fewdistill.students.heads import HEADS
from fewdistill.students.heads.base import Head
from fewdistill.teachers import TeacherError
from fewdistill.teachers.fusions import FUSIONS
from fewdistill.teachers.fusions.sums import RELEASED
from fewdistill.teachers.modalities import EXPERTS, CoordinateExpert, Expert

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]


def _parameters(kind: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(kind).parameters)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
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
    resize: int | None = Field(
        None, description="short side before cropping; default image_size (embedded) or image_size * 256 / 224 (folder)"
    )
    pack: str | None = Field(None, description="folder that `fewdistill data pack` wrote; default: read the files")
    flip: bool = Field(True, description="random horizontal flips in training, as published")
    input_norm: Literal["backbone", "none"] = Field("backbone", description="none as released")

    @model_validator(mode="after")
    def _root_given(self) -> Self:
        if self.source == "folder" and not self.root:
            raise ValueError("source = 'folder' needs root = '<folder of the data set>'")
        if self.resize is not None and self.resize < self.image_size:
            raise ValueError(f"resize = {self.resize} is smaller than the crop, image_size = {self.image_size}")
        return self


MICRO_FRAMES = "frames in memory at once, recomputed for the gradient; batch norm sees so many. 0: all of a step"


class TrainConfig(Section):
    """One stage of optimisation with AdamW and a one-cycle learning rate."""

    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    warmup: float = Field(0.2, ge=0, le=1, description="share of the steps in which the learning rate rises")

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay, fused=True)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, from 0."""
        return self.lr * one_cycle(step, steps, self.warmup)


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Factor on the learning rate: a linear rise over the warm-up share, then a cosine fall to 1 % of the peak."""
    position = (step + 1) / steps
    if position < warmup:
        return position / warmup
    fall = (position - warmup) / (1 - warmup) if warmup < 1 else 0.0
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(fall, 1.0)))


class BaseConfig(TrainConfig):
    """Supervised training on the training classes, before any episode."""

    epochs: float = Field(8, ge=0)
    batch: int = Field(32, ge=2, description="videos a step")
    clip_frames: int | None = Field(None, ge=1, description="frames drawn of each clip a step; default all")
    micro_frames: int = Field(0, ge=0, description=MICRO_FRAMES)


class StudentBaseConfig(BaseConfig):
    """A student's base training, with what it distils."""

    token_weight: float = Field(2.0, ge=0, description="weight of token distillation where a setting uses it")
    relation_weight: float = Field(0.0, ge=0, description="weight of D2M's support level where a setting uses D2M")
    token_target: str = Field("fused", description="teacher tokens to follow: fused, or one of teacher.modalities")


class EpisodicConfig(TrainConfig):
    """Episodic training on the training classes."""

    way: int = Field(5, ge=2)
    shot: int = Field(5, ge=1)
    query: int = Field(4, ge=1)
    episodes: int = Field(100, ge=0)
    accumulate: int = Field(1, ge=1, description="episodes a step; the whole loss is averaged over them")
    validate_every: int = Field(50, ge=1, description="episodes between two validations")


class NetworkEpisodicConfig(EpisodicConfig):
    """Episodic training of a network that reads frames."""

    passes: Literal["one", "two"] = Field(
        "one", description="two: batch norm sees support and query apart, as released"
    )
    micro_frames: int = Field(0, ge=0, description=MICRO_FRAMES)


class StudentEpisodicConfig(NetworkEpisodicConfig):
    """Episodic training of a student, and what comes before it."""

    adapt_episodes: int = Field(0, ge=0, description="first, episodes for branches and head on the frozen trunk")
    adapt_lr: float = Field(1e-3, gt=0)
    token_weight: float = Field(2.0, ge=0, description="weight of token distillation where a setting uses it")


class HeadConfig(Section):
    """The matching rule of teacher and students. A key the named head does not read may not be set."""

    name: str = "trx"
    tuple_sizes: tuple[Positive, ...] = Field((2,), min_length=1)
    width: int = Field(1152, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    pair_width: int = Field(1024, ge=1, description="of STRM's nearest-pair rule")
    attention_heads: int = Field(8, ge=1, description="of HyRSM; must divide the token width")
    smoothing: float = Field(0.1, gt=0, description="of OTAM's soft minimum; 0.1 as published")
    logit_scale: float = Field(1.0, gt=0, description="multiplies the logits; 1 as published")

    @classmethod
    def unread_by(cls, name: str) -> set[str]:
        """The keys that the head of this name does not read; UnknownNameError for a name nobody registered."""
        taken = {"width" if key == "head_width" else "" if key == "width" else key for key in _parameters(HEADS[name])}
        return cls.model_fields.keys() - taken - {"name"}

    @model_validator(mode="after")
    def _read(self) -> Self:
        if unread := self.unread_by(self.name) & self.model_fields_set:
            raise ValueError(f"head.name = {self.name!r} does not read {', '.join(sorted(unread))}")
        return self

    def new(self, width: int, frames: int) -> Head:
        """The head for tokens (N, frames, width); initial weights from the surrounding torch scope."""
        return HEADS[self.name](width, frames, **self.options())

    def options(self) -> dict[str, Any]:
        """What the named head's constructor takes of this section; UnknownNameError for a name nobody registered."""
        taken = _parameters(HEADS[self.name])
        given = {"head_width" if name == "width" else name: value for name, value in self if name != "name"}
        return {name: value for name, value in given.items() if name in taken and name != "width"}


class FusionConfig(EpisodicConfig):
    """A fusion and its head, trained on cached tokens. A key the named fusion does not read may not be set."""

    name: str = "mfm"
    released: str | None = Field(None, description="the released class (name = 'released')")
    layers: int = Field(2, ge=1)
    feedforward: int = Field(2048, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    shift: int = Field(1, ge=0)
    flow_shift: Literal["both", "extract_only"] = "both"
    weights: tuple[float, ...] = Field((), description="of score fusion, one a modality; default 1, 0.3, 0.3, ...")

    @classmethod
    def unread_by(cls, name: str) -> set[str]:
        """The keys that the fusion of this name does not read; UnknownNameError for a name nobody registered."""
        own = cls.model_fields.keys() - EpisodicConfig.model_fields.keys() - {"name"}
        return own - {*_parameters(FUSIONS[name]), *(["weights"] if name == "score" else [])}

    @model_validator(mode="after")
    def _read(self) -> Self:
        if unread := self.unread_by(self.name) & self.model_fields_set:
            raise ValueError(f"fusion.name = {self.name!r} does not read {', '.join(sorted(unread))}")
        if self.name == "released" and self.released is None:
            raise ValueError(f"fusion.name = 'released' needs released = one of {', '.join(RELEASED)}")
        return self


class OwnEncoderConfig(Section):
    """What one modality's encoder trains with instead of the teacher's values: keys of these sections."""

    base: dict[str, Any] = {}
    episodic: dict[str, Any] = {}


class TeacherConfig(Section):
    """Per-modality encoders, then fusion."""

    modalities: tuple[str, ...] = ("rgb", "depth", "flow")
    expert: dict[str, dict[str, Any]] = Field({}, description="options of modality experts, by name")
    encoder: str = Field("resnet50", description="of images; an expert that gives coordinates names its own network")
    weights: str = Field("random", description="of the encoders of images")
    base: BaseConfig = BaseConfig()
    episodic: NetworkEpisodicConfig = NetworkEpisodicConfig()
    fusion: FusionConfig = FusionConfig()
    own: dict[str, OwnEncoderConfig] = Field({}, description="settings of single modalities' encoders, by name")

    def of(self, modality: str) -> Self:
        """The teacher as one modality's encoder trains: its own settings in the place of the common ones."""
        if modality not in self.own:
            return self
        own = self.own[modality]
        changed = {
            "base": BaseConfig.model_validate({**self.base.model_dump(), **own.base}),
            "episodic": NetworkEpisodicConfig.model_validate({**self.episodic.model_dump(), **own.episodic}),
            "own": {},
        }
        return self.model_copy(update=changed)

    def network(self, modality: str) -> str:
        """The name of the network that reads a modality."""
        expert = self.new_expert(modality)
        return expert.network if isinstance(expert, CoordinateExpert) else self.encoder

    def new_expert(self, modality: str) -> Expert:
        """A modality's expert with the suite's options; ValueError names the key that it cannot take."""
        where, kind = f"teacher.expert.{modality}", EXPERTS[modality]
        try:
            return kind(**chosen(checked(where, kind, self.expert.get(modality, {}), leave=frozenset())))
        except TeacherError as error:
            raise ValueError(f"{where}: {error}") from error


class SwitchConfig(Section):
    """Where the released Lite-MKD departs from its paper. The defaults are what the paper means."""

    teacher_head: Literal["trained", "random"] = Field("trained", description="random: never loaded, as released")
    teacher_mode: Literal["eval", "train"] = Field("eval", description="train: dropout on the teacher, as released")
    support_order: Literal["by_label", "as_drawn"] = Field(
        "by_label", description="as_drawn: the shuffled support taken for sorted by class, as released"
    )


class EvaluateConfig(Section):
    """Frozen episodes; test episodes are drawn and touched after selection."""

    way: int = Field(5, ge=2)
    val_way: int | None = Field(None, ge=2, description="classes of a validation episode; default way")
    shots: tuple[Positive, ...] = Field((1, 5), min_length=1)
    query: int = Field(1, ge=1)
    episodes: int = Field(10_000, ge=2)
    val_shot: int = Field(5, ge=1)
    val_episodes: int = Field(1_000, ge=2)
    seed: int = 0

    def way_of(self, split: str) -> int:
        """The classes of an episode of "val" or "test"."""
        return self.val_way if split == "val" and self.val_way is not None else self.way


class OwnConfig(Section):
    """What one student trains with instead of the suite's values: keys of these sections."""

    base: dict[str, Any] = {}
    episodic: dict[str, Any] = {}
    distiller: dict[str, dict[str, Any]] = {}


NAMED: dict[tuple[str, ...], type[HeadConfig] | type[FusionConfig]] = {
    ("head",): HeadConfig,
    ("teacher", "fusion"): FusionConfig,
}
"""Sections whose keys depend on a name in them. Who changes the name leaves the old name's own keys behind."""
