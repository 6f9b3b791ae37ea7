"""The record of a classifier on the test clips, from its logits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.skeletons.dataset import SkeletonClips
from fewdistill.benchmark.evaluation.episodic_record import thinned
from fewdistill.benchmark.evaluation.provenance import provenance
from fewdistill.benchmark.stage import Stage, spelt_out
from fewdistill.results import stats
from fewdistill.results.records.arrays import TIE, Arrays
from fewdistill.results.records.metrics import SupervisedAccuracy
from fewdistill.results.records.record import Cell, Cost, Record


def supervised_record(
    context: RunContext,
    data: SkeletonClips,
    row: str,
    cell: Cell,
    named: Stage,
    trained: Stage,
    summed: NDArray[np.float64],
    selection: dict[str, Any],
    cost: Cost,
) -> tuple[Record, Arrays]:
    """The finished record of a cell, and its arrays.

    row: its name; named: the stage whose identity names the record; trained: what was scored; summed: logits of the
    test clips, float64 (clips, classes); selection: how the weights were chosen.
    """
    names, labels = data.train_classes, data.labels("test")
    best = summed == summed.max(1, keepdims=True)
    predicted = np.where(best.sum(1) == 1, summed.argmax(1), TIE).astype(np.int16)
    record = Record(
        key=named.key,
        identity=named.identity,
        status="done",
        cell=cell,
        metrics=_metrics(names, summed, predicted, labels),
        cost=cost,
        settings=spelt_out(trained),
        selection=selection,
        curve=thinned(trained.summary()["curve"]) if trained.run is not None else [],
        provenance=provenance(context, row),
    )
    arrays: Arrays = {
        "correct": (predicted == labels).astype(np.uint8)[:, None],
        "predicted": predicted[:, None],
        "classes": np.tile(np.arange(len(names), dtype=np.int16), (len(labels), 1)),
        "query_class": labels.astype(np.int16)[:, None],
        "query": np.arange(len(labels), dtype=np.int32)[:, None],
        "class_names": np.array(names),
        "videos": np.array(data.videos("test")),
    }
    return record, arrays


def _metrics(
    names: tuple[str, ...], summed: NDArray[np.float64], predicted: NDArray[np.int16], labels: NDArray[np.int64]
) -> SupervisedAccuracy:
    correct = (predicted == labels).astype(np.float64)
    closed = stats.closed_interval(correct)
    chances = log_softmax(summed, axis=1)
    return SupervisedAccuracy(
        episodes=len(labels),
        accuracy=float(correct.mean()),
        closed_low=closed.low,
        closed_high=closed.high,
        open_low=closed.low,  # no two clips share a video: the clips are their own disjoint tasks
        open_high=closed.high,
        per_class={
            name: float(correct[labels == number].mean())
            for number, name in enumerate(names)
            if (labels == number).any()
        },
        nll=float(-chances[np.arange(len(labels)), labels].mean()),
        ece=stats.ece(np.exp(chances.max(1)), correct),
    )
