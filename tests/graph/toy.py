"""A third protocol in one file: how well a number is guessed. Its records have an error and the bytes of a guess."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.evaluation.provenance import provenance
from fewdistill.benchmark.graph.protocol import Row, RunOptions
from fewdistill.benchmark.stage import Stage, spelt_out
from fewdistill.benchmark.suite.registry import PROTOCOLS
from fewdistill.results.records.arrays import Arrays
from fewdistill.results.records.metrics import METRICS, MainFigure, Metrics
from fewdistill.results.records.record import Cell, Record


class ToySuite(BaseModel):
    """Guessers and what they guess."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: Literal["toy"]
    name: str
    plugins: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    target: float = Field(3.0, gt=0)
    students: tuple[str, ...] = ("near", "far")


class Guess(Metrics):
    """Mean absolute error over draws, lower is better, and the bytes that a guess takes."""

    main: ClassVar[MainFigure] = MainFigure("error", "low", "high", "error", unit="", scale=1, higher_is_better=False)
    sample: ClassVar[str] = "draw"

    error: float
    low: float
    high: float
    bytes: int


METRICS["toy"] = Guess


class OpenedToy:
    """A suite of guesses, opened."""

    def __init__(self, suite: ToySuite, context: RunContext) -> None:
        self.suite, self.context = suite, context

    def rows(self) -> Sequence[Row]:
        return [self._row(student, seed) for seed in self.suite.seeds for student in ("teacher", *self.suite.students)]

    def check(self, pending: Sequence[Row]) -> None:
        """Nothing can be wrong with a number."""

    def _trained(self, student: str, seed: int) -> Stage:
        teacher = None if student == "teacher" else self._trained("teacher", seed)

        def train(stage: Stage) -> None:
            if student == "broken":
                raise TypeError("no number at all")
            spread = {"teacher": 0.1, "near": 0.5}.get(student, 2.0)
            start = 0.0 if teacher is None else float(teacher.weights()["guess"])
            guess = torch.tensor(start if start else self.suite.target) + spread * (seed + 1)
            stage.finish({"guess": guess}, {"seconds": 0.0, "curve": [], "val_accuracy": None, "selected_step": 0})

        settings: Mapping[str, Any] = {
            "student": student,
            "target": self.suite.target,
            "teacher": teacher,
            "seed": seed,
        }
        needs = () if teacher is None else (teacher,)
        return Stage("guess", 1, settings, self.context.runs, f"{student}-s{seed}", train, needs)

    def _row(self, student: str, seed: int) -> Row:
        trained = self._trained(student, seed)
        record = Stage("cell", 1, {"protocol": "toy", "trained": trained}, self.context.runs, "")
        name = f"{student}/{'-' if student == 'teacher' else 'copied'}/s{seed}"
        role: Literal["teacher", "student"] = "teacher" if student == "teacher" else "student"
        cell = Cell(
            suite=self.suite.name, dataset="numbers", role=role, model=student, head="none",
            distillation=name.split("/")[1], protocol="toy", way=2, shot=None, query=1, frames=1, image_size=0,
            split="test", seed=seed,
        )  # fmt: skip

        def score() -> Iterator[tuple[Record, Arrays]]:
            off = np.abs(trained.weights()["guess"].item() - self.suite.target) + 0.01 * np.arange(20.0)
            found = Guess(episodes=20, error=off.mean(), low=off.mean() - 0.03, high=off.mean() + 0.03, bytes=4)
            yield (
                Record(
                    key=record.key, identity=record.identity, status="done", cell=cell, metrics=found,
                    settings=spelt_out(trained), provenance=provenance(self.context, name),
                ),
                {
                    "values": off,
                    "classes": np.tile(np.arange(2, dtype=np.int16), (20, 1)),
                    "query_class": np.zeros((20, 1), np.int16),
                },
            )  # fmt: skip

        return Row(name, ((cell, record),), trained, (trained,), score)


class Toy:
    """See graph.protocol.SuiteProtocol."""

    def model(self, values: Mapping[str, Any]) -> type[BaseModel]:
        return ToySuite

    def open(self, suite: Any, options: RunOptions) -> OpenedToy:
        return OpenedToy(suite, options.context(suite.name))


PROTOCOLS.register("toy")(Toy())
