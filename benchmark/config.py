"""What a suite may say, section by section: names, defaults, bounds, and what does not go together."""

import inspect
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmark.distillation import distillation, distiller, rehearse
from students import StudentError
from students.distill.base import Distiller
from students.heads import HEADS
from students.trunks import BACKBONES
from teachers.fusions import FUSIONS
from teachers.fusions.base import Fusion
from teachers.fusions.sums import RELEASED, TransformerSum
from teachers.modalities import EXPERTS

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]


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
    resize: int | None = Field(
        None, description="short side before cropping; default image_size (embedded) or image_size * 256 / 224 (folder)"
    )
    flip: bool = Field(True, description="random horizontal flips in training, as published")
    input_norm: Literal["backbone", "none"] = Field("backbone", description="none as released")

    @model_validator(mode="after")
    def _root_given(self) -> Self:
        if self.source == "folder" and not self.root:
            raise ValueError("source = 'folder' needs root = '<folder of the data set>'")
        if self.resize is not None and self.resize < self.image_size:
            raise ValueError(f"resize = {self.resize} is smaller than the crop, image_size = {self.image_size}")
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


class StudentEpisodicConfig(EpisodicConfig):
    """Episodic training of a student, and what comes before it."""

    adapt_episodes: int = Field(0, ge=0, description="first, episodes for branches and head on the frozen trunk")
    adapt_lr: float = Field(1e-3, gt=0)
    token_weight: float = Field(2.0, ge=0, description="weight of token distillation where a setting uses it")


class HeadConfig(_Section):
    """The matching rule of teacher and students. A key the named head does not read may not be set."""

    name: str = "trx"
    tuple_sizes: tuple[Positive, ...] = Field((2,), min_length=1)
    width: int = Field(1152, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    pair_width: int = Field(1024, ge=1, description="of STRM's nearest-pair rule")
    attention_heads: int = Field(8, ge=1, description="of HyRSM; must divide the token width")
    smoothing: float = Field(0.1, gt=0, description="of OTAM's soft minimum; 0.1 as published")
    logit_scale: float = Field(1.0, gt=0, description="multiplies the logits; 1 as published")

    @model_validator(mode="after")
    def _read(self) -> Self:
        read = {"width" if name == "head_width" else name for name in self.options()}
        unread = self.model_fields_set - read - {"name"}
        if unread:
            raise ValueError(f"head.name = {self.name!r} does not read {', '.join(sorted(unread))}")
        return self

    def options(self) -> dict[str, Any]:
        """What the named head's constructor takes of this section; UnknownNameError for a name nobody registered."""
        taken = inspect.signature(HEADS[self.name]).parameters
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

    @property
    def unread(self) -> set[str]:
        """The keys of a fusion that the named one does not read; UnknownNameError for a name nobody registered."""
        own = FusionConfig.model_fields.keys() - EpisodicConfig.model_fields.keys() - {"name"}
        taken = {*inspect.signature(FUSIONS[self.name]).parameters, *(["weights"] if self.name == "score" else [])}
        return own - taken

    @model_validator(mode="after")
    def _read(self) -> Self:
        if unread := self.unread & self.model_fields_set:
            raise ValueError(f"fusion.name = {self.name!r} does not read {', '.join(sorted(unread))}")
        if self.name == "released" and self.released is None:
            raise ValueError(f"fusion.name = 'released' needs released = one of {', '.join(RELEASED)}")
        return self


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
    shots: tuple[Positive, ...] = Field((1, 5), min_length=1)
    query: int = Field(1, ge=1)
    episodes: int = Field(10_000, ge=2)
    val_shot: int = Field(5, ge=1)
    val_episodes: int = Field(1_000, ge=2)
    seed: int = 0


class OwnConfig(_Section):
    """What one student trains with instead of the suite's values: keys of these sections."""

    base: dict[str, Any] = {}
    episodic: dict[str, Any] = {}
    distiller: dict[str, dict[str, Any]] = {}


class Suite(_Section):
    """A grid of cells: students x distillation x seeds, and the teacher of each seed."""

    name: str
    seeds: tuple[NotNegative, ...] = (0, 1, 2)
    students: tuple[str, ...] = ("resnet18", "mobilenetv3_small", "mobilenetv3_large")
    distillation: tuple[str, ...] = ("none", "tokens", "d2m", "both")
    weights: str = Field("random", description="random, imagenet, or a state_dict file of the backbone")
    width: int = Field(2048, ge=2, description="token width of teacher and students")
    token_norm: bool = Field(True, description="layer-normalise tokens; false as published")
    patch_enrichment: bool = Field(False, description="STRM's attention among a frame's cells, in the students")
    bf16: tuple[str, ...] = Field((), description="backbones trained under bfloat16 autocast; scoring is float32")
    data: DataConfig = DataConfig()
    teacher: TeacherConfig = TeacherConfig()
    head: HeadConfig = HeadConfig()
    base: StudentBaseConfig = StudentBaseConfig()
    episodic: StudentEpisodicConfig = StudentEpisodicConfig()
    distiller: dict[str, dict[str, Any]] = Field({}, description="options of distillers, by name")
    evaluate: EvaluateConfig = EvaluateConfig()
    own: dict[str, OwnConfig] = Field({}, description="settings of single students, by name")

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
            BACKBONES[student]  # known, but not asked for: a run may leave students out
            try:
                self.of(student)._possible()
            except ValidationError as error:
                problem = error.errors()[0]
                unknown = problem["type"] == "extra_forbidden"
                why = "unknown key" if unknown else problem["msg"].removeprefix("Value error, ")
                raise ValueError(f"own.{student}: {'.'.join(map(str, problem['loc']))}: {why}") from error
            except ValueError as error:
                raise ValueError(f"own.{student}: {error}") from error
        return self

    def _possible(self) -> None:
        for name in (*self.students, self.teacher.encoder, *self.bf16):
            BACKBONES[name]
        for modality in self.teacher.modalities:
            EXPERTS[modality]
        for name in {*self.distiller, *(distillation(setting).distiller for setting in self.distillation)}:
            rehearse(name, self.options_of(name), self.width)
        lists = {
            "seeds": self.seeds,
            "students": self.students,
            "distillation": self.distillation,
            "evaluate.shots": self.evaluate.shots,
            "teacher.modalities": self.teacher.modalities,
        }
        for what, values in lists.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{what} must hold at least one value, each once")
        targets = (*(["fused"] if self._fusion_width() == self.width else []), *self.teacher.modalities)
        if self.base.token_target not in targets:
            raise ValueError(f"base.token_target = {self.base.token_target!r}: choose one of {', '.join(targets)}")
        if max(self.head.options().get("tuple_sizes", (1,))) > self.data.frames:
            raise ValueError(f"head.tuple_sizes: tuples must fit into data.frames = {self.data.frames}")
        if self.width % self.head.options().get("attention_heads", 1):
            raise ValueError(f"head.attention_heads = {self.head.attention_heads} does not divide width = {self.width}")
        self._tokens_are_distilled()
        if self.data.source == "embedded":
            self._fits_embedded()

    def _fusion_width(self) -> int:
        """Width of the fused tokens of a fusion that the modalities allow, and that one cached row a video can hold."""
        try:
            with torch.device("meta"):
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
