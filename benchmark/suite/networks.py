"""What suites of skeleton networks share: the networks, whose outputs each is trained by, and their recipe."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from fewdistill.benchmark.data.skeletons import LAYOUTS
from fewdistill.benchmark.data.skeletons.sampling import SAMPLING, SamplingConfig
from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet, load
from fewdistill.benchmark.data.skeletons.streams import STREAMS
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.suite.base import WithVariants, first_problem
from fewdistill.benchmark.suite.sections import NotNegative, Positive, Section
from fewdistill.students.registry import nearest
from fewdistill.students.skeletons import SKELETONS

PLAIN, NO_TEACHER = "none", "-"
"""Settings of a student, and of the teacher, that are trained by labels alone."""
LOSS = "dkd"
"""The loss of a setting that names none."""


class ClipSource(Section):
    """A data set of joints."""

    layout: str
    root: str = Field(description="folder of the data set; when it is missing, the error says what to download")

    @model_validator(mode="after")
    def _layout_known(self) -> Self:
        LAYOUTS[self.layout]
        return self


def read_clips(data: ClipSource) -> SkeletonSet:
    """The whole data set in memory; DataError says what to download where there is none."""
    with bar(f"read {data.root}", "clips") as tick:
        return load(data.root, data.layout, progress=tick)


def recipe_of(layout: str, frames: int | None) -> SamplingConfig:
    """The recipe of a layout, at another number of frames unless that is None."""
    return SAMPLING[layout] if frames is None else replace(SAMPLING[layout], frames=frames)


def has_recipe(layout: str) -> None:
    """ValueError for a layout without a recipe of its own, which cannot train."""
    if layout not in SAMPLING:
        raise ValueError(f"layout = {layout!r} has no recipe of its own")


class RecipeConfig(Section):
    """Training with SGD, the rate falling in steps or as a cosine. The defaults are CTR-GCN's for NTU RGB+D (Chen et
    al., ICCV 2021); for NW-UCLA its rate falls at epoch 50 alone.
    """

    epochs: Positive = 65
    batch: int = Field(16, ge=2, description="clips a step")
    repeat: Positive = Field(5, description="times that an epoch passes the training clips")
    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, gt=0, lt=1, description="Nesterov's")
    weight_decay: float = Field(1e-4, ge=0)
    warmup: NotNegative = Field(5, description="epochs in which the rate rises")
    anneal: Literal["steps", "cosine"] = Field(
        "steps", description="steps: at decay, as published; cosine: to zero over the training, better when it is short"
    )
    decay: tuple[Positive, ...] = Field((35, 55), description="epochs from which the rate is multiplied by decay_by")
    decay_by: float = Field(0.1, gt=0, le=1)
    validate_every: Positive = Field(5, description="epochs between two validations")
    select: Literal["last", "best"] = Field("last", description="weights kept: of the last epoch, or best validated")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        late = [epoch for epoch in self.decay if epoch >= self.epochs and self.anneal == "steps"]
        if late or self.warmup >= self.epochs:
            what = f"decay at {late[0]}" if late else f"warmup = {self.warmup}"
            raise ValueError(f"{what} does not fit into epochs = {self.epochs}: shorten it too")
        return self

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """SGD with Nesterov's momentum."""
        return torch.optim.SGD(
            parameters, lr=self.lr, momentum=self.momentum, nesterov=True, weight_decay=self.weight_decay, fused=True
        )

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, from 0: one rate an epoch, as published, or another each step for a cosine."""
        if self.anneal == "cosine":
            warm = steps * self.warmup / self.epochs
            if step < warm:
                return self.lr * (step + 1) / warm
            return self.lr * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2
        epoch = step * self.epochs // steps
        if epoch < self.warmup:
            return self.lr * (epoch + 1) / self.warmup
        return self.lr * self.decay_by ** sum(epoch >= at for at in self.decay)


class DKDConfig(Section):
    """Decoupled distillation. The defaults are those published with DKD (Zhao et al., CVPR 2022); DKE-GCN's own
    weights and schedule are not published.
    """

    ce_weight: float = Field(1.0, ge=0)
    alpha: float = Field(1.0, ge=0)
    beta: float = Field(8.0, ge=0)
    temperature: float = Field(4.0, gt=0)
    warmup: NotNegative = Field(20, description="epochs in which the weight of distillation rises")


class LearnsFrom(Section):
    """A setting that names its loss: the teacher, or the student/setting that is trained before; and the loss."""

    teacher: str = "teacher"
    loss: str = LOSS


class NetworkSuite(WithVariants):
    """Networks, the teacher of each, and their recipe."""

    name: str
    plugins: tuple[str, ...] = Field((), description="files of your own networks, heads, losses or layouts")
    seeds: tuple[NotNegative, ...] = (0, 1, 2)
    teacher: str = "ctr_gcn"
    students: dict[str, dict[str, str | LearnsFrom]] = Field(
        {},
        description="by network, its settings by name: what it is distilled from, teacher or a student/setting, or a "
        "table of teacher and loss",
    )
    bf16: tuple[str, ...] | Literal["auto"] = Field(
        (), description="networks trained under bfloat16 autocast; auto: where a probe says it is faster"
    )
    recipe: RecipeConfig = RecipeConfig()

    @property
    def networks(self) -> tuple[str, ...]:
        """All of them, the teacher first."""
        return tuple(dict.fromkeys((self.teacher, *self.students)))

    def every_network(self) -> tuple[str, ...]:
        """Those of the suite and all its variants."""
        return tuple(dict.fromkeys(network for _, suite in self.versions() for network in suite.networks))

    def settings(self, student: str) -> tuple[str, ...]:
        """A student's settings: by labels alone, then what the suite says of it."""
        return (PLAIN, *self.students[student])

    def loss_of(self, network: str, setting: str) -> str | None:
        """The name of a setting's loss; None for labels alone."""
        if setting in (PLAIN, NO_TEACHER):
            return None
        named = self.students[network][setting]
        return LOSS if isinstance(named, str) else named.loss

    def teacher_of(self, network: str, setting: str) -> tuple[str, str] | None:
        """Network and setting of its teacher; None for labels alone."""
        if setting in (PLAIN, NO_TEACHER):
            return None
        how = self.students[network][setting]
        named = how if isinstance(how, str) else how.teacher
        if named == "teacher":
            return self.teacher, NO_TEACHER
        other, _, of = named.partition("/")
        return other, of

    def _networks_possible(self) -> None:
        for name in self.networks:
            SKELETONS[name]
        if self.teacher in self.students:
            raise ValueError(f"students.{self.teacher} is the teacher: choose another teacher, or leave it out")
        for name in () if self.bf16 == "auto" else self.bf16:
            if name not in self.networks:
                raise ValueError(f"bf16: {nearest(name, self.networks)}")
        each_once("seeds", self.seeds)
        for student, settings in self.students.items():
            self._teachers_possible(student, settings)

    def _teachers_possible(self, student: str, settings: Mapping[str, str | LearnsFrom]) -> None:
        for setting in settings:
            where = f"students.{student}.{setting}"
            if setting in (PLAIN, NO_TEACHER) or "/" in setting:
                raise ValueError(f"{where}: a setting needs a name other than {PLAIN}, without /")
            seen = [(student, setting)]
            while (before := self._resolved(where, *seen[-1])) is not None:
                if before in seen:
                    raise ValueError(f"{where}: its teachers lead back to itself")
                seen.append(before)

    def _resolved(self, where: str, network: str, setting: str) -> tuple[str, str] | None:
        """``teacher_of``, where that is in the suite; ValueError otherwise."""
        found = self.teacher_of(network, setting)
        if found is None or found == (self.teacher, NO_TEACHER):
            return found
        if found[0] not in self.students or found[1] not in self.settings(found[0]):
            there = ["teacher", *(f"{name}/{each}" for name in self.students for each in self.settings(name))]
            raise ValueError(f"{where} = {'/'.join(found)!r}: {nearest('/'.join(found), there)}")
        return found

    def _variants(self, fixed_sections: set[str], variable_data: set[str]) -> None:
        """variable_data: settings of the data that leave what is tested as it is."""
        for name, changes in self.variant.items():
            data = changes.get("data", {})
            fixed = {*changes} & {"name", "protocol", "variant", *fixed_sections}
            fixed |= {f"data.{key}" for key in (data if isinstance(data, dict) else []) if key not in variable_data}
            if fixed:
                raise ValueError(f"variant.{name}: {', '.join(sorted(fixed))} must stay the suite's")
            try:
                self.with_variant(name)
            except ValueError as error:
                raise ValueError(f"variant.{name}: {first_problem(error)}") from error


def each_once(what: str, values: Sequence[object]) -> None:
    """ValueError for an empty list and for a value that stands in it twice."""
    if not values or len(set(values)) != len(values):
        raise ValueError(f"{what} must hold at least one value, each once")


def known_stream(where: str, name: str) -> None:
    """ValueError for an input that is none."""
    if name not in STREAMS:
        raise ValueError(f"{where}: unknown stream {name!r}: {nearest(name, STREAMS)}")
