"""Training a skeleton network: by labels, or by labels and a network trained before it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fewdistill.benchmark.data.skeletons.dataset import Places, SkeletonPlace
from fewdistill.benchmark.graph.place import Stage, standing
from fewdistill.benchmark.graph.tracked_stage import tracked
from fewdistill.benchmark.protocols.supervised.bench import Bench
from fewdistill.benchmark.protocols.supervised.suite import DKDConfig
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.benchmark.training.loop import Plan, Progressed, fit
from fewdistill.results.records.record import key_of
from fewdistill.students.distill.base import at_least_float32
from fewdistill.students.distill.decoupled import DKD
from fewdistill.students.skeletons import SkeletonNetwork

VERSION = 1
KIND = "skeleton"
_AT_ONCE = 128  # clips of one pass without gradient


@dataclass(frozen=True)
class Lesson:
    """One training: which network reads which stream, what it learns from, and its seed."""

    network: str
    stream: str
    setting: str
    seed: int

    def __str__(self) -> str:
        return f"{self.network}-{self.stream}, {self.setting} (seed {self.seed})"


def taught_by(bench: Bench, lesson: Lesson) -> Lesson | None:
    """The training of the network that it learns from, of the same stream and seed; None for labels alone."""
    found = bench.suite.learns_from(lesson.network, lesson.setting)
    return None if found is None else Lesson(found[0], lesson.stream, found[1], lesson.seed)


def identity(bench: Bench, lesson: Lesson) -> dict[str, Any]:
    """What the training is, known before it is done."""
    suite, teacher = bench.suite, taught_by(bench, lesson)
    distilled = None
    if teacher is not None:
        distilled = {"teacher": key_of(identity(bench, teacher)), **suite.dkd.model_dump(mode="json")}
    return {
        "version": VERSION,
        "stage": KIND,
        "data": bench.identity(),
        "stream": lesson.stream,
        "network": lesson.network,
        "recipe": suite.recipe.model_dump(mode="json"),
        "distilled": distilled,
        "bf16": lesson.network in suite.bf16,
        "seed": lesson.seed,
    }


def stage_of(bench: Bench, lesson: Lesson) -> Stage:
    """Where its weights are, or will be."""
    label = f"{lesson.network}-{lesson.stream}-{lesson.setting.strip('-') or 'teacher'}-s{lesson.seed}"
    return bench.stage(KIND, label, identity(bench, lesson))


def train(bench: Bench, lesson: Lesson) -> Stage:
    """Train what is not yet trained, whoever is learnt from first; the finished stage holds the weights."""
    out, before = stage_of(bench, lesson), taught_by(bench, lesson)
    if out.done:
        return out
    if before is not None:
        train(bench, before)
    with bench.stage_turn(out) as mine:
        if mine:
            _training(bench, lesson, out, None if before is None else trained(bench, before))
    return out


def trained(bench: Bench, lesson: Lesson) -> SkeletonNetwork:
    """The finished network on the run's device, in eval mode."""
    network = bench.new_network(lesson.network, lesson.seed)
    network.load_state_dict(standing(stage_of(bench, lesson)))
    return network.to(bench.device).eval()


def _training(bench: Bench, lesson: Lesson, out: Stage, teacher: SkeletonNetwork | None) -> None:
    network = bench.new_network(lesson.network, lesson.seed).to(bench.device)
    progress = fit_clips(
        bench,
        out,
        network,
        lesson.network,
        lesson.stream,
        lesson.seed,
        str(lesson),
        _validator(bench, network, lesson.stream) if len(bench.parts["val"]) else None,
        None if teacher is None else (teacher, bench.suite.dkd),
    )
    out.finish(network.state_dict(), progress)


def fit_clips(
    bench: SkeletonPlace,
    out: Stage,
    network: SkeletonNetwork,
    name: str,
    stream: str,
    seed: int,
    title: str,
    validate: Callable[[], float] | None,
    taught: tuple[SkeletonNetwork, DKDConfig] | None = None,
) -> Progressed:
    """Train a network in place on the training clips by the suite's recipe, by labels and what ``taught`` says.

    name: of the network; title: of the bar; the selected weights stay in the network.
    """
    recipe = bench.suite.recipe
    clips = bench.parts["train"]
    batch = min(recipe.batch, len(clips) * recipe.repeat)
    per_epoch = len(clips) * recipe.repeat // batch
    steps = per_epoch * recipe.epochs
    teacher, config = taught or (None, DKDConfig())
    dkd = DKD(temperature=config.temperature, alpha=config.alpha, beta=config.beta)

    @lru_cache(maxsize=1)
    def order(epoch: int) -> NDArray[np.int64]:
        repeated = np.tile(clips, recipe.repeat)
        return generator(seed, "skeleton", "epoch", epoch).permutation(repeated)

    def loss(step: int, micro: int) -> dict[str, Tensor]:
        epoch, position = divmod(step, per_epoch)
        places = order(epoch)[position * batch : (position + 1) * batch]
        joints = bench.batch(places, stream, generator(seed, "skeleton", "augment", step))
        labels = bench.labels(places)
        logits = at_least_float32(network(joints))
        ce = F.cross_entropy(logits, labels)
        if teacher is None:
            return {"loss": ce, "ce": ce}
        with torch.no_grad():
            theirs = at_least_float32(teacher(joints))
        with torch.autocast(bench.device.type, enabled=False):
            terms = dkd.levels(logits, theirs, labels)
        rises = min((epoch + 1) / config.warmup, 1.0) if config.warmup else 1.0
        total = config.ce_weight * ce
        for weight, value in terms.values():
            total = total + rises * weight * value
        return {"loss": total, "ce": ce, **{name: value for name, (_, value) in terms.items()}}

    plan = Plan(
        recipe,
        steps,
        seed,
        f"skeleton-{name}-{stream}",
        loss,
        bf16=name in bench.suite.bf16,
        validate=validate,
        validate_every=recipe.validate_every * per_epoch,
        select=recipe.select,
    )
    with bar(f"{title}, training", "steps") as tick, tracked(bench, out, "supervised", plan, clips=batch) as track:
        return fit(network, plan, out.path("supervised.pt"), bench.device, tick, track)


def _validator(bench: Bench, network: SkeletonNetwork, stream: str) -> Callable[[], float]:
    places = bench.parts["val"]

    def validate() -> float:
        found = logits(bench, network.eval(), stream, places)
        return float((found.argmax(1) == bench.clips.labels[places]).mean())

    return validate


@torch.no_grad()
def logits(bench: Bench, network: SkeletonNetwork, stream: str, places: Places) -> NDArray[np.float32]:
    """Class logits float32 (N, classes) of clips as they are tested, from a network in eval mode."""
    return np.concatenate([network(joints).float().cpu().numpy() for joints in as_tested(bench, stream, places)])


def as_tested(bench: SkeletonPlace, stream: str, places: Places) -> Iterator[Tensor]:
    """Clips as they are tested, in batches: a network's input, float32 (n, 3, T, V, M)."""
    return (bench.batch(places[at : at + _AT_ONCE], stream) for at in range(0, len(places), _AT_ONCE))
