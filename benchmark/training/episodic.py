"""Episodic training: its episodes, their clips and labels, validation, and the training itself."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.dataset import ClipDataset
from fewdistill.benchmark.data.video.clips import Clips
from fewdistill.benchmark.episodes import NO_EPISODES, Episodes, draw
from fewdistill.benchmark.evaluation.frozen import FrozenEpisodes, class_index
from fewdistill.benchmark.evaluation.matching import match, project, score
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.benchmark.stage import Stage
from fewdistill.benchmark.suite.sections import EpisodicConfig
from fewdistill.benchmark.training.loop import Plan, TrainState
from fewdistill.benchmark.training.prefetch import Prefetcher
from fewdistill.benchmark.training.train_stage import train_stage
from fewdistill.students.heads.base import Head
from fewdistill.students.output import EpisodeOutput

EpisodeLoss = Callable[[EpisodeOutput, Tensor, Tensor, Tensor, int], dict[str, Tensor]]
"""(student output, training-clip rows, support labels, query labels, way) -> loss parts; "loss" is minimised."""


def episodes_for(data: ClipDataset, config: EpisodicConfig, seed: int, role: str) -> Episodes:
    """Training episodes by (seed, role); the same for every student and distillation setting of a role."""
    return draw(
        class_index(data, "train"), way=config.way, shot=config.shot, query=config.query,
        episodes=max(1, config.episodes), rng=generator(seed, "episodes", "train", role),
    )  # fmt: skip


def labels_of(episodes: Episodes, device: torch.device) -> tuple[Tensor, Tensor]:
    """Support labels (S,) and query labels (Q,), int64: clips stand class by class, as Episodes.rows gives them."""
    way = torch.arange(episodes.way, device=device)
    return way.repeat_interleave(episodes.support.shape[2]), way.repeat_interleave(episodes.query.shape[2])


def validator(module: nn.Module, frozen: FrozenEpisodes, embed: Callable[[], dict[str, Tensor]]) -> Callable[[], float]:
    """A function that scores the module's head on the frozen validation episodes, 0..1.

    embed: the tokens of the validation clips by branch, float32 (V, T, D), with the module's present weights.
    """
    episodes = frozen.val

    @torch.no_grad()
    def validate() -> float:
        module.eval()
        head = module.get_submodule("head")
        assert isinstance(head, Head)
        return score(match(head, project(head, embed()), episodes), episodes).accuracy

    return validate


def episodic_plan(
    config: EpisodicConfig,
    seed: int,
    name: str,
    loss: Callable[[int, int], dict[str, Tensor]],
    validate: Callable[[], float],
    context: RunContext,
    bf16: bool = False,
) -> Plan:
    """A training of config.episodes episodes, config.accumulate a step; name: of its random streams."""
    return Plan(
        config,
        config.episodes // config.accumulate,
        seed,
        name,
        loss,
        config.accumulate,
        bf16,
        validate,
        max(1, config.validate_every // config.accumulate),
        group=context.group if config.episodes else None,  # nothing to divide: the stage may be of one process alone
    )


def train_episodes(
    context: RunContext,
    stage: Stage,
    module: nn.Module,
    trained: nn.Module,
    data: ClipDataset,
    clips: Clips,
    config: EpisodicConfig,
    loss: EpisodeLoss,
    validate: Callable[[], float],
    *,
    seed: int,
    role: str,
    name: str,
    title: str,
    bf16: bool,
) -> TrainState:
    """Train a few-shot network in place on episodes of the training classes; the best validated weights stay in it.

    module: called with an episode's input, support labels and way; trained: what the optimiser sees, the module and a
    distiller's own weights. role: names the episodes and their augmentation; name: the other random streams.
    """
    # a training without episodes is validated alone, and draws none: its split may be too small for the default way
    episodes = episodes_for(data, config, seed, role) if config.episodes else NO_EPISODES
    videos = data.videos("train")
    support_labels, query_labels = labels_of(episodes, context.device)

    def prepare(index: int) -> Any:
        asked = [videos[row] for row in episodes.rows(index)]
        return clips.pixels(asked, generator(seed, "augment", role, index))

    pixels = Prefetcher(prepare, len(episodes))

    def step_loss(step: int, micro: int) -> dict[str, Tensor]:
        index = step * config.accumulate + micro
        output = module(clips.network_input(pixels(index)), support_labels, episodes.way)
        return loss(output, torch.from_numpy(episodes.rows(index)), support_labels, query_labels, episodes.way)

    plan = episodic_plan(config, seed, name, step_loss, validate, context, bf16)
    return train_stage(
        context, stage, trained, plan, part="episodic", title=title, feed=pixels, episodes=config.accumulate
    )
