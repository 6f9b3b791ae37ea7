"""From trained skeleton networks to records: the test clips once, after all training, and what the networks cost."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from fewdistill.benchmark.cost import latency
from fewdistill.benchmark.cost.macs import COUNTER, weight_bytes
from fewdistill.benchmark.cost.measured import cost_of
from fewdistill.benchmark.cost.skeleton_cost import clip_cost
from fewdistill.benchmark.evaluation.episodic_record import thinned
from fewdistill.benchmark.graph.place import Stage
from fewdistill.benchmark.protocols.supervised.bench import Bench
from fewdistill.benchmark.protocols.supervised.ensemble import keep_scores, kept_scores
from fewdistill.benchmark.protocols.supervised.network import Lesson, identity, logits, stage_of, taught_by, trained
from fewdistill.benchmark.protocols.supervised.rows import SHOT, Sum, alone, cell_of, record_identity, trained_identity
from fewdistill.benchmark.protocols.supervised.suite import SkeletonSuite
from fewdistill.benchmark.runtime.provenance import provenance
from fewdistill.results import stats
from fewdistill.results.records.arrays import TIE
from fewdistill.results.records.metrics import SupervisedAccuracy
from fewdistill.results.records.record import Cost, Record, key_of
from fewdistill.results.records.store import RecordStore

Arrays = dict[str, NDArray[Any]]


def score(bench: Bench, found: Sum, keep: bool = False) -> tuple[Record, Arrays]:
    """The record of a row all of whose members are ready, see ``untrained``, and its arrays.

    keep: the row's logits too, see ``keep_scores``.
    """
    test = bench.parts["test"]
    labels = bench.clips.labels[test]
    summed = added(bench, found)
    if keep:
        keep_scores(bench, found, summed)
    best = summed == summed.max(1, keepdims=True)
    predicted = np.where(best.sum(1) == 1, summed.argmax(1), TIE).astype(np.int16)
    stage = stage_of(bench, found.members[0][0]) if len(found.members) == 1 else None
    record_of = record_identity(bench, found)
    record = Record(
        key=key_of(record_of),
        identity=record_of,
        status="done",
        cell=cell_of(bench, found),
        metrics=_metrics(bench, summed, predicted, labels),
        cost=_cost(bench, found),
        settings=_settings(bench, found),
        selection=_selection(bench.suite, stage),
        curve=thinned(stage.summary()["curve"]) if stage else [],
        provenance=provenance(bench, found.row.name),
    )
    classes = len(bench.clips.classes)
    arrays: Arrays = {
        "correct": (predicted == labels).astype(np.uint8)[:, None],
        "predicted": predicted[:, None],
        "classes": np.tile(np.arange(classes, dtype=np.int16), (len(test), 1)),
        "query_class": labels.astype(np.int16)[:, None],
        "query": np.arange(len(test), dtype=np.int32)[:, None],
        "class_names": np.array(bench.clips.classes),
        "videos": np.array([bench.clips.entries[place].id for place in test]),
    }
    return record, arrays


def untrained(bench: Bench, found: Sum) -> list[Lesson]:
    """The trainings that a row is scored from: of a sum, those whose logits were not kept by a run before."""
    return [lesson for lesson, _ in found.members if _kept(bench, found, lesson) is None]


def added(bench: Bench, found: Sum) -> NDArray[np.float64]:
    """The members' logits of the test clips in a weighted sum, float64 (clips, classes)."""
    summed = np.zeros((len(bench.parts["test"]), len(bench.clips.classes)))
    for lesson, weight in found.members:
        values = _kept(bench, found, lesson)
        if values is None:
            values = logits(bench, trained(bench, lesson), lesson.stream, bench.parts["test"])
        summed += weight * values.astype(np.float64)
    return summed


def _kept(bench: Bench, found: Sum, lesson: Lesson) -> NDArray[np.float32] | None:
    """A member's logits from its own row's scores; None where they were not kept, and for a row of its own."""
    return kept_scores(bench, alone(found, lesson)) if len(found.members) > 1 else None


def _metrics(
    bench: Bench, summed: NDArray[np.float64], predicted: NDArray[np.int16], labels: NDArray[np.int64]
) -> SupervisedAccuracy:
    correct = (predicted == labels).astype(np.float64)
    closed = stats.closed_interval(correct)
    chances = log_softmax(summed, axis=1)
    names = enumerate(bench.clips.classes)
    return SupervisedAccuracy(
        episodes=len(labels),
        accuracy=float(correct.mean()),
        closed_low=closed.low,
        closed_high=closed.high,
        open_low=closed.low,  # no two clips share a video: the clips are their own disjoint tasks
        open_high=closed.high,
        per_class={name: float(correct[labels == number].mean()) for number, name in names if (labels == number).any()},
        nll=float(-chances[np.arange(len(labels)), labels].mean()),
        ece=stats.ece(np.exp(chances.max(1)), correct),
    )


def _settings(bench: Bench, found: Sum) -> dict[str, dict[str, Any]]:
    """What was trained, and what the hashes in its identity stand for, through all stages."""
    spelt_out = {"trained": trained_identity(bench, found)}
    for lesson, _ in found.members:
        one = f" {lesson.stream}" if len(found.members) > 1 else ""
        if one:
            spelt_out[f"member{one}"] = identity(bench, lesson)
        before, depth = taught_by(bench, lesson), 1
        while before is not None:
            spelt_out[f"{'teacher of ' * (depth - 1)}teacher{one}"] = identity(bench, before)
            before, depth = taught_by(bench, before), depth + 1
    return spelt_out


def _selection(suite: SkeletonSuite, stage: Stage | None) -> dict[str, Any]:
    """How the weights were chosen: never by the test part. stage: where they are; a sum has several."""
    rules = {"last": "the last epoch", "best": "highest validation accuracy over the training run, the start included"}
    chosen_on = {"last": "none", "best": "val"}
    told: dict[str, Any] = {"split": chosen_on[suite.recipe.select], "rule": rules[suite.recipe.select]}
    if suite.data.val_subjects:
        told["val_subjects"] = list(suite.data.val_subjects)
    if suite.data.val_subjects and stage:
        summary = stage.summary()
        told |= {"val_accuracy": summary["val_accuracy"], "selected_step": summary["selected_step"]}
    return told


def _cost(bench: Bench, found: Sum) -> Cost:
    """Of one network; of a sum its members together, whose latency nobody measured."""
    each = [_network_cost(bench, lesson) for lesson, _ in found.members]
    seconds = [_seconds(bench, found, lesson) for lesson, _ in found.members]
    known = [one for one in seconds if one is not None]
    one = each[0].model_copy(update={"training_seconds": sum(known) if len(known) == len(seconds) else None})
    if len(each) == 1:
        return one
    added = {"parameters", "bytes", "macs_per_video", "macs_per_episode", "thop_gmacs_per_episode"}
    unknown = dict.fromkeys(name for name in Cost.model_fields if name.startswith("latency_"))
    return one.model_copy(update={**{name: sum(getattr(c, name) for c in each) for name in added}, **unknown})


def _seconds(bench: Bench, found: Sum, lesson: Lesson) -> float | None:
    """How long a member trained, from its stage or, where that is elsewhere, its own row's record; else None."""
    stage, store = stage_of(bench, lesson), RecordStore(bench.runs / "records")
    if stage.done:
        return float(stage.summary()["seconds"])
    key = key_of(record_identity(bench, alone(found, lesson)))
    recorded = store.read(key).cost if key in store else None
    return recorded.training_seconds if recorded else None


def _network_cost(bench: Bench, lesson: Lesson) -> Cost:
    clips = bench.clips
    shape = (1, 3, bench.recipe.frames, *clips.frames.shape[2:])

    def measure() -> Mapping[str, Any]:
        network = bench.new_network(lesson.network, 0).eval()
        joints = torch.zeros(shape)
        counted = clip_cost(network, bench.recipe.frames)
        with torch.inference_mode():
            timed = latency.latency_p50(lambda: network(joints))
        return {
            "parameters": counted.parameters,
            "bytes": weight_bytes(network),
            "macs_per_video": counted.macs,
            "macs_per_episode": counted.macs,  # a test clip by itself
            "counter": COUNTER,
            "thop_macs_per_episode": counted.thop_macs,
            "thop_note": "thop over the released formulation, one clip; graph products are not seen",
            **timed._asdict(),
        }

    settings = {"network": lesson.network, "joints": list(shape), "classes": len(clips.classes), "shot": SHOT}
    edges = [list(edge) for edge in clips.skeleton.edges]
    return cost_of(bench, lesson.network, settings | {"edges": edges}, measure, "network on one clip, float32, CPU")
