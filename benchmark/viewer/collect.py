"""What the episode viewer shows: the clips of test episodes, and what finished networks answered and matched."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.episodes import Episodes
from fewdistill.benchmark.evaluation.frozen import FrozenEpisodes
from fewdistill.benchmark.evaluation.matching import project
from fewdistill.benchmark.graph.protocol import OpenedSuite, Row
from fewdistill.benchmark.protocols.episodic.opening import embedded_folder
from fewdistill.benchmark.runtime.errors import DataError, RunError, UserError
from fewdistill.benchmark.viewer.answers import Scored, Shown, answers_of
from fewdistill.benchmark.viewer.strips import strips
from fewdistill.feature_cache import CacheError
from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.episode_page import Episode, Network, Page
from fewdistill.students.registry import nearest

Order = Literal["first", "hardest", "wrong"]


class EpisodicOpened(OpenedSuite, Protocol):
    """An opened suite of episodes, whose clips can be looked at."""

    @property
    def frozen(self) -> FrozenEpisodes: ...

    def pictures(self, video: str) -> NDArray[np.uint8]:
        """A clip's frames, uint8 (T, H, W, 3)."""
        ...


def check_present(suite: Any, runs: Path, data: Path) -> None:
    """UserError where there is no run folder or no data set: to look at a run must not begin another."""
    if not (runs / suite.name / "records").is_dir():
        raise UserError(
            f"{runs / suite.name}: no run folder with records; run the suite first, or give its place with --runs"
        )
    if not hasattr(suite, "evaluate"):
        raise UserError(f"{suite.name} is a supervised suite: it has no episodes to view")
    if getattr(suite.data, "source", "") == "embedded":
        _, root = embedded_folder(suite.data, data)
        if not root.is_dir():
            raise DataError(f"{root}: the run's embedded data set is not there; give its place with --data")


def collect(
    opened: EpisodicOpened,
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
    frozen, data = opened.frozen, opened.frozen.data
    shots = frozen.config.shots
    shot = shots[0] if shot is None else shot
    if shot not in shots:
        raise UserError(f"no {shot}-shot episodes: the suite evaluates at {', '.join(map(str, shots))} shots")
    chosen = [(row, _scored(opened, row, shot)) for row in _rows(opened, asked)]
    episodes = frozen.test(shot)
    at = _choose(len(episodes), [scored.correct for _, scored in chosen], numbers, order, count)
    videos, local = _local(episodes, at)
    ids = [data.videos("test")[video] for video in videos]
    teachers, notes = _teachers(opened, [row for row, _ in chosen], shot, ids)
    shown = [*(_load(row, ids, scored) for row, scored in chosen), *teachers]
    answers = [answers_of(opened.context, network, local, at, shot) for network in shown]
    classes = tuple(data.by_class("test"))
    truth = tuple(np.arange(local.way).repeat(local.query.shape[2]).tolist())
    return Page(
        suite=opened.context.runs.name,
        dataset=chosen[0][0].cells[0][0].dataset,
        shot=shot,
        total=len(episodes),
        chosen=_in_words(numbers, order, len(at)),
        networks=tuple(_network(network) for network in shown),
        episodes=tuple(
            Episode(
                number=number,
                classes=tuple(classes[c] for c in episodes.classes[number]),
                support=tuple(tuple(ids[v] for v in of_class) for of_class in local.support[index]),
                query=tuple(ids[v] for v in local.query[index].ravel()),
                truth=truth,
                answers=tuple(of_network[index] for of_network in answers),
            )
            for index, number in enumerate(at)
        ),
        strips=strips(ids, opened.pictures),
        notes=tuple(notes),
    )


def _network(shown: Shown) -> Network:
    head = shown.row.cells[0][0].head
    if shown.scored is None:
        return Network(shown.row.name, head)
    record = shown.scored.record
    assert record.metrics is not None  # a done record has them
    return Network(shown.row.name, head, record.metrics.value, record.key)


def _rows(opened: OpenedSuite, asked: Sequence[str]) -> list[Row]:
    known = {row.name: row for row in opened.rows()}
    for name in asked:
        if name not in known:
            raise UserError(f"no row {name!r} in the suite {opened.context.runs.name}: {nearest(name, known)}")
    return [known[name] for name in dict.fromkeys(asked)]


def _scored(opened: OpenedSuite, row: Row, shot: int) -> Scored:
    """A row's done record; UserError says what there is instead."""
    store = RecordStore(opened.context.runs / "records")
    key = next(record.key for cell, record in row.cells if cell.shot == shot)
    again = f"run `fewdistill run {opened.context.runs.name} --only '{row.name}'` first"
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

    def local(wanted: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.searchsorted(videos, wanted).astype(np.int32)

    return videos, Episodes(episodes.classes[at], local(support), local(query))


def _load(row: Row, ids: Sequence[str], scored: Scored | None) -> Shown:
    """A row's network on these videos, from its stage's weights, a teacher's from its cached tokens, too."""
    if not row.trained.done:
        raise UserError(
            f"{row.name}: no weights at {row.trained.folder}; a record alone cannot be viewed: run the row again"
        )
    assert row.embed is not None  # every row of episodes has it
    head, tokens = row.embed(ids)
    return Shown(row, head, project(head, tokens), scored)


def _teachers(
    opened: OpenedSuite, asked: Sequence[Row], shot: int, ids: Sequence[str]
) -> tuple[list[Shown], list[str]]:
    """The teachers of the students asked for, each once; and, in words, which cannot be shown.

    A teacher that was trained but not recorded is shown, too: its students needed no record of it.
    """
    by_trained = {row.trained.key: row for row in reversed(opened.rows())}
    seen = {row.trained.key for row in asked}
    found: list[Shown] = []
    notes: list[str] = []
    for student in asked:
        teacher = student.trained.teacher or _own_teacher(opened, student)
        row = None if teacher is None else by_trained.get(teacher.key)
        if row is None or row.trained.key in seen:
            continue
        seen.add(row.trained.key)
        try:
            scored = _scored(opened, row, shot)
        except UserError:
            scored = None
        try:
            found.append(_load(row, ids, scored))
        except (UserError, RunError, CacheError) as error:
            notes.append(f"{row.name} is not shown: {error}.")
    return found, notes


def _own_teacher(opened: OpenedSuite, student: Row) -> Any:
    """The teacher of a student's seed and variant, beside which one without distillation is shown, too."""
    axes = student.cells[0][0]
    for row in opened.rows():
        found = row.cells[0][0]
        if found.role == "teacher" and (found.seed, found.variant) == (axes.seed, axes.variant):
            return row.trained
    return None
