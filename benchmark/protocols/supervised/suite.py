"""A suite of skeleton networks: what those of every protocol say, then the supervised one, and what is impossible."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from fewdistill.benchmark.data.skeletons import LAYOUTS
from fewdistill.benchmark.data.skeletons.sampling import SAMPLING, SamplingConfig
from fewdistill.benchmark.data.skeletons.splits import FIELDS, split_names
from fewdistill.benchmark.data.skeletons.streams import STREAMS
from fewdistill.benchmark.protocols.episodic.suite import Varied, why
from fewdistill.benchmark.suite.sections import NotNegative, Positive, Section
from fewdistill.students.registry import nearest
from fewdistill.students.skeletons import SKELETONS

Degrees = Annotated[float, Field(ge=0, le=180)]
Share = Annotated[float, Field(gt=0, le=1)]
PLAIN, TAUGHT_BY_NOBODY = "none", "-"
"""Settings of a student, and of the teacher, that learn from labels alone."""


class SplitConfig(Section):
    """A split of one's own: clips by the value of one field."""

    field: str
    train: tuple[int | str, ...] = Field(min_length=1)
    test: tuple[int | str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.field not in FIELDS:
            raise ValueError(f"field = {self.field!r}: {nearest(self.field, FIELDS)}")
        return self


class ClipSource(Section):
    """A data set of joints."""

    layout: str
    root: str = Field(description="folder of the data set; when it is missing, the error says what to download")

    @model_validator(mode="after")
    def _layout_known(self) -> Self:
        LAYOUTS[self.layout]
        return self


def recipe_of(layout: str, frames: int | None) -> SamplingConfig:
    """The recipe of a layout, at another number of frames unless that is None."""
    return SAMPLING[layout] if frames is None else replace(SAMPLING[layout], frames=frames)


def has_recipe(layout: str) -> None:
    """ValueError for a layout without a recipe of its own, which cannot train."""
    if layout not in SAMPLING:
        raise ValueError(f"layout = {layout!r} has no recipe of its own")


class SkeletonData(ClipSource):
    """Where clips come from, which of them train, and how many frames a network sees."""

    split: str | None = Field(None, description="a published split of the layout")
    split_by: SplitConfig | None = Field(None, description="instead of split, one of your own")
    val_subjects: tuple[int, ...] = Field((), description="subjects of the training part that validate instead")
    frames: int | None = Field(None, ge=1, description="frames a network sees; default the layout's recipe")
    rotation: tuple[Degrees, Degrees, Degrees] | None = Field(
        None, description="bounds of the turns about x, y and z in training, in degrees; default the layout's recipe"
    )
    mirror: bool = Field(False, description="half of the training clips with left and right exchanged")
    window: tuple[Share, Share] = Field(
        (1.0, 1.0), description="bounds of the share of a clip that frames are drawn from in training"
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        published = split_names(self.layout)
        if (self.split is None) == (self.split_by is None):
            there = f"split = one of {', '.join(published)}, or " if published else ""
            raise ValueError(f"give {there}split_by = {{field = ..., train = [...], test = [...]}}")
        if self.split is not None and self.split not in published:
            raise ValueError(f"split = {self.split!r} is not of {self.layout}: {nearest(self.split, published)}")
        has_recipe(self.layout)
        if self.window[0] > self.window[1]:
            raise ValueError(f"window = {list(self.window)}: the smaller share comes first")
        if self.window != (1, 1) and SAMPLING[self.layout].times != "draw":
            raise ValueError(f"window is of layouts whose frames are drawn; {self.layout} has crops of its own")
        return self

    @property
    def recipe(self) -> SamplingConfig:
        """How clips become a network's input."""
        recipe = replace(recipe_of(self.layout, self.frames), mirror=self.mirror, window=self.window)
        if self.rotation is None:
            return recipe
        x, y, z = map(math.radians, self.rotation)
        return replace(recipe, rotation=(x, y, z))

    @property
    def split_name(self) -> str:
        """In records: the published name, or field and values."""
        if self.split is not None:
            return self.split
        assert self.split_by is not None
        return f"{self.split_by.field} {','.join(map(str, self.split_by.test))}"


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


class NetworkSuite(Varied):
    """What suites of skeleton networks have in common: the networks, whom each learns from, and their recipe."""

    name: str
    seeds: tuple[NotNegative, ...] = (0, 1, 2)
    teacher: str = "ctr_gcn"
    students: dict[str, dict[str, str]] = Field(
        {}, description="by network, its settings by name: teacher, or the student/setting that it learns from"
    )
    bf16: tuple[str, ...] | Literal["auto"] = Field(
        (), description="networks trained under bfloat16 autocast; auto: where a probe says it is faster"
    )
    recipe: RecipeConfig = RecipeConfig()

    @property
    def networks(self) -> tuple[str, ...]:
        """All of them, the teacher first."""
        return tuple(dict.fromkeys((self.teacher, *self.students)))

    def settings(self, student: str) -> tuple[str, ...]:
        """A student's settings: by labels alone, then what the suite says of it."""
        return (PLAIN, *self.students[student])

    def learns_from(self, network: str, setting: str) -> tuple[str, str] | None:
        """Network and setting of the one it learns from; None for labels alone."""
        if setting in (PLAIN, TAUGHT_BY_NOBODY):
            return None
        named = self.students[network][setting]
        if named == "teacher":
            return self.teacher, TAUGHT_BY_NOBODY
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
            self._taught(student, settings)

    def _taught(self, student: str, settings: Mapping[str, str]) -> None:
        for setting, named in settings.items():
            where = f"students.{student}.{setting}"
            if setting in (PLAIN, TAUGHT_BY_NOBODY) or "/" in setting:
                raise ValueError(f"{where}: a setting needs a name other than {PLAIN}, without /")
            seen = [(student, setting)]
            while (before := self._resolved(where, *seen[-1])) is not None:
                if before in seen:
                    raise ValueError(f"{where} = {named!r}: it learns from itself in the end")
                seen.append(before)

    def _resolved(self, where: str, network: str, setting: str) -> tuple[str, str] | None:
        """``learns_from``, where that is in the suite; ValueError otherwise."""
        found = self.learns_from(network, setting)
        if found is None or found == (self.teacher, TAUGHT_BY_NOBODY):
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
                self.varied(name)
            except ValueError as error:
                raise ValueError(f"variant.{name}: {why(error)}") from error


def each_once(what: str, values: Sequence[object]) -> None:
    """ValueError for an empty list and for a value that stands in it twice."""
    if not values or len(set(values)) != len(values):
        raise ValueError(f"{what} must hold at least one value, each once")


def known_stream(where: str, name: str) -> None:
    """ValueError for an input that is none."""
    if name not in STREAMS:
        raise ValueError(f"{where}: unknown stream {name!r}: {nearest(name, STREAMS)}")


class SkeletonSuite(NetworkSuite):
    """Networks x streams x what they learn from x seeds, and streams summed."""

    protocol: Literal["supervised"]
    streams: tuple[str, ...] = ("joint", "bone")
    ensembles: dict[str, dict[str, Annotated[float, Field(gt=0)]]] = Field(
        {}, description="by name, streams and the weights of their logits in the sum"
    )
    data: SkeletonData
    dkd: DKDConfig = DKDConfig()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self._networks_possible()
        each_once("streams", self.streams)
        for name in self.streams:
            known_stream("streams", name)
        for name, weights in self.ensembles.items():
            if name in self.streams or "-" in name or "/" in name:
                raise ValueError(f"ensembles.{name}: choose a name without - and /, that is no stream's")
            if len(weights) < 2 or (foreign := weights.keys() - set(self.streams)):
                told = f"{sorted(foreign)[0]} is not in streams" if len(weights) > 1 else "sum two streams or more"
                raise ValueError(f"ensembles.{name}: {told}")
        if self.recipe.select == "best" and not self.data.val_subjects:
            raise ValueError("recipe.select = 'best' needs data.val_subjects, or take 'last'")
        self._variants(set(), {"val_subjects", "frames", "rotation", "mirror", "window"})
        return self
