"""Branches and head fitted to the base before the whole network trains, on features computed once per video.

A fresh head on a fresh base spoils the trunk with its first noisy gradients, and a whole-network episode costs a
hundred times the head's own work. Here the trunk is frozen and its pooled features are cached, so that hundreds of
episodes pass in seconds; the losses are those of the episodes that follow.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fewdistill.benchmark.data.video.clips import Clips
from fewdistill.benchmark.evaluation.matching import match, project, score
from fewdistill.benchmark.graph.place import Stage
from fewdistill.benchmark.graph.tracked_stage import tracked
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.benchmark.suite.sections import StudentEpisodicConfig
from fewdistill.benchmark.training.base import recalibrate
from fewdistill.benchmark.training.episodic import episodes_for, labels_of
from fewdistill.benchmark.training.loop import Plan, Progressed, fit
from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.few_shot import FewShotStudent, episode_output
from fewdistill.students.output import EpisodeOutput

Loss = Callable[[EpisodeOutput, Tensor, Tensor, Tensor, int], dict[str, Tensor]]
"""(student output, video rows, support labels, query labels, way) -> loss parts."""

_VIEWS = 2  # the middle crop and one augmented crop of every training video
_BATCH = 16
_VALIDATIONS = 4


class _Adapted(nn.Module):
    """The parts that train: branches and head of a student, which keep their place in it, and the loss's own."""

    def __init__(self, student: FewShotStudent, distiller: nn.Module | None) -> None:
        super().__init__()
        self.branches = student.encoder.branches
        self.head = student.head
        self.distiller = distiller


@torch.no_grad()
def _features(
    ws: Workspace, student: FewShotStudent, clips: Clips, videos: Sequence[str], stream: str | None
) -> Tensor:
    """Pooled trunk features (V, T, channels) in eval mode; ``stream`` names the augmentation, None the middle crop."""
    rng = None if stream is None else generator(0, "adapt", stream)
    assert isinstance(student.encoder, TokenEncoder)  # students read frames
    parts = [
        student.encoder.pooled(clips.frames(videos[start : start + _BATCH], rng))
        for start in range(0, len(videos), _BATCH)
    ]
    return torch.cat(parts).unflatten(0, (-1, ws.suite.data.frames))


def adapt(
    ws: Workspace,
    out: Stage,
    student: FewShotStudent,
    distiller: nn.Module | None,
    clips: Clips,
    config: StudentEpisodicConfig,
    seed: int,
    name: str,
    loss: Loss,
) -> Progressed:
    """Train branches and head in place on the frozen trunk; the best validated state is kept, the start included."""
    recalibrate(ws, student.encoder, clips)
    student.eval()
    with bar(f"{name}, trunk features (seed {seed})", "views") as tick:
        views = []
        for view in range(_VIEWS):
            views.append(_features(ws, student, clips, ws.videos("train"), f"view {view}" if view else None))
            tick(view + 1, _VIEWS)
    val_features = _features(ws, student, clips, ws.videos("val"), None)
    module = _Adapted(student, distiller)
    sized = config.model_copy(update={"episodes": config.adapt_episodes})
    episodes, val_episodes = episodes_for(ws, sized, seed, "adapt"), ws.val_episodes()
    choice = generator(seed, "adapt", "views").integers(_VIEWS, size=len(episodes))
    support_labels, query_labels = labels_of(episodes, ws.device)

    def step_loss(step: int, micro: int) -> dict[str, Tensor]:
        rows = torch.from_numpy(episodes.rows(step))
        tokens = student.encoder.tokens(views[choice[step]][rows.to(ws.device)])
        output = episode_output(tokens, student.head, support_labels, episodes.way)
        return loss(output, rows, support_labels, query_labels, episodes.way)

    @torch.no_grad()
    def validate() -> float:
        student.eval()
        keys = project(student.head, student.encoder.tokens(val_features))
        return score(match(student.head, keys, val_episodes), val_episodes).accuracy

    plan = Plan(
        config.model_copy(update={"lr": config.adapt_lr}), config.adapt_episodes, seed, f"{name}-adapt", step_loss,
        validate=validate, validate_every=max(1, config.adapt_episodes // _VALIDATIONS),
    )  # fmt: skip
    with (
        bar(f"{name}, adapt head (seed {seed})", "episodes") as tick,
        tracked(ws, out, "adapt", plan, episodes=1) as track,
    ):
        return fit(module, plan, out.path("adapt.pt"), ws.device, tick, track)
