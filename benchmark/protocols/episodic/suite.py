"""A suite: its sections together, what of them is impossible, and its variants."""

import inspect
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator

from fewdistill.benchmark.suite.base import WithVariants, first_problem
from fewdistill.benchmark.suite.distillation import distillation, distiller, dry_run
from fewdistill.benchmark.suite.options import checked, chosen
from fewdistill.benchmark.suite.sections import (
    DataConfig,
    EvaluateConfig,
    FusionConfig,
    HeadConfig,
    NotNegative,
    OwnConfig,
    StudentBaseConfig,
    StudentEpisodicConfig,
    SwitchConfig,
    TeacherConfig,
)
from fewdistill.students import StudentError
from fewdistill.students.distill.base import Distiller
from fewdistill.students.skeletons import SKELETONS
from fewdistill.students.trunks import BACKBONES
from fewdistill.teachers import TeacherError
from fewdistill.teachers.fusions import FUSIONS
from fewdistill.teachers.fusions.base import Fusion
from fewdistill.teachers.fusions.sums import TransformerSum
from fewdistill.teachers.modalities import EXPERTS, Expert

_VARIABLE_DATA = {"flip", "input_norm"}
"""Settings of the data that leave the files, and so the episodes, as they are."""


class Suite(WithVariants):
    """A grid of cells: students x distillation x seeds, and the teacher of each seed."""

    protocol: Literal["episodic"] = "episodic"
    name: str
    plugins: tuple[str, ...] = Field((), description="files of your own students, heads, losses, fusions or experts")
    seeds: tuple[NotNegative, ...] = (0, 1, 2)
    students: tuple[str, ...] = ("resnet18", "mobilenetv3_small", "mobilenetv3_large")
    distillation: tuple[str, ...] = ("none", "tokens", "d2m", "both")
    weights: str = Field("random", description="random, imagenet, or a file: of a classifier, or imported")
    width: int = Field(2048, ge=2, description="token width of teacher and students")
    token_norm: bool = Field(True, description="layer-normalise tokens; false as published")
    patch_enrichment: bool = Field(False, description="STRM's attention among a frame's cells, in the students")
    bf16: tuple[str, ...] | Literal["auto"] = Field(
        (), description="networks trained under bfloat16 autocast; auto: backbones that a probe says are faster so"
    )
    data: DataConfig = DataConfig()
    teacher: TeacherConfig = TeacherConfig()
    head: HeadConfig = HeadConfig()
    base: StudentBaseConfig = StudentBaseConfig()
    episodic: StudentEpisodicConfig = StudentEpisodicConfig()
    distiller: dict[str, dict[str, Any]] = Field({}, description="options of distillers, by name")
    evaluate: EvaluateConfig = EvaluateConfig()
    switches: SwitchConfig = SwitchConfig()
    own: dict[str, OwnConfig] = Field({}, description="settings of single students, by name")
    coordinates: dict[str, Any] = Field(
        {}, description="options of the joints expert for students that are skeleton networks, which read coordinates"
    )

    def student_expert(self, student: str) -> Expert:
        """What a student reads: rgb, or where it is a skeleton network the coordinates of joints."""
        if student not in SKELETONS:
            return EXPERTS["rgb"]()
        where, kind = "coordinates", EXPERTS["joints"]
        options = {**self.coordinates, "network": student}
        try:
            return kind(**chosen(checked(where, kind, options, leave=frozenset())))
        except TeacherError as error:
            raise ValueError(f"{where}: {error}") from error

    def of(self, student: str) -> Self:
        """The suite as one student trains: its own settings in the place of the common ones."""
        if student not in self.own:
            return self
        own = self.own[student]
        losses = {name: {**self.options_of(name), **changes} for name, changes in own.distiller.items()}
        changed = {
            "base": StudentBaseConfig.model_validate({**self.base.model_dump(), **own.base}),
            "episodic": StudentEpisodicConfig.model_validate({**self.episodic.model_dump(), **own.episodic}),
            "distiller": {**self.distiller, **losses},
            "own": {},
        }
        return self.model_copy(update=changed)

    def options_of(self, distiller: str) -> dict[str, Any]:
        """What the suite says of a distiller; its defaults stand for the rest."""
        return self.distiller.get(distiller, {})

    def distiller_of(self, name: str) -> Distiller:
        """A distiller as the suite sets it."""
        return distiller(name, self.options_of(name), self.width)

    @property
    def score_weights(self) -> tuple[float, ...]:
        """The weight of each modality's logits where the teacher fuses scores; nothing where it fuses tokens."""
        if self.teacher.fusion.name != "score":
            return ()
        return self.teacher.fusion.weights or (1.0, *[0.3] * (len(self.teacher.modalities) - 1))

    def new_fusion(self) -> Fusion:
        """The teacher's fusion with fresh weights; StudentError where it cannot join the modalities."""
        config = self.teacher.fusion
        keep = inspect.signature(FUSIONS[config.name]).parameters.keys() & FusionConfig.model_fields.keys()
        options = {name: value for name, value in config if name in keep}
        return FUSIONS[config.name](len(self.teacher.modalities), self.width, self.data.frames, **options)

    @model_validator(mode="after")
    def _all_possible(self) -> Self:
        self._possible()
        for student in self.own:
            if student not in SKELETONS:
                BACKBONES[student]  # known, but not asked for: a run may leave students out
            try:
                self.of(student)._possible()
            except ValueError as error:
                raise ValueError(f"own.{student}: {first_problem(error)}") from error
        for name, changes in self.variant.items():
            data = changes.get("data", {})
            fixed = {*changes} & {"name", "plugins", "evaluate", "variant"}
            fixed |= {*(data if isinstance(data, dict) else [])} - _VARIABLE_DATA
            if fixed:
                raise ValueError(f"variant.{name}: {', '.join(sorted(fixed))} must stay the suite's")
            if not name:
                raise ValueError("variant: the empty name is the suite itself")
            try:
                self.with_variant(name)
            except ValueError as error:
                raise ValueError(f"variant.{name}: {first_problem(error)}") from error
        return self

    def _possible(self) -> None:
        named = () if self.bf16 == "auto" else self.bf16
        for name in (self.teacher.encoder, *(name for name in (*self.students, *named) if name not in SKELETONS)):
            BACKBONES[name]
        for name in self.students:
            self.student_expert(name)
        for modality in {*self.teacher.modalities, *self.teacher.expert}:
            self.teacher.new_expert(modality)
        for modality in self.teacher.own:
            self.teacher.new_expert(modality)  # known, but not asked for: a run may leave modalities out
            try:
                self.teacher.of(modality)
            except ValueError as error:
                raise ValueError(f"teacher.own.{modality}: {first_problem(error)}") from error
        for name in {*self.distiller, *(distillation(setting).distiller for setting in self.distillation)}:
            dry_run(name, self.options_of(name), self.width)
        lists = {
            "seeds": self.seeds,
            "students": self.students,
            "distillation": self.distillation,
            "evaluate.shots": self.evaluate.shots,
            "teacher.modalities": self.teacher.modalities,
        }
        for what, values in lists.items():
            alone = what == "students"  # a suite of teachers
            if not (values or alone) or len(set(values)) != len(values):
                raise ValueError(f"{what} must hold {'' if alone else 'at least one value, '}each once")
        targets = (*(["fused"] if self._fusion_width() == self.width else []), *self.teacher.modalities)
        if self.base.token_target not in targets:
            raise ValueError(f"base.token_target = {self.base.token_target!r}: choose one of {', '.join(targets)}")
        if max(self.head.options().get("tuple_sizes", (1,))) > self.data.frames:
            raise ValueError(f"head.tuple_sizes: tuples must fit into data.frames = {self.data.frames}")
        if self.width % self.head.options().get("attention_heads", 1):
            raise ValueError(f"head.attention_heads = {self.head.attention_heads} does not divide width = {self.width}")
        self._tokens_are_distilled()
        if self.switches.support_order == "as_drawn" and self.episodic.shot == 1:
            raise ValueError("switches.support_order = 'as_drawn' mixes no classes at episodic.shot = 1: use 2 or more")
        if self.base.relation_weight and self.weights != "random":
            raise ValueError("base.relation_weight: given weights skip base training, where it counts: set it to 0")
        if self.data.source == "embedded":
            self._fits_embedded()

    def _fusion_width(self) -> int:
        """Width of the fused tokens of a fusion that the modalities allow, and that one cached row a video can hold."""
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                fusion = self.new_fusion()
        except StudentError as error:
            raise ValueError(f"teacher.fusion: {error}") from error
        if isinstance(fusion, TransformerSum) and not fusion.symmetric:
            raise ValueError(
                f"teacher.fusion: {self.teacher.fusion.released} fuses support and query videos differently, which "
                "tokens cached once a video cannot hold"
            )
        if self.score_weights and len(self.score_weights) != len(self.teacher.modalities):
            raise ValueError(f"teacher.fusion.weights: give one for each of {', '.join(self.teacher.modalities)}")
        return fusion.out_width

    def _tokens_are_distilled(self) -> None:
        """A setting that is called tokens must not train what none does."""
        in_base = self.weights == "random" and self.base.epochs > 0 and self.base.token_weight > 0
        if (
            any(distillation(name).tokens for name in self.distillation)
            and not in_base
            and not self.episodic.token_weight
        ):
            raise ValueError(
                "no stage distils tokens (base training is skipped with given weights): set episodic.token_weight, or "
                'leave "tokens", "both" and "tokens+..." out of distillation'
            )

    def _fits_embedded(self) -> None:
        clips = self.data.clips_per_class
        train = {
            "episodic": self.episodic,
            "teacher.episodic": self.teacher.episodic,
            "teacher.fusion": self.teacher.fusion,
            **{f"teacher.own.{name}.episodic": self.teacher.of(name).episodic for name in self.teacher.own},
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
        for split, classes in (("val", self.data.val_classes), ("test", self.data.test_classes)):
            way = self.evaluate.way_of(split)
            if way > classes:
                raise ValueError(f"evaluate.way = {way} is larger than the {split} split's {classes} classes")
        most = max(*self.evaluate.shots, self.evaluate.val_shot) + self.evaluate.query
        if most > clips:
            raise ValueError(f"evaluate: shot + query = {most} is larger than clips_per_class = {clips}")
