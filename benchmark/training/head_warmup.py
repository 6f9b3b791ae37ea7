"""Branches and head fitted to the base before the whole network trains, on features computed once per video.

A fresh head on a fresh base spoils the trunk with its first noisy gradients, and a whole-network episode costs a
hundred times the head's own work. Here the trunk is frozen and its pooled features are cached, so that hundreds of
episodes pass in seconds; the losses are those of the episodes that follow.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.dataset import ClipDataset
from fewdistill.benchmark.data.video.clips import Clips
from fewdistill.benchmark.evaluation.frozen import FrozenEpisodes
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.benchmark.stage import Stage
from fewdistill.benchmark.suite.sections import StudentEpisodicConfig
from fewdistill.benchmark.training.episodic import EpisodeLoss, episodes_for, labels_of, validator
from fewdistill.benchmark.training.loop import Plan, TrainState
from fewdistill.benchmark.training.train_stage import train_stage
from fewdistill.students.few_shot import FewShotStudent, episode_output

_VIEWS = 2  # the middle crop and one augmented crop of every training video
_BATCH = 16
_VALIDATIONS = 4


class _BranchesAndHead(nn.Module):
    """The parts that train: branches and head of a student, which keep their place in it, and the loss's own."""

    def __init__(self, student: FewShotStudent, distiller: nn.Module | None) -> None:
        super().__init__()
        self.branches = student.encoder.branches
        self.head = student.head
        self.distiller = distiller


@torch.no_grad()
def _features(student: FewShotStudent, clips: Clips, videos: Sequence[str], stream: str | None) -> Tensor:
    """Trunk features (V, T, channels) in eval mode; ``stream`` names the augmentation, None the middle crop."""
    rng = None if stream is None else generator(0, "adapt", stream)
    parts = [
        student.encoder.features(clips.frames(videos[start : start + _BATCH], rng), student.frames)
        for start in range(0, len(videos), _BATCH)
    ]
    return torch.cat(parts)


def warm_up_head(
    context: RunContext,
    stage: Stage,
    student: FewShotStudent,
    distiller: nn.Module | None,
    data: ClipDataset,
    clips: Clips,
    frozen: FrozenEpisodes,
    config: StudentEpisodicConfig,
    loss: EpisodeLoss,
    recalibrated: Callable[[], None],
    *,
    seed: int,
    name: str,
) -> TrainState:
    """Train branches and head in place on the frozen trunk; the best validated weights are kept, the start included.

    recalibrated: recalibrates the trunk's batch norm, once, before its features are computed.
    """
    recalibrated()
    student.eval()
    with bar(f"{name}, trunk features (seed {seed})", "views") as tick:
        views = []
        for view in range(_VIEWS):
            views.append(_features(student, clips, data.videos("train"), f"view {view}" if view else None))
            tick(view + 1, _VIEWS)
    val_features = _features(student, clips, data.videos("val"), None)
    module = _BranchesAndHead(student, distiller)
    sized = config.model_copy(update={"episodes": config.adapt_episodes})
    episodes = episodes_for(data, sized, seed, "adapt")
    choice = generator(seed, "adapt", "views").integers(_VIEWS, size=len(episodes))
    support_labels, query_labels = labels_of(episodes, context.device)

    def step_loss(step: int, micro: int) -> dict[str, Tensor]:
        rows = torch.from_numpy(episodes.rows(step))
        tokens = student.encoder.tokens(views[choice[step]][rows.to(context.device)])
        output = episode_output(tokens, student.head, support_labels, episodes.way)
        return loss(output, rows, support_labels, query_labels, episodes.way)

    plan = Plan(
        config.model_copy(update={"lr": config.adapt_lr}), config.adapt_episodes, seed, f"{name}-adapt", step_loss,
        validate=validator(student, frozen, lambda: student.encoder.tokens(val_features)),
        validate_every=max(1, config.adapt_episodes // _VALIDATIONS),
    )  # fmt: skip
    return train_stage(
        context, stage, module, plan, part="adapt", title=f"{name}, head warm-up (seed {seed})", unit="episodes",
        episodes=1,
    )  # fmt: skip
