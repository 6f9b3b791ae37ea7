"""The record of a network on frozen test episodes: matched from tokens of test clips, with its cost beside it."""

import numpy as np
from torch import Tensor

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.dataset import ClipDataset
from fewdistill.benchmark.episodes import Episodes
from fewdistill.benchmark.evaluation.frozen import FrozenEpisodes
from fewdistill.benchmark.evaluation.matching import Scores, match, project, score
from fewdistill.benchmark.evaluation.provenance import provenance
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.stage import Stage, spelt_out, training_seconds
from fewdistill.results import stats
from fewdistill.results.records.arrays import Arrays
from fewdistill.results.records.metrics import Accuracy
from fewdistill.results.records.record import Cell, Cost, Record
from fewdistill.students.heads.base import Head


def episodic_record(
    context: RunContext,
    data: ClipDataset,
    frozen: FrozenEpisodes,
    row: str,
    cell: Cell,
    named: Stage,
    trained: Stage,
    head: Head,
    tokens: dict[str, Tensor],
    cost: Cost,
) -> tuple[Record, Arrays]:
    """The finished record of a cell, and its arrays.

    row: its name; named: the stage whose identity names the record; trained: whose weights were selected; tokens: of
    all test clips by branch, float32 (V, T, D), on the head's device; cost: without the time of training.
    """
    assert cell.shot is not None  # of the episodic protocol
    episodes = frozen.test(cell.shot)
    with bar(f"{row}, {cell.shot}-shot test", "episodes") as tick:
        scores = score(match(head, project(head, tokens), episodes, tick), episodes)
    summary = trained.summary()
    selection = {
        "split": "val",
        "rule": "highest validation accuracy over the training run, the start included",
        "shot": frozen.config.val_shot,
        "episodes": frozen.config.val_episodes,
        "val_accuracy": summary["val_accuracy"],
        "selected_step": summary["selected_step"],
    }
    record = Record(
        key=named.key,
        identity=named.identity,
        status="done",
        cell=cell,
        metrics=_metrics(data, scores, episodes),
        cost=cost.model_copy(update={"training_seconds": training_seconds(trained)}),
        settings=spelt_out(trained),
        selection=selection,
        curve=thinned(summary["curve"]),
        provenance=provenance(context, row),
    )
    arrays: Arrays = {
        "correct": scores.correct,
        "predicted": scores.predicted,
        "classes": episodes.classes.astype(np.int16),
        "query_class": scores.query_class,
        "support": episodes.support.reshape(len(episodes), -1),
        "query": episodes.query.reshape(len(episodes), -1),
        "class_names": np.array(tuple(data.by_class("test"))),
        "videos": np.array(data.videos("test")),
    }
    return record, arrays


def _metrics(data: ClipDataset, scores: Scores, episodes: Episodes) -> Accuracy:
    per_episode = scores.correct.mean(1, dtype=np.float64)
    closed = stats.closed_interval(per_episode)
    count = len(episodes)
    opened = stats.open_interval(per_episode, episodes.support.reshape(count, -1), episodes.query.reshape(count, -1))
    classes = tuple(data.by_class("test"))
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
