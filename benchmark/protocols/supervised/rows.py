"""The records of a suite of skeleton networks: a network of one stream, or the sum of several streams' logits."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fewdistill.benchmark.evaluation.episodic_record import Row
from fewdistill.benchmark.protocols.supervised.bench import Bench
from fewdistill.benchmark.protocols.supervised.network import VERSION, Lesson, identity
from fewdistill.benchmark.protocols.supervised.suite import TAUGHT_BY_NOBODY
from fewdistill.results.records.metrics import SUPERVISED
from fewdistill.results.records.record import Cell, key_of

SHOT = 0
"""Of every record: the classes are those of training, no clip supports them."""


@dataclass(frozen=True)
class Sum:
    """A row and whose logits it adds up: trainings with their weights, a single one with weight 1."""

    row: Row
    members: tuple[tuple[Lesson, float], ...]


def sums(bench: Bench) -> Iterator[Sum]:
    """The suite's rows: seed by seed, variant by variant, stream by stream the teacher first; then the ensembles."""
    versions = list(bench.suite.versions())
    for seed in sorted({seed for _, suite in versions for seed in suite.seeds}):
        for variant, suite in versions:
            if seed not in suite.seeds:
                continue
            settings = [(suite.teacher, TAUGHT_BY_NOBODY)]
            settings += [(student, setting) for student in suite.students for setting in suite.settings(student)]
            inputs = {stream: {stream: 1.0} for stream in suite.streams} | suite.ensembles
            for named, weights in inputs.items():
                for network, setting in settings:
                    members = ((Lesson(network, stream, setting, seed), weights[stream]) for stream in weights)
                    yield Sum(Row(f"{network}-{named}", setting, seed, variant), tuple(members))


def alone(found: Sum, lesson: Lesson) -> Sum:
    """The row of one member of a sum."""
    row = Row(f"{lesson.network}-{lesson.stream}", lesson.setting, lesson.seed, found.row.variant)
    return Sum(row, ((lesson, 1.0),))


def trained_identity(bench: Bench, found: Sum) -> dict[str, Any]:
    """What is scored: a training's identity, or of a sum those of its members."""
    if len(found.members) == 1:
        return identity(bench, found.members[0][0])
    members = [{"trained": key_of(identity(bench, lesson)), "weight": weight} for lesson, weight in found.members]
    return {"version": VERSION, "stage": "ensemble", "members": members}


def record_identity(bench: Bench, found: Sum) -> dict[str, Any]:
    """The identity of a row's record, known before anything is trained."""
    return {
        "version": VERSION,
        "stage": "cell",
        "protocol": SUPERVISED,
        "trained": key_of(trained_identity(bench, found)),
        "content": bench.clips.content_hash,
        "episodes": bench.test_hash,
        "precision": "float32",
    }


def cell_of(bench: Bench, found: Sum) -> Cell:
    """The axes of a row's record."""
    suite, row = bench.suite, found.row
    return Cell(
        suite=suite.name,
        dataset=suite.data.layout,
        role="teacher" if row.distillation == TAUGHT_BY_NOBODY else "student",
        model=row.model,
        head="linear",
        distillation=row.distillation,
        protocol=SUPERVISED,
        way=len(bench.clips.classes),
        shot=None,
        query=1,
        frames=bench.recipe.frames,
        image_size=0,
        split=f"{suite.data.split_name}, test",
        seed=row.seed,
        variant=row.variant,
    )
