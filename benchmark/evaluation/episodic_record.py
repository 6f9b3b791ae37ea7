"""From finished weights to records: test videos embedded once, frozen episodes matched, cost beside accuracy."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewdistill.benchmark.cost.measured import student_costs, teacher_costs
from fewdistill.benchmark.episodes import Episodes
from fewdistill.benchmark.evaluation.matching import Scores, embed, match, project, score
from fewdistill.benchmark.graph.place import Stage, standing
from fewdistill.benchmark.protocols.episodic import identity
from fewdistill.benchmark.protocols.episodic.place import EpisodicPlace
from fewdistill.benchmark.protocols.episodic.student import new_student, student_identities
from fewdistill.benchmark.protocols.episodic.teacher import TEACHER_BRANCH, Teacher, encoder_identity, fusion_identity
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.runtime.provenance import provenance
from fewdistill.results import stats
from fewdistill.results.records.metrics import Accuracy
from fewdistill.results.records.record import Cell, Cost, Record, key_of
from fewdistill.students.heads.base import Head

TEACHER = "teacher"


@dataclass(frozen=True)
class Row:
    """One trained thing of a suite: the teacher of a seed, or a student with a distillation setting and a seed."""

    model: str
    distillation: str
    seed: int
    variant: str = ""

    @property
    def name(self) -> str:
        """The name patterns match: model/distillation/seed, and @variant."""
        return f"{self.model}/{self.distillation}/s{self.seed}" + (f"@{self.variant}" if self.variant else "")


def rows(ws: Workspace) -> Iterator[Row]:
    """The suite's rows, seed by seed and variant by variant, the teacher first."""
    versions = list(ws.suite.versions())
    for seed in sorted({seed for _, suite in versions for seed in suite.seeds}):
        for variant, suite in versions:
            if seed not in suite.seeds:
                continue
            yield Row(TEACHER, "-", seed, variant)
            for student in suite.students:
                for distillation in suite.distillation:
                    yield Row(student, distillation, seed, variant)


def record_identity(ws: Workspace, row: Row, shot: int) -> dict[str, Any]:
    """The identity of a row's record at a shot, known before anything is trained."""
    if row.model == TEACHER:
        trained = key_of(fusion_identity(ws, row.seed))
    else:
        trained = key_of(student_identities(ws, row.model, row.distillation, row.seed)[1])
    evaluate = ws.suite.evaluate
    episodes = ws.test_episodes(shot).sha256
    return identity.cell(trained, ws.content_hash, episodes, evaluate.way, shot, evaluate.query)


def describe(ws: Workspace, row: Row, shot: int) -> Cell:
    """The axes of a record."""
    data, evaluate = ws.suite.data, ws.suite.evaluate
    teacher = row.model == TEACHER
    fusion = ws.suite.teacher.fusion
    joined = "MFM" if fusion.name == "mfm" else fusion.released or fusion.name
    modalities = ws.suite.teacher.modalities
    networks = ", ".join(dict.fromkeys(ws.suite.teacher.network(modality) for modality in modalities))
    model = f"{joined}({'+'.join(modalities)}; {networks})" if teacher else row.model
    head = ws.suite.head
    sizes = ",".join(map(str, head.options().get("tuple_sizes", ())))
    dataset = "embedded" if data.source == "embedded" else Path(str(data.root)).name
    return Cell(
        suite=ws.suite.name,
        dataset=dataset,
        role="teacher" if teacher else "student",
        model=model,
        head=f"{head.name}{{{sizes}}}" if sizes else head.name,
        distillation=row.distillation,
        way=evaluate.way,
        shot=shot,
        query=evaluate.query,
        frames=data.frames,
        image_size=data.image_size,
        split="test",
        seed=row.seed,
        variant=row.variant,
    )


def score_student(ws: Workspace, row: Row, stage: Stage) -> Iterator[tuple[Record, dict[str, np.ndarray]]]:
    """The records of a student at every shot, with their arrays."""
    model = new_student(ws, row.model, row.seed)
    model.load_state_dict(standing(stage))
    model = model.to(ws.device).eval()
    with bar(f"{row.name}, embed test videos", "videos") as tick:
        tokens = embed(
            model.encoder, ws.videos("test"), ws.clips("rgb", row.model).frames, ws.suite.data.frames, ws.device, tick
        )
    base = ws.stage_by_key("base", student_identities(ws, row.model, row.distillation, row.seed)[0])
    seconds = base.summary()["seconds"] + stage.summary()["seconds"]
    for shot, cost_at in student_costs(ws, row.model).items():
        paid = cost_at.model_copy(update={"training_seconds": seconds})
        yield _score(ws, row, stage, shot, model.head, tokens, paid)


def score_teacher(ws: Workspace, row: Row, teacher: Teacher) -> Iterator[tuple[Record, dict[str, np.ndarray]]]:
    """The records of a teacher at every shot, from its cached tokens."""
    tokens = {TEACHER_BRANCH: torch.from_numpy(teacher.tokens[TEACHER_BRANCH].gather(ws.videos("test"))).to(ws.device)}
    keys = [key_of(encoder_identity(ws, modality, row.seed)) for modality in ws.suite.teacher.modalities]
    stages = [teacher.stage, *(ws.stage_by_key("encoder", key) for key in keys)]
    seconds = sum(stage.summary()["seconds"] for stage in stages)
    for shot, cost_at in teacher_costs(ws, teacher).items():
        paid = cost_at.model_copy(update={"training_seconds": seconds})
        yield _score(ws, row, teacher.stage, shot, teacher.head, tokens, paid)


def _score(
    ws: Workspace, row: Row, stage: Stage, shot: int, head: Head, tokens: dict[str, Tensor], paid: Cost
) -> tuple[Record, dict[str, np.ndarray]]:
    return episodic_record(
        ws, row, record_identity(ws, row, shot), describe(ws, row, shot), stage, _settings(ws, row, stage), head,
        tokens, paid,
    )  # fmt: skip


def episodic_record(
    ws: EpisodicPlace,
    row: Row,
    record_of: dict[str, Any],
    cell: Cell,
    stage: Stage,
    settings: dict[str, dict[str, Any]],
    head: Head,
    tokens: dict[str, Tensor],
    paid: Cost,
) -> tuple[Record, dict[str, np.ndarray]]:
    """The record of a row at the cell's shot, and its arrays, by matching the frozen test episodes.

    record_of: its identity; stage: whose weights were selected, settings: what hashes stand for; tokens: of all test
    videos by branch, float32 (V, T, D), on the head's device.
    """
    assert cell.shot is not None  # of the episodic protocol
    episodes = ws.test_episodes(cell.shot)
    with bar(f"{row.name}, {cell.shot}-shot test", "episodes") as tick:
        scores = score(match(head, project(head, tokens), episodes, tick), episodes)
    summary = stage.summary()
    selection = {
        "split": "val",
        "rule": "highest validation accuracy over the training run, the start included",
        "shot": ws.suite.evaluate.val_shot,
        "episodes": ws.suite.evaluate.val_episodes,
        "val_accuracy": summary["val_accuracy"],
        "selected_step": summary["selected_step"],
    }
    record = Record(
        key=key_of(record_of),
        identity=record_of,
        status="done",
        cell=cell,
        metrics=_metrics(ws, scores, episodes),
        cost=paid,
        settings=settings,
        selection=selection,
        curve=thinned(summary["curve"]),
        provenance=provenance(ws, row.name),
    )
    arrays: dict[str, np.ndarray] = {
        "correct": scores.correct,
        "predicted": scores.predicted,
        "classes": episodes.classes.astype(np.int16),
        "query_class": scores.query_class,
        "support": episodes.support.reshape(len(episodes), -1),
        "query": episodes.query.reshape(len(episodes), -1),
        "class_names": np.array(ws.classes("test")),
        "videos": np.array(ws.videos("test")),
    }
    return record, arrays


def _settings(ws: Workspace, row: Row, stage: Stage) -> dict[str, dict[str, Any]]:
    """What was trained, and what the hashes in its identity stand for."""
    found = {"trained": stage.identity}
    if row.model != TEACHER:
        found["base"] = ws.stage_by_key("base", stage.identity["base"]).identity
    if row.model != TEACHER and stage.identity["teacher"]:
        found["teacher"] = fusion_identity(ws, row.seed)
    if row.model == TEACHER or stage.identity["teacher"]:
        encoders = ((modality, encoder_identity(ws, modality, row.seed)) for modality in ws.suite.teacher.modalities)
        found |= {f"encoder {modality}": spelt_out for modality, spelt_out in encoders}
    return found


def _metrics(ws: EpisodicPlace, scores: Scores, episodes: Episodes) -> Accuracy:
    per_episode = scores.correct.mean(1, dtype=np.float64)
    closed = stats.closed_interval(per_episode)
    count = len(episodes)
    opened = stats.open_interval(per_episode, episodes.support.reshape(count, -1), episodes.query.reshape(count, -1))
    classes = ws.classes("test")
    asked = np.bincount(scores.query_class.ravel(), minlength=len(classes))
    right = np.bincount(scores.query_class.ravel(), weights=scores.correct.ravel(), minlength=len(classes))
    return Accuracy(
        episodes=count,
        accuracy=scores.accuracy,
        closed_low=closed.low,
        closed_high=closed.high,
        open_low=opened.low if opened else None,
        open_high=opened.high if opened else None,
        per_class={name: float(r / a) for name, r, a in zip(classes, right, asked, strict=True) if a},
        nll=scores.nll,
        ece=stats.ece(scores.confidence.ravel(), scores.correct.ravel()),
    )


def thinned(curve: list[dict[str, float]], points: int = 100) -> list[dict[str, float]]:
    """At most about ``points`` training points and every validation, four digits: records stay small."""
    every = max(1, len(curve) // points)
    kept = [point for i, point in enumerate(curve) if "val_accuracy" in point or i % every == 0]
    return [{k: v if k == "step" else round(v, 4) for k, v in point.items()} for point in kept]
