"""A believable set of records: four distillations, three students, three seeds, two shots and a teacher."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewdistill.results.records.arrays import TIE, Arrays
from fewdistill.results.records.metrics import METRICS
from fewdistill.results.records.record import Cell, Cost, Record, Status, key_of
from fewdistill.results.records.store import RecordStore
from fewdistill.results.stats import closed_interval

Stores = Callable[[str], RecordStore]  # a new one by the name of its folder
GAIN = {"none": 0.0, "tokens": 0.03, "d2m": 0.05, "both": 0.06}
STUDENTS = {  # plain 5-shot accuracy, parameters, MACs per video
    "mobilenetv3_small": (0.62, 12_730_000, 0.5e9),
    "mobilenetv3_large": (0.68, 16_350_000, 1.9e9),
    "resnet18": (0.71, 22_720_000, 14.6e9),
}
CLASSES = [f"class_{index}" for index in range(10)]


def episodes(shot: int, count: int, query: int = 5, way: int = 5) -> Arrays:
    """Frozen episodes of a shot: the same for every method and seed."""
    rng = np.random.default_rng(shot)
    classes = np.stack([rng.permutation(10)[:way] for _ in range(count)])
    query_class = np.stack([rng.choice(row, query) for row in classes])
    support = np.stack([rng.choice(20, (way, shot)) for _ in range(count)]).reshape(count, way * shot)
    support = support + 40 * np.repeat(classes, shot, axis=1)
    videos = 40 * query_class + rng.integers(20, 40, (count, query))
    arrays = {"classes": classes, "query_class": query_class}
    small: Arrays = {name: array.astype(np.int16) for name, array in arrays.items()}
    drawn: Arrays = {"support": support.astype(np.int32), "query": videos.astype(np.int32)}
    names: Arrays = {"class_names": np.array(CLASSES), "videos": np.array([f"video_{index}" for index in range(400)])}
    return small | drawn | names


def finished(
    cell: Cell, accuracy: float, *, count: int = 300, cost: Cost | None = None, **more: Any
) -> tuple[Record, Arrays]:
    """A done record whose outcome is random about ``accuracy``, harder in some classes and episodes."""
    arrays = episodes(cell.shot or 0, count, cell.query, cell.way)
    identity = {"version": 1, **cell.model_dump(exclude_defaults=True)} | more.pop("identity", {})
    rng = np.random.default_rng(int(key_of(identity)[:16], 16))
    hard = np.random.default_rng(7).normal(0, 0.08, 10)[arrays["query_class"]]
    mood = np.random.default_rng(11).normal(0, 0.05, (count, 1))
    chance = np.clip(accuracy + hard + mood, 0, 1)
    correct = (rng.random(chance.shape) < chance).astype(np.uint8)
    interval = closed_interval(correct.mean(axis=1))
    per_class = {
        CLASSES[index]: float(correct[arrays["query_class"] == index].mean())
        for index in np.unique(arrays["query_class"])
    }
    metrics = METRICS[cell.protocol](
        episodes=count,
        accuracy=float(correct.mean()),
        closed_low=interval.low,
        closed_high=interval.high,
        per_class=per_class,
        nll=0.9,
        ece=0.04,
    )
    curve = [
        {
            "step": step,
            "train_loss": float(1.6 * np.exp(-step / 300) + 0.1 * rng.random()),
            "val_accuracy": float(accuracy * (1 - np.exp(-(step + 60) / 200)) + 0.02 * rng.standard_normal()),
        }
        for step in range(0, 1001, 50)
    ]
    record = Record(
        key=key_of(identity), identity=identity, status="done", cell=cell, metrics=metrics, cost=cost,
        selection={"split": "val", "metric": "accuracy", "step": 950, "candidates": 20}, curve=curve,
        provenance={"argv": ["fewdistill", "run", cell.suite], "commit": "0123abc", "finished": "2026-01-02T03:04:05Z"},
        **more,
    )  # fmt: skip
    return record, arrays | answers(correct, arrays)


def answers(correct: NDArray[np.generic], drawn: Arrays) -> Arrays:
    """An outcome with the classes answered: where it is wrong another one of the episode, now and then a tie."""
    rng = np.random.default_rng(int(correct.sum()))
    classes, query_class = drawn["classes"], drawn["query_class"]
    place = (classes[:, None] == query_class[..., None]).argmax(2)
    wrong = (place + rng.integers(1, classes.shape[1], place.shape)) % classes.shape[1]
    answered = np.take_along_axis(classes, np.where(correct == 1, place, wrong), 1)
    ties = (correct == 0) & (rng.random(place.shape) < 0.05)
    return {"correct": correct.astype(np.uint8), "predicted": np.where(ties, TIE, answered).astype(np.int16)}


def unfinished(cell: Cell, status: Status, reason: str = "") -> Record:
    identity = {"version": 1, **cell.model_dump(exclude_defaults=True)}
    return Record(key=key_of(identity), identity=identity, status=status, reason=reason, cell=cell)


def student(
    model: str = "resnet18", distillation: str = "none", shot: int | None = 5, seed: int = 0, **more: Any
) -> Cell:
    fixed: dict[str, Any] = {
        "suite": "lite", "dataset": "embedded", "role": "student", "head": "trx", "way": 5, "query": 5,
        "frames": 8, "image_size": 64, "split": "test",
    }  # fmt: skip
    return Cell(model=model, distillation=distillation, shot=shot, seed=seed, **(fixed | more))


def supervised(model: str, distillation: str = "-", **more: Any) -> Cell:
    """A network and its stream: a teacher, unless it has a distillation."""
    fixed: dict[str, Any] = {
        "role": "teacher" if distillation == "-" else "student", "shot": None, "query": 1, "way": 10, "image_size": 0,
        "protocol": "supervised",
    }  # fmt: skip
    return student(model, distillation, **(fixed | more))


def many(root: Path, total: int, count: int) -> RecordStore:
    """So many finished records of ``count`` episodes, five seeds of each setting, in about 0.2 ms each.

    Eight outcomes are shared by hard links; nothing is flushed to disk.
    """
    store, outcomes = RecordStore(root), []
    for seed in range(8):
        path = store.write(*finished(student(seed=seed), 0.6, count=count, cost=Cost(macs_per_episode=1e9)))
        outcomes.append((json.loads(path.read_text()), path.with_suffix(".npz")))
    settings = list(GAIN)
    for index in range(total - len(outcomes)):
        data, npz = outcomes[index % len(outcomes)]
        axes = {"model": f"student_{index // 20}", "distillation": settings[index // 5 % 4], "seed": index % 5}
        data |= {"cell": data["cell"] | axes, "identity": data["identity"] | axes}
        data["key"] = key_of(data["identity"])
        del data["sha256"]
        data["sha256"] = key_of(data)
        (root / f"{data['key']}.json").write_text(json.dumps(data))
        (root / f"{data['key']}.npz").hardlink_to(npz)
    return store


def believable(store: RecordStore, count: int = 300, seeds: int = 3) -> RecordStore:
    for shot in (1, 5):
        drop = 0.17 if shot == 1 else 0.0
        cell = student("mfm", "-", shot, 0, role="teacher")
        videos = 5 * shot + 5
        cost = Cost(
            parameters=164_000_000, bytes=656_000_000, macs_per_video=99e9, macs_per_episode=99e9 * videos,
            counter="fewdistill",
            latency_ms_p50=2400.0, latency_threads=2, latency_load=0.4,
        )  # fmt: skip
        store.write(*finished(cell, 0.84 - drop, count=count, cost=cost))
        for model, (plain, parameters, macs) in STUDENTS.items():
            for distillation, gain in GAIN.items():
                for seed in range(seeds):
                    wobble = float(np.random.default_rng([seed, len(model), len(distillation)]).normal(0, 0.004))
                    cost = Cost(
                        parameters=parameters, macs_per_video=macs, macs_per_episode=macs * videos * 1.02,
                        counter="fewdistill", thop_gmacs_per_episode=macs * videos / 1e9, thop_note="no attention",
                        latency_ms_p50=macs * videos / 4e8 + seed, latency_threads=2, latency_load=0.3 + seed / 10,
                        bytes=4 * parameters, training_seconds=61.5,
                    )  # fmt: skip
                    cell = student(model, distillation, shot, seed)
                    store.write(*finished(cell, plain + gain - drop + wobble, count=count, cost=cost))
    return store


def write_for_ever(root: str) -> None:
    """The same cell with two outcomes in turn, as runs with --overwrite on two machines might; to be killed."""
    outcomes = [finished(student(), accuracy, count=2000) for accuracy in (0.7, 0.2)]
    while True:
        for record, arrays in outcomes:
            RecordStore(root).write(record, arrays)
