"""A suite of episodes on skeleton clips: its sections, and what of them is impossible."""

from functools import lru_cache
from inspect import signature
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from fewdistill.benchmark.data.skeletons.class_splits import class_splits
from fewdistill.benchmark.data.skeletons.sampling import SAMPLING, SamplingConfig
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.suite.distillation import distiller, dry_run
from fewdistill.benchmark.suite.networks import (
    LOSS,
    ClipSource,
    NetworkSuite,
    RecipeConfig,
    has_recipe,
    known_stream,
    recipe_of,
)
from fewdistill.benchmark.suite.sections import EpisodicConfig, EvaluateConfig, HeadConfig, Section
from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH
from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import Distiller
from fewdistill.students.heads.base import Head
from fewdistill.students.registry import nearest
from fewdistill.students.skeletons import SKELETONS, JointGraph


class ClassSplit(Section):
    """A split of one's own: names of classes."""

    train: tuple[str, ...] = Field(min_length=2)
    val: tuple[str, ...] = Field(min_length=2)
    test: tuple[str, ...] = Field((), description="none where another data set tests")

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        named = (*self.train, *self.val, *self.test)
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"class {twice[0]!r} stands in it twice: each class trains, validates or tests")
        return self


class SkeletonEpisodicData(ClipSource):
    """Where clips come from, how their classes are divided, and how many frames a network sees."""

    split: str | None = Field(None, description="a split of the layout's classes that comes with the project")
    classes: ClassSplit | None = Field(None, description="instead of split, one of your own")
    frames: int | None = Field(None, ge=1, description="frames a network sees; default the layout's recipe")

    @model_validator(mode="after")
    def _known(self) -> Self:
        there = class_splits(self.layout)
        if (self.split is None) == (self.classes is None):
            shipped = f"split = one of {', '.join(there)}, or " if there else ""
            raise ValueError(f"give {shipped}classes = {{train = [...], val = [...], test = [...]}}")
        if self.split is not None and self.split not in there:
            raise ValueError(f"split = {self.split!r} is not of {self.layout}: {nearest(self.split, there)}")
        has_recipe(self.layout)
        return self

    @property
    def division(self) -> ClassSplit:
        """Which classes train, validate and test."""
        if self.classes is not None:
            return self.classes
        assert self.split is not None
        found = class_splits(self.layout)[self.split]
        return ClassSplit(train=found["train"], val=found["val"], test=found["test"])

    @property
    def split_name(self) -> str:
        """In records: the shipped name, or how many classes of one's own."""
        own = self.division
        return self.split or f"own classes {len(own.train)}/{len(own.val)}/{len(own.test)}"


class OtherData(ClipSource):
    """Another data set, all of whose classes are tested."""

    leave_out: tuple[str, ...] = Field((), description="classes that are not new to who trained on the other set")


class FewShotHeadConfig(HeadConfig):
    """The matching rule of teacher and students: cosine of mean tokens and prototypes, where nothing else is named."""

    name: str = "mean_cosine"
    logit_scale: float = Field(10.0, gt=0, description="multiplies the logits")


class BaseRecipeConfig(RecipeConfig):
    """Training by labels on the training classes, before any episode; selected by validation episodes."""

    select: Literal["last", "best"] = Field("best", description="weights kept: best validated, or of the last epoch")


@lru_cache
def token_shape(network: str, frames: int) -> tuple[int, int]:
    """Width and T' of a network's tokens of clips of so many frames."""
    with torch_scope(torch.device("cpu"), 0, "shape"):  # on meta the initial weights would load half of torch
        plan = SKELETONS[network](JointGraph(2, ((1, 0),), 0), 2)
    return plan.width, plan.token_frames(frames)


class SkeletonEpisodicSuite(NetworkSuite):
    """Networks x what they learn from x seeds, on frozen episodes of classes that nobody trained on."""

    protocol: Literal["episodic"]
    stream: str = Field("joint", description="what networks read; another one is a variant")
    teacher_stream: str | None = Field(None, description="what the teacher reads instead")
    token_norm: bool = Field(True, description="layer-normalise the tokens that heads read")
    data: SkeletonEpisodicData
    test_data: OtherData | None = Field(None, description="another data set that is tested in place of test classes")
    head: HeadConfig = FewShotHeadConfig()
    recipe: RecipeConfig = BaseRecipeConfig()
    teacher_episodic: EpisodicConfig = Field(EpisodicConfig(episodes=0), description="of the teacher; 0: labels alone")
    episodic: EpisodicConfig = EpisodicConfig()
    distiller: dict[str, dict[str, Any]] = Field({}, description="options of losses, by name")
    evaluate: EvaluateConfig = EvaluateConfig()

    def episodic_of(self, network: str) -> EpisodicConfig:
        """How a network trains in episodes."""
        return self.teacher_episodic if network == self.teacher else self.episodic

    @property
    def frames(self) -> int:
        """That a network sees of a clip."""
        return self.data.frames or SAMPLING[self.data.layout].frames

    @property
    def recipe_of_clips(self) -> SamplingConfig:
        """How clips become a network's input."""
        return recipe_of(self.data.layout, self.data.frames)

    def episodic_key(self, network: str) -> str:
        """The section of ``episodic_of``."""
        return "teacher_episodic" if network == self.teacher else "episodic"

    def distiller_of(self, network: str, setting: str) -> Distiller:
        """The loss of a setting: labels alone where it has no teacher."""
        loss = self.loss_of(network, setting)
        return self._distiller(network, loss)

    def _distiller(self, network: str, loss: str | None) -> Distiller:
        given = {} if loss is None else self.distiller.get(loss, {})
        width = token_shape(network, self.frames)[0]
        return distiller(loss or "none", {**given, **_labels_branch(loss or "none")}, width)

    def learner(self, student: nn.Module, loss: Distiller) -> nn.Module:
        """What one optimiser trains: the student, and the projector of a loss that has one."""
        return nn.ModuleList([student, loss]) if isinstance(loss, nn.Module) else student

    def new_head(self, network: str) -> Head:
        """The head on a network's tokens; initial weights from the surrounding torch scope. StudentError."""
        return self.head.new(*token_shape(network, self.frames))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self._networks_possible()
        known_stream("stream", self.stream)
        if self.teacher_stream is not None:
            known_stream("teacher_stream", self.teacher_stream)
        for name in {LOSS, *self.distiller}:
            self._distiller(self.teacher, name)
        for student, settings in self.students.items():
            for setting in settings:
                self._loss_possible(student, setting)
        for name in self.networks:
            self._head_possible(name)
        tested = bool(self.data.division.test)
        if tested == (self.test_data is not None):
            told = "has test classes, and [test_data] would test too" if tested else "tests no class: give [test_data]"
            raise ValueError(f"data: {self.data.split_name} {told}")
        self._variants({"plugins", "evaluate", "test_data"}, {"frames"})
        return self

    def _loss_possible(self, student: str, setting: str) -> None:
        """ValueError for a loss that cannot read what teacher and student give; see ``dry_run``."""
        loss, teacher = self.loss_of(student, setting), self.teacher_of(student, setting)
        assert loss is not None and teacher is not None
        widths = token_shape(student, self.frames), token_shape(teacher[0], self.frames)
        given = {**self.distiller.get(loss, {}), **_labels_branch(loss)}
        try:
            dry_run(loss, given, widths[0][0], branches=(LABEL_BRANCH,), frames=widths[0][1], teacher=widths[1])
        except ValueError as error:
            raise ValueError(f"students.{student}.{setting}: {error}") from error

    def _head_possible(self, network: str) -> None:
        where = "teacher_episodic" if network == self.teacher else "episodic"
        try:
            with torch_scope(torch.device("cpu"), 0, "shape"):
                head = self.new_head(network)
        except StudentError as error:
            raise ValueError(f"head: {error}") from error
        if next(head.parameters(), None) is not None and not self.episodic_of(network).episodes:
            raise ValueError(f"{where}.episodes = 0 leaves the weights of head.name = {self.head.name!r} untrained")


def _labels_branch(loss: str) -> dict[str, Any]:
    """The option that has a loss read the labels on the one branch that these networks have."""
    return {"ce_branches": (LABEL_BRANCH,)} if "ce_branches" in signature(DISTILLERS[loss]).parameters else {}
