"""Supervised base training on the training classes, for students and for a teacher's encoders."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from fewdistill.benchmark.graph.place import Stage
from fewdistill.benchmark.graph.tracked_stage import tracked
from fewdistill.benchmark.protocols.episodic.workspace import Clips, Workspace
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.runtime.seeds import generator, torch_scope
from fewdistill.benchmark.suite.sections import BaseConfig
from fewdistill.benchmark.training.loop import Plan, Progressed, fit
from fewdistill.benchmark.training.prefetch import Ahead
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.distill.d2m import frame_relation
from fewdistill.students.distill.tokens import token_loss

_RECALIBRATION_VIDEOS = 128
_RECALIBRATION_FRAMES = 128


class BaseClassifier(nn.Module):
    """An encoder with one linear classifier a branch over layer-normalised, frame-averaged tokens."""

    def __init__(self, encoder: ClipEncoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifiers = nn.ModuleDict({name: nn.Linear(encoder.width, classes) for name in encoder.branches})

    def logits(self, tokens: dict[str, Tensor]) -> list[Tensor]:
        """Tokens (N, T, D) by branch -> logits (N, classes) of each branch."""
        width = (self.encoder.width,)
        return [self.classifiers[name](F.layer_norm(value, width).mean(1)) for name, value in tokens.items()]


@dataclass(frozen=True)
class Taught:
    """What base training follows beside labels: teacher tokens (V_train, T, D), themselves and their distances."""

    tokens: Tensor
    token_weight: float
    relation_weight: float

    def of(self, rows: NDArray[np.int64], keep: NDArray[np.int64]) -> Tensor:
        """Tokens (N, T', D) of the videos ``rows`` (N,) at their frames ``keep`` (N, T')."""
        tokens, frames = self.tokens[torch.from_numpy(rows)], torch.from_numpy(keep)
        return tokens.gather(1, frames[..., None].expand(-1, -1, tokens.shape[2]))


def base_stage(
    ws: Workspace,
    out: Stage,
    encoder: ClipEncoder,
    clips: Clips,
    config: BaseConfig,
    seed: int,
    name: str,
    bf16: bool,
    taught: Taught | None = None,
) -> Progressed:
    """Supervised training of the encoder in place, and distillation where there is something taught."""
    videos = ws.videos("train")
    labels = torch.from_numpy(ws.folder.labels("train")).to(ws.device)
    with torch_scope(torch.device("cpu"), seed, "init", "classifier", name):
        module = BaseClassifier(encoder, int(labels.max()) + 1)
    module = ws.place(module, encoder)
    batch = min(config.batch, len(videos))
    per_epoch = len(videos) // batch
    frames_kept = config.clip_frames or ws.suite.data.frames

    @lru_cache(maxsize=2)
    def order(epoch: int) -> NDArray[np.int64]:
        return generator(seed, name, "epoch", epoch).permutation(len(videos))

    def prepare(step: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        epoch, position = divmod(step, per_epoch)
        rows = order(epoch)[position * batch : (position + 1) * batch]
        rng = generator(seed, name, "augment", step)
        keep = _frame_choice(len(rows), ws.suite.data.frames, frames_kept, rng)
        return rows, keep, clips.pixels([videos[row] for row in rows], rng, keep)

    steps = round(config.epochs * per_epoch)
    batches = Ahead(prepare, steps)

    def loss(step: int, micro: int) -> dict[str, Tensor]:
        rows, keep, pixels = batches(step)
        tokens = module.encoder.clips(clips.network_input(pixels), frames_kept, config.micro_frames)
        target = labels[torch.from_numpy(rows).to(ws.device)]
        parts = {"ce": torch.stack([F.cross_entropy(logits, target) for logits in module.logits(tokens)]).mean()}
        total = parts["ce"]
        if taught is not None:
            target_tokens = taught.of(rows, keep).to(ws.device)
            if taught.token_weight:
                parts["tokens"] = token_loss(tokens, target_tokens)
                total = total + taught.token_weight * parts["tokens"]
            if taught.relation_weight:
                parts["relation"] = frame_relation(tokens, target_tokens)
                total = total + taught.relation_weight * parts["relation"]
        return {"loss": total, **parts}

    plan = Plan(config, steps, seed, f"{name}-base", loss, bf16=bf16)
    with (
        bar(f"{name}, base training (seed {seed})", "steps") as tick,
        batches,
        tracked(ws, out, "base", plan, frames=batch * frames_kept) as track,
    ):
        return fit(module, plan, out.path("base.pt"), ws.device, tick, track)


def _frame_choice(clips: int, frames: int, kept: int, rng: np.random.Generator) -> np.ndarray:
    """Ascending frame indices int64 (clips, kept), drawn without replacement for each clip."""
    if kept >= frames:
        return np.broadcast_to(np.arange(frames), (clips, frames)).copy()
    return np.sort(rng.random((clips, frames)).argsort(axis=1)[:, :kept], axis=1)


def recalibrate(ws: Workspace, encoder: ClipEncoder, clips: Clips) -> None:
    """Batch-norm statistics from training videos spread over all classes, without augmentation."""
    videos: Sequence[str] = ws.videos("train")
    chosen = [videos[i] for i in np.linspace(0, len(videos) - 1, min(_RECALIBRATION_VIDEOS, len(videos))).astype(int)]
    step = max(1, _RECALIBRATION_FRAMES // ws.suite.data.frames)
    # neighbours in the list are of one class; strides mix the classes of each batch
    count = -(-len(chosen) // step)
    batches = [chosen[start::count] for start in range(count)]
    update_bn((clips.frames(batch) for batch in batches), encoder)
