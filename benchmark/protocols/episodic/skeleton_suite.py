"""A suite of episodes on skeleton clips: its sections, and what of them is impossible."""

from functools import lru_cache
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator

from fewdistill.benchmark.data.skeletons.class_splits import class_splits
from fewdistill.benchmark.data.skeletons.sampling import SAMPLING
from fewdistill.benchmark.protocols.supervised.suite import (
    ClipSource,
    NetworkSuite,
    RecipeConfig,
    has_recipe,
    known_stream,
)
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.suite.distillation import distiller
from fewdistill.benchmark.suite.sections import EpisodicConfig, EvaluateConfig, HeadConfig, Section
from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH
from fewdistill.students.distill.base import Distiller
from fewdistill.students.heads.base import Head
from fewdistill.students.registry import nearest
from fewdistill.students.skeletons import SKELETONS, JointGraph

LOSS = "dkd"


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


class FewShotData(ClipSource):
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


class FewShotSuite(NetworkSuite):
    """Networks x what they learn from x seeds, on frozen episodes of classes that nobody trained on."""

    protocol: Literal["episodic"]
    plugins: tuple[str, ...] = Field((), description="files of your own heads")
    stream: str = Field("joint", description="what networks read; another one is a variant")
    token_norm: bool = Field(True, description="layer-normalise the tokens that heads read")
    data: FewShotData
    test_data: OtherData | None = Field(None, description="another data set that is tested in place of test classes")
    head: HeadConfig = FewShotHeadConfig()
    recipe: RecipeConfig = BaseRecipeConfig()
    teacher_episodic: EpisodicConfig = Field(EpisodicConfig(episodes=0), description="of the teacher; 0: labels alone")
    episodic: EpisodicConfig = EpisodicConfig()
    distiller: dict[str, dict[str, Any]] = Field({}, description=f"options of {LOSS}, the loss of taught settings")
    evaluate: EvaluateConfig = EvaluateConfig()

    def episodic_of(self, network: str) -> EpisodicConfig:
        """How a network trains in episodes."""
        return self.teacher_episodic if network == self.teacher else self.episodic

    @property
    def frames(self) -> int:
        """That a network sees of a clip."""
        return self.data.frames or SAMPLING[self.data.layout].frames

    def distiller_of(self, taught: bool) -> Distiller:
        """The loss of a setting: labels alone where nobody teaches."""
        options = self.distiller.get(LOSS, {}) if taught else {}
        return distiller(LOSS if taught else "none", {**options, "ce_branches": (LABEL_BRANCH,)}, 0)

    def new_head(self, network: str) -> Head:
        """The head on a network's tokens; initial weights from the surrounding torch scope. StudentError."""
        return self.head.new(*token_shape(network, self.frames))

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self._networks_possible()
        known_stream("stream", self.stream)
        if unknown := sorted(self.distiller.keys() - {LOSS}):
            raise ValueError(f"distiller.{unknown[0]}: taught settings learn by {LOSS}")
        self.distiller_of(taught=True)
        for name in self.networks:
            self._head_possible(name)
        tested = bool(self.data.division.test)
        if tested == (self.test_data is not None):
            told = "has test classes, and [test_data] would test too" if tested else "tests no class: give [test_data]"
            raise ValueError(f"data: {self.data.split_name} {told}")
        self._variants({"plugins", "evaluate", "test_data"}, {"frames"})
        return self

    def _head_possible(self, network: str) -> None:
        where = "teacher_episodic" if network == self.teacher else "episodic"
        try:
            with torch_scope(torch.device("cpu"), 0, "shape"):
                head = self.new_head(network)
        except StudentError as error:
            raise ValueError(f"head: {error}") from error
        if next(head.parameters(), None) is not None and not self.episodic_of(network).episodes:
            raise ValueError(f"{where}.episodes = 0 leaves the weights of head.name = {self.head.name!r} untrained")
