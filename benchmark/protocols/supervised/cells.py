"""The rows of a supervised suite, a network of one stream or streams summed, and how they are scored."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fewdistill.benchmark.cost import latency
from fewdistill.benchmark.cost.macs import COUNTER, weight_bytes
from fewdistill.benchmark.cost.measured import cost_of
from fewdistill.benchmark.cost.skeleton_cost import clip_cost
from fewdistill.benchmark.evaluation.supervised_record import supervised_record
from fewdistill.benchmark.graph.protocol import Row, RunOptions
from fewdistill.benchmark.protocols.supervised.network import SupervisedRun, network_stage
from fewdistill.benchmark.protocols.supervised.scores import has_scores, keep_scores, kept_scores, scores_path
from fewdistill.benchmark.protocols.supervised.suite import SkeletonSuite
from fewdistill.benchmark.stage import Stage, training_seconds
from fewdistill.benchmark.suite.networks import NO_TEACHER, read_clips
from fewdistill.benchmark.training.precision import resolve_bf16
from fewdistill.results.records.arrays import Arrays
from fewdistill.results.records.metrics import SUPERVISED
from fewdistill.results.records.record import Cell, Cost, Record
from fewdistill.results.records.store import RecordStore

CELL_VERSION = ENSEMBLE_VERSION = 1


@dataclass(frozen=True)
class Member:
    """One network whose logits a row adds up, and with what weight."""

    network: str
    stream: str
    setting: str
    seed: int
    weight: float


class OpenedSupervised:
    """A supervised suite, see graph.protocol.OpenedSuite. save_scores: keep the logits of every row that is scored."""

    def __init__(self, run: SupervisedRun, save_scores: bool) -> None:
        self.run = run
        self.suite = run.suite
        self.context = run.context
        self.save_scores = save_scores

    def rows(self) -> Sequence[Row]:
        return self._rows

    @cached_property
    def _rows(self) -> tuple[Row, ...]:
        return tuple(_rows(self.run, self.save_scores))

    def check(self, pending: Sequence[Row]) -> None:
        """Everything was checked when the suite was read and its clips were divided."""


def open_supervised(suite: SkeletonSuite, options: RunOptions) -> OpenedSupervised:
    """The suite's clips, read and divided, and its run folder; DataError says what to download where there are none."""
    context = options.context(suite.name)
    run = SupervisedRun(suite, read_clips(suite.data), context)
    run.versions()  # whose parts may be empty
    if suite.bf16 == "auto":
        measures = run.data.probes(suite.every_network(), suite.streams[0], suite.recipe.batch)
        taken = resolve_bf16(measures, context.runs / "precision", context.device)
        run = SupervisedRun(suite.model_copy(update={"bf16": taken}), run.clips, context)
    return OpenedSupervised(run, options.save_scores)


def _rows(whole: SupervisedRun, save_scores: bool) -> Iterator[Row]:
    """Seed by seed, variant by variant, stream by stream the teacher first; then the sums of streams."""
    versions = whole.versions()
    for seed in sorted({seed for run in versions for seed in run.suite.seeds}):
        for run in (run for run in versions if seed in run.suite.seeds):
            suite = run.suite
            settings = [(suite.teacher, NO_TEACHER)]
            settings += [(student, setting) for student in suite.students for setting in suite.settings(student)]
            inputs = {stream: {stream: 1.0} for stream in suite.streams} | suite.ensembles
            for named, weights in inputs.items():
                for network, setting in settings:
                    members = tuple(Member(network, s, setting, seed, weights[s]) for s in weights)
                    yield _row(run, f"{network}-{named}", members, save_scores)


def _row(run: SupervisedRun, model: str, members: tuple[Member, ...], save_scores: bool) -> Row:
    setting, seed = members[0].setting, members[0].seed
    trained, record = _trained(run, members), _record_stage(run, members)
    name = f"{model}/{setting}/s{seed}" + (f"@{run.variant}" if run.variant else "")
    cell = Cell(
        suite=run.suite.name,
        dataset=run.suite.data.layout,
        role="teacher" if setting == NO_TEACHER else "student",
        model=model,
        head="linear",
        distillation=setting,
        protocol=SUPERVISED,
        way=len(run.clips.classes),
        shot=None,
        query=1,
        frames=run.data.recipe.frames,
        image_size=0,
        split=f"{run.suite.data.split_name}, test",
        seed=seed,
        variant=run.variant,
    )
    # of a sum, members whose logits were kept by a run before need no weights
    alone = len(members) == 1
    needs = tuple(_stage(run, m) for m in members if alone or not has_scores(run, _record_stage(run, (m,))))
    score = partial(_score, run, name, cell, record, trained, members, save_scores)
    keep = partial(_keep_later, run, name, record, members) if save_scores else None
    return Row(name, ((cell, record),), trained, needs, score, keep)


def _stage(run: SupervisedRun, member: Member) -> Stage:
    return network_stage(run, member.network, member.stream, member.setting, member.seed)


def _trained(run: SupervisedRun, members: tuple[Member, ...]) -> Stage:
    """What is scored: a network's stage, or of a sum the stages of its members and their weights."""
    if len(members) == 1:
        return _stage(run, members[0])
    each = [{"trained": _stage(run, member), "weight": member.weight} for member in members]
    return Stage("ensemble", ENSEMBLE_VERSION, {"members": each}, run.context.runs, "")


def _record_stage(run: SupervisedRun, members: tuple[Member, ...]) -> Stage:
    """The identity of a row's record, known before anything is trained."""
    settings: Mapping[str, Any] = {
        "protocol": SUPERVISED,
        "trained": _trained(run, members),
        "content": run.clips.content_hash,
        "episodes": run.test_hash,
        "precision": "float32",
    }
    return Stage("cell", CELL_VERSION, settings, run.context.runs, "")


def _score(
    run: SupervisedRun,
    name: str,
    cell: Cell,
    record: Stage,
    trained: Stage,
    members: tuple[Member, ...],
    save_scores: bool,
) -> Iterator[tuple[Record, Arrays]]:
    summed = _added(run, members)
    if save_scores:
        keep_scores(run, name, record, summed)
    yield supervised_record(
        run.context, run.data, name, cell, record, trained, summed, _selection(run.suite, trained), _cost(run, members)
    )


def _keep_later(run: SupervisedRun, name: str, record: Stage, members: tuple[Member, ...]) -> None:
    """The scores of a row that was finished before they were asked for."""
    if not scores_path(run, name, record).exists():
        keep_scores(run, name, record, _added(run, members))


def _added(run: SupervisedRun, members: tuple[Member, ...]) -> NDArray[np.float64]:
    """The members' logits of the test clips in a weighted sum, float64 (clips, classes)."""
    test = run.data.parts["test"]
    summed = np.zeros((len(test), len(run.clips.classes)))
    for member in members:
        values = _kept(run, members, member)
        if values is None:
            model = run.trained(member.network, member.stream, member.setting, member.seed)
            values = run.logits(model, member.stream, test)
        summed += member.weight * values.astype(np.float64)
    return summed


def _kept(run: SupervisedRun, members: tuple[Member, ...], member: Member) -> NDArray[np.float32] | None:
    """A member's logits from its own row's scores; None where they were not kept, and for a row of its own."""
    return kept_scores(run, _record_stage(run, (member,))) if len(members) > 1 else None


def _selection(suite: SkeletonSuite, trained: Stage) -> dict[str, Any]:
    """How the weights were chosen: never by the test part."""
    rules = {"last": "the last epoch", "best": "highest validation accuracy over the training run, the start included"}
    chosen_on = {"last": "none", "best": "val"}
    found: dict[str, Any] = {"split": chosen_on[suite.recipe.select], "rule": rules[suite.recipe.select]}
    if suite.data.val_subjects:
        found["val_subjects"] = list(suite.data.val_subjects)
        if trained.run is not None:  # a sum has several
            summary = trained.summary()
            found |= {"val_accuracy": summary["val_accuracy"], "selected_step": summary["selected_step"]}
    return found


def _cost(run: SupervisedRun, members: tuple[Member, ...]) -> Cost:
    """Of one network; of a sum its members together, whose latency nobody measured."""
    each = [_network_cost(run, member.network) for member in members]
    seconds = [_seconds(run, member) for member in members]
    known = [one for one in seconds if one is not None]
    one = each[0].model_copy(update={"training_seconds": sum(known) if len(known) == len(seconds) else None})
    if len(each) == 1:
        return one
    added = {"parameters", "bytes", "macs_per_video", "macs_per_episode", "thop_gmacs_per_episode"}
    unknown = dict.fromkeys(name for name in Cost.model_fields if name.startswith("latency_"))
    return one.model_copy(update={**{name: sum(getattr(c, name) for c in each) for name in added}, **unknown})


def _seconds(run: SupervisedRun, member: Member) -> float | None:
    """How long a member trained, from its stage or, where that is elsewhere, its own row's record; else None."""
    found = training_seconds(_stage(run, member))
    if found is not None:
        return found
    store, key = RecordStore(run.context.runs / "records"), _record_stage(run, (member,)).key
    recorded = store.read(key).cost if key in store else None
    return recorded.training_seconds if recorded else None


def _network_cost(run: SupervisedRun, network: str) -> Cost:
    clips, frames = run.clips, run.data.recipe.frames
    shape = (1, 3, frames, *clips.frames.shape[2:])

    def measure() -> Mapping[str, Any]:
        model = run.data.new_network(network, 0).eval()
        joints = torch.zeros(shape)
        counted = clip_cost(model, frames)
        with torch.inference_mode():
            timed = latency.latency_p50(lambda: model(joints))
        return {
            "parameters": counted.parameters,
            "bytes": weight_bytes(model),
            "macs_per_video": counted.macs,
            "macs_per_episode": counted.macs,  # a test clip by itself
            "counter": COUNTER,
            "thop_macs_per_episode": counted.thop_macs,
            "thop_note": "thop over the released formulation, one clip; graph products are not seen",
            **timed._asdict(),
        }

    settings = {"network": network, "joints": list(shape), "classes": len(clips.classes), "protocol": SUPERVISED}
    edges = [list(edge) for edge in clips.skeleton.edges]
    return cost_of(run.context, network, settings | {"edges": edges}, measure, "network on one clip, float32, CPU")
