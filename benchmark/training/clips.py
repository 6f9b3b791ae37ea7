"""Training a skeleton network on clips: by labels, or by labels and a network trained before it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.skeletons.dataset import SkeletonClips
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.benchmark.stage import Stage
from fewdistill.benchmark.suite.networks import DKDConfig, RecipeConfig
from fewdistill.benchmark.training.division import Division
from fewdistill.benchmark.training.loop import Plan, TrainState
from fewdistill.benchmark.training.train_stage import train_stage
from fewdistill.students.distill.base import at_least_float32
from fewdistill.students.distill.decoupled import DKD
from fewdistill.students.skeletons import SkeletonNetwork


@dataclass(frozen=True)
class ClipTeacher:
    """A finished network in eval mode, and how a student is trained by its logits."""

    network: SkeletonNetwork
    config: DKDConfig


def train_clips(
    context: RunContext,
    stage: Stage,
    network: SkeletonNetwork,
    data: SkeletonClips,
    recipe: RecipeConfig,
    validate: Callable[[], float] | None,
    *,
    stream: str,
    seed: int,
    name: str,
    title: str,
    bf16: bool,
    teacher: ClipTeacher | None = None,
) -> TrainState:
    """Train a network in place on the training clips by a recipe; the selected weights stay in it.

    Processes of a group divide each batch.
    """
    clips, division = data.parts["train"], Division(context.group)
    batch = min(recipe.batch, len(clips) * recipe.repeat)
    mine = division.share(batch)
    per_epoch = len(clips) * recipe.repeat // batch
    config = DKDConfig() if teacher is None else teacher.config
    dkd = DKD(temperature=config.temperature, alpha=config.alpha, beta=config.beta)

    @lru_cache(maxsize=1)
    def order(epoch: int) -> NDArray[np.int64]:
        repeated = np.tile(clips, recipe.repeat)
        return generator(seed, "skeleton", "epoch", epoch).permutation(repeated)

    def loss(step: int, micro: int) -> dict[str, Tensor]:
        epoch, position = divmod(step, per_epoch)
        indices = order(epoch)[position * batch : (position + 1) * batch]
        joints = data.batch(indices, stream, generator(seed, "skeleton", "augment", step))[mine]
        labels = data.train_labels(indices)
        logits = division.gather(at_least_float32(network(joints)))
        ce = F.cross_entropy(logits, labels)
        if teacher is None:
            return division.loss({"loss": ce, "ce": ce})
        with torch.no_grad():
            theirs = division.gather(at_least_float32(teacher.network(joints)))
        with torch.autocast(context.device.type, enabled=False):
            terms = dkd.levels(logits, theirs, labels)
        rises = min((epoch + 1) / config.warmup, 1.0) if config.warmup else 1.0
        total = config.ce_weight * ce
        for weight, value in terms.values():
            total = total + rises * weight * value
        return division.loss({"loss": total, "ce": ce, **{term: value for term, (_, value) in terms.items()}})

    plan = Plan(
        recipe,
        per_epoch * recipe.epochs,
        seed,
        f"skeleton-{name}-{stream}",
        loss,
        bf16=bf16,
        validate=validate,
        validate_every=recipe.validate_every * per_epoch,
        select=recipe.select,
        group=context.group,
        shares_micro=True,
    )
    with division.batch_norm(network):
        return train_stage(
            context, stage, network, plan, part="supervised", title=f"{title}, training", unit="steps", clips=batch
        )
