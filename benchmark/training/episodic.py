"""What every episodic stage shares: its training episodes, their frames and labels, and validation."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fewdistill.benchmark.episodes import Episodes, draw
from fewdistill.benchmark.evaluation.matching import embed, match, project, score
from fewdistill.benchmark.protocols.episodic.place import EpisodicPlace
from fewdistill.benchmark.protocols.episodic.workspace import Clips, Workspace
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.benchmark.suite.sections import EpisodicConfig
from fewdistill.benchmark.training.base import recalibrate
from fewdistill.benchmark.training.prefetch import Ahead
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.heads.base import Head


def episodes_for(ws: EpisodicPlace, config: EpisodicConfig, seed: int, stage: str) -> Episodes:
    """Training episodes by (seed, stage); the same for every student and distillation setting of a stage."""
    rng = generator(seed, "episodes", "train", stage)
    return draw(
        ws.class_index("train"),
        way=config.way,
        shot=config.shot,
        query=config.query,
        episodes=max(1, config.episodes),
        rng=rng,
    )


def labels_of(episodes: Episodes, device: torch.device) -> tuple[Tensor, Tensor]:
    """Support labels (S,) and query labels (Q,), int64: videos stand class by class, as Episodes.rows gives them."""
    way = torch.arange(episodes.way, device=device)
    return way.repeat_interleave(episodes.support.shape[2]), way.repeat_interleave(episodes.query.shape[2])


def episode_pixels(ws: Workspace, clips: Clips, episodes: Episodes, seed: int, stage: str) -> Ahead[NDArray[Any]]:
    """Augmented clips of training episodes by their index, support then query, see Clips.pixels.

    Those of coming episodes are prepared ahead; see Ahead.
    """
    videos = ws.videos("train")

    def prepare(index: int) -> NDArray[Any]:
        asked = [videos[row] for row in episodes.rows(index)]
        return clips.pixels(asked, generator(seed, "augment", stage, index))

    return Ahead(prepare, len(episodes))


def validator(
    ws: EpisodicPlace,
    module: nn.Module,
    clips: Clips | None,
    tokens: Callable[[], dict[str, Tensor]] | None = None,
) -> Callable[[], float]:
    """A function that scores the module on the frozen validation episodes, 0..1.

    Networks that read frames have their batch norm recalibrated first; ``tokens`` replaces embedding where the
    module works on cached tokens.
    """
    episodes = ws.val_episodes()

    def embedded() -> dict[str, Tensor]:
        assert isinstance(ws, Workspace) and clips is not None and isinstance(module, FewShotStudent)
        recalibrate(ws, module.encoder, clips)
        return embed(module.encoder, ws.videos("val"), clips.frames, ws.suite.data.frames, ws.device)

    @torch.no_grad()
    def validate() -> float:
        module.eval()
        head = module.get_submodule("head")
        assert isinstance(head, Head)
        return score(match(head, project(head, (tokens or embedded)()), episodes), episodes).accuracy

    return validate
