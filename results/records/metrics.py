"""What a protocol measures: its metrics, the figure that its records are compared by, and the words for its samples.

``METRICS`` holds a model for each protocol. A new protocol derives one from ``Metrics`` and puts it there; records,
tables, plots, comparisons and the report work from that.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

EPISODIC: Final = "episodic"
SUPERVISED: Final = "supervised"


class Frozen(BaseModel):
    """A part of a record: no unknown fields, no NaN, no change once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


@dataclass(frozen=True)
class MainFigure:
    """The figure that a protocol's records are compared by, a mean over samples.

    field: of the metrics; low, high: the fields of its 95 % interval's ends. name, unit: as tables and plots have them;
    scale: from what is stored to the unit, 100 of a fraction in percent. points: the unit of a difference.
    """

    field: str
    low: str
    high: str
    name: str
    unit: str = "%"
    scale: float = 100
    points: str = "points"
    higher_is_better: bool = True

    @property
    def column(self) -> str:
        """Its name as the head of a column: "accuracy %"."""
        return f"{self.name} {self.unit}".strip()

    @property
    def axis(self) -> str:
        """Its name beside an axis: "accuracy (%)"."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is: what ranks and fronts multiply with."""
        return 1 if self.higher_is_better else -1


class Metrics(Frozen):
    """Test results of one record; each protocol has a model of its own.

    episodes: how many samples the main figure is a mean over. sample: what one is called; note: a sentence that its
    tables need, and remark: the same as an aside; stream_teachers: whether every input stream of a network has a
    teacher of its own, so that only models of one stream compare. arrays: a record's own arrays and their dtypes, the
    main figure's ``values`` (E,) of each sample unless the model has others. inexact: fields that may differ as float32
    does between two runs of one record.
    """

    main: ClassVar[MainFigure]
    sample: ClassVar[str] = "episode"
    note: ClassVar[str] = ""
    remark: ClassVar[str] = ""
    stream_teachers: ClassVar[bool] = False
    arrays: ClassVar[dict[str, type[np.generic]]] = {"values": np.float64}
    inexact: ClassVar[frozenset[str]] = frozenset()

    episodes: int = Field(ge=1)

    @property
    def value(self) -> float:
        """The main figure."""
        return float(getattr(self, self.main.field))

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the main figure's interval."""
        return float(getattr(self, self.main.low)), float(getattr(self, self.main.high))


class Accuracy(Metrics):
    """Answers that are right or wrong. Accuracies, interval ends and ece are fractions in [0, 1]; nll is in nats.

    closed: mean +- 1.96 sd / sqrt(n) over episodes. open: the same question asked of disjoint episodes only,
    None where too few exist. per_class: class name -> fraction of its queries that were right.
    """

    main: ClassVar[MainFigure] = MainFigure("accuracy", "closed_low", "closed_high", "accuracy")
    arrays: ClassVar[dict[str, type[np.generic]]] = {"correct": np.uint8, "predicted": np.int16}
    inexact: ClassVar[frozenset[str]] = frozenset({"nll", "ece"})

    accuracy: float = Field(ge=0, le=1)
    closed_low: float
    closed_high: float
    open_low: float | None = None
    open_high: float | None = None
    per_class: dict[str, float] = Field(default_factory=dict)
    nll: float | None = None
    ece: float | None = None


class SupervisedAccuracy(Accuracy):
    """Accuracy over test clips, each once and an episode of its own, among all classes that were trained."""

    sample: ClassVar[str] = "clip"
    note: ClassVar[str] = "Supervised: the classes are those of training, and an episode is one test clip."
    remark: ClassVar[str] = "an episode is one test clip"
    stream_teachers: ClassVar[bool] = True


METRICS: Final[dict[str, type[Metrics]]] = {EPISODIC: Accuracy, SUPERVISED: SupervisedAccuracy}
"""The metrics of each protocol by its name; whoever adds a protocol adds its model."""


def macs_of(protocols: set[str]) -> str:
    """What the MACs of records of these protocols are of: "GMACs per episode"."""
    samples = {METRICS[protocol].sample for protocol in protocols}
    return f"GMACs per {samples.pop() if len(samples) == 1 else 'episode'}"
