"""The rows of a suite of episodes on skeleton clips, and what their records are called."""

from collections.abc import Iterator
from typing import Any

from fewdistill.benchmark.protocols.episodic import identity as identities
from fewdistill.benchmark.protocols.episodic.arena import Arena
from fewdistill.benchmark.protocols.episodic.skeleton_stages import Lesson, identity
from fewdistill.benchmark.protocols.supervised.suite import TAUGHT_BY_NOBODY
from fewdistill.results.records.record import Cell, key_of


def lessons(arena: Arena) -> Iterator[Lesson]:
    """The suite's rows: seed by seed, variant by variant, the teacher first."""
    versions = list(arena.suite.versions())
    for seed in sorted({seed for _, suite in versions for seed in suite.seeds}):
        for variant, suite in versions:
            if seed not in suite.seeds:
                continue
            yield Lesson(suite.teacher, TAUGHT_BY_NOBODY, seed, variant)
            for student in suite.students:
                for setting in suite.settings(student):
                    yield Lesson(student, setting, seed, variant)


def record_identity(arena: Arena, lesson: Lesson, shot: int) -> dict[str, Any]:
    """The identity of a row's record at a shot, known before anything is trained."""
    evaluate, trained = arena.suite.evaluate, key_of(identity(arena, lesson))
    episodes = arena.test_episodes(shot).sha256
    return identities.cell(trained, arena.content_hash, episodes, evaluate.way, shot, evaluate.query)


def cell_of(arena: Arena, lesson: Lesson, shot: int) -> Cell:
    """The axes of a record. Across data sets both are named, and the split says how the first is divided."""
    suite, other = arena.suite, arena.suite.test_data
    return Cell(
        suite=suite.name,
        dataset=suite.data.layout if other is None else f"{suite.data.layout} to {other.layout}",
        role="teacher" if lesson.setting == TAUGHT_BY_NOBODY else "student",
        model=lesson.network,
        head=suite.head.name,
        distillation=lesson.setting,
        way=suite.evaluate.way,
        shot=shot,
        query=suite.evaluate.query,
        frames=arena.recipe.frames,
        image_size=0,
        split=f"{suite.data.split_name}, test" if other is None else f"{suite.data.split_name}, {other.layout}",
        seed=lesson.seed,
        variant=lesson.variant,
    )
