"""A suite of supervised skeleton networks: its data, its streams and their sums, and what of them is impossible."""

import math
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fewdistill.benchmark.data.skeletons.sampling import SAMPLING, SamplingConfig
from fewdistill.benchmark.data.skeletons.splits import FIELDS, split_names
from fewdistill.benchmark.suite.networks import (
    LOSS,
    ClipSource,
    DKDConfig,
    NetworkSuite,
    each_once,
    has_recipe,
    known_stream,
    recipe_of,
)
from fewdistill.benchmark.suite.sections import Section
from fewdistill.students.registry import nearest

Degrees = Annotated[float, Field(ge=0, le=180)]
Share = Annotated[float, Field(gt=0, le=1)]


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
        for student, settings in self.students.items():
            for setting in settings:
                if self.loss_of(student, setting) != LOSS:
                    raise ValueError(f"students.{student}.{setting}.loss: supervised networks are distilled by {LOSS}")
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
        self._variants({"plugins"}, {"val_subjects", "frames", "rotation", "mirror", "window"})
        return self
