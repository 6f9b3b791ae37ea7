"""The rows of a suite of episodes on videos: their names, the axes of their records, and how they are scored."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewdistill.benchmark.evaluation.episodic_record import episodic_record
from fewdistill.benchmark.evaluation.frozen import FrozenEpisodes
from fewdistill.benchmark.evaluation.matching import embed
from fewdistill.benchmark.graph.protocol import Row
from fewdistill.benchmark.protocols.episodic.costs import student_costs, teacher_costs
from fewdistill.benchmark.protocols.episodic.encoders import teacher_experts
from fewdistill.benchmark.protocols.episodic.student import new_student, student_stage
from fewdistill.benchmark.protocols.episodic.teacher import (
    fused_rows,
    fused_stage,
    fusion_stage,
    load_teacher,
)
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.stage import Stage
from fewdistill.benchmark.training.teacher_outputs import TEACHER_BRANCH
from fewdistill.results.records.arrays import Arrays
from fewdistill.results.records.record import Cell, Cost, Record
from fewdistill.students.heads.base import Head
from fewdistill.teachers.modalities import Expert

TEACHER, NO_DISTILLATION = "teacher", "-"
CELL_VERSION = 1


def video_rows(whole: VideoRun) -> Iterator[Row]:
    """All rows, seed by seed and variant by variant, the teacher first."""
    versions = whole.versions()
    for seed in sorted({seed for run in versions for seed in run.suite.seeds}):
        for run in (run for run in versions if seed in run.suite.seeds):
            yield teacher_row(run, seed)
            for student in run.suite.students:
                for distillation in run.suite.distillation:
                    yield student_row(run, student, distillation, seed)


def row_name(model: str, distillation: str, seed: int, variant: str) -> str:
    """model/distillation/seed, and @variant."""
    return f"{model}/{distillation}/s{seed}" + (f"@{variant}" if variant else "")


def teacher_row(run: VideoRun, seed: int) -> Row:
    """The row of a seed's fused teacher."""
    fusion, modalities = run.suite.teacher.fusion, run.suite.teacher.modalities
    joined = "MFM" if fusion.name == "mfm" else fusion.released or fusion.name
    networks = ", ".join(dict.fromkeys(run.suite.teacher.network(modality) for modality in modalities))
    model, trained = f"{joined}({'+'.join(modalities)}; {networks})", fusion_stage(run, seed)
    name = row_name(TEACHER, NO_DISTILLATION, seed, run.variant)
    cells = _cells(run, trained, TEACHER, model, NO_DISTILLATION, seed, teacher_experts(run))
    score = partial(_score_teacher, run, name, cells, seed)
    return Row(
        name, cells, trained, (trained, fused_stage(run, seed)), score, embed=partial(_embed_by_teacher, run, seed)
    )


def student_row(run: VideoRun, student: str, distillation: str, seed: int) -> Row:
    """The row of a student with a distillation setting."""
    trained = student_stage(run, student, distillation, seed)
    name = row_name(student, distillation, seed, run.variant)
    expert = run.suite.of(student).student_expert(student)
    cells = _cells(run, trained, "student", student, distillation, seed, (expert,))
    needs = (trained, *(stage for stage in trained.needs if stage.kind == "clips"))
    embedded = partial(_embed_by_student, run, name, trained, student, seed)
    return Row(
        name,
        cells,
        trained,
        needs,
        partial(_score_student, run, name, cells, trained, student, embedded),
        embed=embedded,
    )


def _cells(
    run: VideoRun,
    trained: Stage,
    role: Any,
    model: str,
    distillation: str,
    seed: int,
    experts: tuple[Expert, ...],
) -> tuple[tuple[Cell, Stage], ...]:
    data, evaluate, head = run.suite.data, run.suite.evaluate, run.suite.head
    sizes = ",".join(map(str, head.options().get("tuple_sizes", ())))
    dataset = "embedded" if data.source == "embedded" else Path(str(data.root)).name

    def axes(shot: int) -> Cell:
        return Cell(
            suite=run.suite.name,
            dataset=dataset,
            role=role,
            model=model,
            head=f"{head.name}{{{sizes}}}" if sizes else head.name,
            distillation=distillation,
            way=evaluate.way,
            shot=shot,
            query=evaluate.query,
            frames=data.frames,
            image_size=data.image_size,
            split="test",
            seed=seed,
            variant=run.variant,
        )

    content = run.content(experts, ("test",))
    return tuple((axes(shot), cell_stage(trained, run.frozen, content, shot)) for shot in evaluate.shots)


def cell_stage(trained: Stage, frozen: FrozenEpisodes, content: str, shot: int) -> Stage:
    """The identity of a record: which weights on which frozen episodes of which files, in which precision.

    content: hash of the files that are tested.
    """
    evaluate = frozen.config
    settings: Mapping[str, Any] = {
        "trained": trained,
        "content": content,
        "episodes": frozen.test(shot).sha256,
        "way": evaluate.way,
        "shot": shot,
        "query": evaluate.query,
        "precision": "float32",
    }
    return Stage("cell", CELL_VERSION, settings, trained.runs, f"{shot}-shot")


def _score_student(
    run: VideoRun,
    name: str,
    cells: tuple[tuple[Cell, Stage], ...],
    trained: Stage,
    student: str,
    embedded: Callable[[Sequence[str]], tuple[Head, dict[str, Tensor]]],
) -> Iterator[tuple[Record, Arrays]]:
    head, tokens = embedded(run.data.videos("test"))
    costs = student_costs(run, student)
    yield from _records(run, name, cells, trained, head, tokens, costs)


def _embed_by_student(
    run: VideoRun, name: str, trained: Stage, student: str, seed: int, videos: Sequence[str]
) -> tuple[Head, dict[str, Tensor]]:
    context, suite = run.context, run.suite
    model = new_student(run, student, seed)
    model.load_state_dict(trained.weights())
    model = model.to(context.device).eval()
    clips = run.clips(suite.of(student).student_expert(student), student)
    with bar(f"{name}, embed test videos", "videos") as tick:
        return model.head, embed(model.encoder, videos, clips.frames, suite.data.frames, context.device, tick)


def _score_teacher(
    run: VideoRun, name: str, cells: tuple[tuple[Cell, Stage], ...], seed: int
) -> Iterator[tuple[Record, Arrays]]:
    teacher = load_teacher(run, seed)
    _, tokens = _embed_by_teacher(run, seed, run.data.videos("test"))
    costs = teacher_costs(run, teacher)
    yield from _records(run, name, cells, fusion_stage(run, seed), teacher.head, tokens, costs)


def _embed_by_teacher(run: VideoRun, seed: int, videos: Sequence[str]) -> tuple[Head, dict[str, Tensor]]:
    fused = fused_rows(run, seed).open().gather(videos)
    return load_teacher(run, seed).head, {TEACHER_BRANCH: torch.from_numpy(fused).to(run.context.device)}


def _records(
    run: VideoRun,
    name: str,
    cells: tuple[tuple[Cell, Stage], ...],
    trained: Stage,
    head: Head,
    tokens: dict[str, Tensor],
    costs: Mapping[str, Cost],
) -> Iterator[tuple[Record, Arrays]]:
    for cell, record in cells:
        yield episodic_record(
            run.context, run.data, run.frozen, name, cell, record, trained, head, tokens, costs[record.label]
        )
