"""What the episode viewer shows: the frames of test episodes, and what finished networks answered and matched."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fewdistill.benchmark.episodes import Episodes
from fewdistill.benchmark.evaluation.episodic_record import TEACHER, Row, describe, record_identity, rows
from fewdistill.benchmark.evaluation.matching import embed, project
from fewdistill.benchmark.graph.place import Stage, standing
from fewdistill.benchmark.graph.runner import embedded_place
from fewdistill.benchmark.protocols.episodic.student import new_student, student_stage
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.protocols.episodic.teacher import (
    TEACHER_BRANCH,
    FusionTeacher,
    fused_tokens_key,
    fusion_stage,
)
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.benchmark.runtime.errors import DataError, UserError
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.viewer.answers import Scored, Shown, answers_of
from fewdistill.benchmark.viewer.strips import strips
from fewdistill.feature_cache import CacheError
from fewdistill.results.records.record import key_of
from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.episode_page import Episode, Network, Page
from fewdistill.students.registry import nearest

Order = Literal["first", "hardest", "wrong"]


def check_present(suite: Suite, runs: Path, data: Path) -> None:
    """UserError where there is no run folder or no data set: to look at a run must not begin another."""
    if not (runs / suite.name / "records").is_dir():
        raise UserError(
            f"{runs / suite.name}: no run folder with records; run the suite first, or give its place with --runs"
        )
    if suite.data.source == "embedded":
        _, root = embedded_place(suite.data, data)
        if not root.is_dir():
            raise DataError(f"{root}: the run's embedded data set is not there; give its place with --data")


def collect(
    ws: Workspace,
    asked: Sequence[str],
    shot: int | None = None,
    numbers: Sequence[int] = (),
    order: Order = "first",
    count: int = 12,
) -> Page:
    """The page of some test episodes and the networks of the rows asked for, each beside its teacher.

    shot: default the suite's first. numbers: of the episodes; else ``count`` of them in an order: the first, those
    with the fewest right answers, or the first with a wrong one, over all rows. Raises UserError naming an unknown or
    unfinished row, a shot or an episode that is not there, and RunError where weights and record disagree.
    """
    shots = ws.suite.evaluate.shots
    shot = shots[0] if shot is None else shot
    if shot not in shots:
        raise UserError(f"no {shot}-shot episodes: the suite evaluates at {', '.join(map(str, shots))} shots")
    chosen = [(row, _scored(ws, row, shot)) for row in _rows(ws, asked)]
    episodes = ws.test_episodes(shot)
    at = _choose(len(episodes), [scored.correct for _, scored in chosen], numbers, order, count)
    videos, local = _local(episodes, at)
    ids = [ws.videos("test")[video] for video in videos]
    teachers, notes = _teachers(ws, [row for row, _ in chosen], shot, ids)
    shown = [*(_load(ws, row, ids, scored) for row, scored in chosen), *teachers]
    answers = [answers_of(ws, network, local, at, shot) for network in shown]
    backbone = next((row.model for row, _ in chosen if row.model != TEACHER), ws.suite.teacher.encoder)
    clips = ws.clips("rgb", backbone)
    classes = ws.folder.classes("test")
    truth = tuple(np.arange(local.way).repeat(local.query.shape[2]).tolist())
    return Page(
        suite=ws.suite.name,
        dataset=describe(ws, chosen[0][0], shot).dataset,
        shot=shot,
        total=len(episodes),
        chosen=_in_words(numbers, order, len(at)),
        networks=tuple(_network(ws, network, shot) for network in shown),
        episodes=tuple(
            Episode(
                number=number,
                classes=tuple(classes[c] for c in episodes.classes[number]),
                support=tuple(tuple(ids[v] for v in of_class) for of_class in local.support[place]),
                query=tuple(ids[v] for v in local.query[place].ravel()),
                truth=truth,
                answers=tuple(of_network[place] for of_network in answers),
            )
            for place, number in enumerate(at)
        ),
        strips=strips(ids, lambda video: clips.pixels([video])[0]),
        notes=tuple(notes),
    )


def _network(ws: Workspace, shown: Shown, shot: int) -> Network:
    head = describe(ws.varied(shown.row.variant), shown.row, shot).head
    if shown.scored is None:
        return Network(shown.row.name, head)
    record = shown.scored.record
    assert record.metrics is not None  # a done record has them
    return Network(shown.row.name, head, record.metrics.value, record.key)


def _rows(ws: Workspace, asked: Sequence[str]) -> list[Row]:
    known = {row.name: row for row in rows(ws)}
    for name in asked:
        if name not in known:
            raise UserError(f"no row {name!r} in the suite {ws.suite.name}: {nearest(name, known)}")
    return [known[name] for name in dict.fromkeys(asked)]


def _scored(ws: Workspace, row: Row, shot: int) -> Scored:
    """A row's done record; UserError says what stands instead."""
    store = RecordStore(ws.runs / "records")
    key = key_of(record_identity(ws.varied(row.variant), row, shot))
    again = f"run `fewdistill run {ws.suite.name} --only '{row.name}'` first"
    if key not in store:
        raise UserError(f"{row.name} is not finished at {shot} shots: no record in {store.root}; {again}")
    record = store.read(key)
    if record.status != "done":
        why = f"{record.status}: {record.reason}" if record.reason else record.status
        raise UserError(f"{row.name} is not finished at {shot} shots ({why}); {again}")
    return Scored(record, store.arrays(key)["correct"])


def _choose(
    total: int, correct: Sequence[NDArray[np.generic]], numbers: Sequence[int], order: Order, count: int
) -> list[int]:
    for number in numbers:
        if not 0 <= number < total:
            raise UserError(f"no test episode {number}: they are numbered 0 to {total - 1}")
    if numbers:
        return list(dict.fromkeys(numbers))
    right = np.concatenate(correct, axis=1).astype(np.float64).mean(1)
    if order == "hardest":
        return right.argsort(kind="stable")[:count].tolist()
    if order == "wrong":
        wrong = np.flatnonzero(right < 1)[:count].tolist()
        if not wrong:
            raise UserError(f"no query of the {total} test episodes was answered wrong: leave out --wrong")
        return wrong
    return list(range(min(count, total)))


def _in_words(numbers: Sequence[int], order: Order, found: int) -> str:
    if numbers:
        return "Chosen by number."
    return {
        "first": f"The first {found}, in the order in which they were drawn.",
        "hardest": f"The {found} with the fewest right answers of the rows asked for, hardest first: not typical ones.",
        "wrong": f"The first {found} in which one of the rows asked for was wrong: not typical ones.",
    }[order]


def _local(episodes: Episodes, at: Sequence[int]) -> tuple[NDArray[np.int64], Episodes]:
    """The videos of some episodes, and these episodes with their rows pointing there."""
    support, query = episodes.support[at], episodes.query[at]
    videos = np.unique(np.concatenate([support.ravel(), query.ravel()])).astype(np.int64)

    def place(wanted: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.searchsorted(videos, wanted).astype(np.int32)

    return videos, Episodes(episodes.classes[at], place(support), place(query))


def _load(ws: Workspace, row: Row, ids: Sequence[str], scored: Scored | None) -> Shown:
    """A row's network on these videos, from its stage's weights, a teacher's from its cached tokens, too."""
    at = ws.varied(row.variant)
    stage = _stage(at, row)
    if not stage.done:
        raise UserError(f"{row.name}: no weights at {stage.folder}; a record alone cannot be viewed: run the row again")
    if row.model == TEACHER:
        module = FusionTeacher(at)
        module.load_state_dict(standing(stage))
        head = module.to(at.device).eval().head
        entry = at.store.open(fused_tokens_key(at, stage))
        tokens = {TEACHER_BRANCH: torch.from_numpy(entry.gather(ids)).to(at.device)}
    else:
        model = new_student(at, row.model, row.seed)
        model.load_state_dict(standing(stage))
        head, frames = model.to(at.device).eval().head, at.clips("rgb", row.model).frames
        with bar(f"{row.name}, embed the page's videos", "videos") as tick:
            tokens = embed(model.encoder, ids, frames, at.suite.data.frames, at.device, tick)
    return Shown(row, stage, head, project(head, tokens), scored)


def _stage(at: Workspace, row: Row) -> Stage:
    if row.model == TEACHER:
        return fusion_stage(at, row.seed)
    return student_stage(at, row.model, row.distillation, row.seed)


def _teachers(ws: Workspace, asked: Sequence[Row], shot: int, ids: Sequence[str]) -> tuple[list[Shown], list[str]]:
    """The teachers of the students asked for, each once; and, in words, which cannot be shown.

    A teacher that was trained but not recorded is shown, too: its students needed no record of it.
    """
    found: list[Shown] = []
    notes: list[str] = []
    seen = {_stage(ws.varied(row.variant), row).key for row in asked}
    for student in asked:
        row = Row(TEACHER, "-", student.seed, student.variant)
        key = _stage(ws.varied(row.variant), row).key
        if student.model == TEACHER or key in seen:
            continue
        seen.add(key)
        try:
            scored = _scored(ws, row, shot)
        except UserError:
            scored = None
        try:
            found.append(_load(ws, row, ids, scored))
        except (UserError, CacheError) as error:
            notes.append(f"{row.name} is not shown: {error}.")
    return found, notes
