"""Supervised base training on the training classes, for students and for a teacher's encoders."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.data.dataset import ClipDataset
from fewdistill.benchmark.data.video.clips import Clips
from fewdistill.benchmark.runtime.seeds import generator, torch_scope
from fewdistill.benchmark.stage import Stage
from fewdistill.benchmark.suite.sections import BaseConfig
from fewdistill.benchmark.training.division import Division
from fewdistill.benchmark.training.loop import Plan, TrainState
from fewdistill.benchmark.training.prefetch import Prefetcher
from fewdistill.benchmark.training.train_stage import train_stage
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.distill.base import Distiller
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
class TokenTargets:
    """Teacher tokens (V_train, T, D) that base training distils: by themselves, and by a loss's ``base_terms``.

    weight: of the distiller's terms.
    """

    tokens: Tensor
    token_weight: float
    distiller: Distiller | None = None
    weight: float = 0.0

    def of(self, rows: NDArray[np.int64], keep: NDArray[np.int64]) -> Tensor:
        """Tokens (N, T', D) of the videos ``rows`` (N,) at their frames ``keep`` (N, T')."""
        tokens, frames = self.tokens[torch.from_numpy(rows)], torch.from_numpy(keep)
        return tokens.gather(1, frames[..., None].expand(-1, -1, tokens.shape[2]))

    def terms(self, tokens: dict[str, Tensor], target: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Distillation terms by name, weight and value, of student tokens by branch and teacher tokens (N, T', D)."""
        found: dict[str, tuple[float, Tensor]] = {}
        if self.token_weight:
            found["tokens"] = (self.token_weight, token_loss(tokens, target))
        if self.distiller is not None:
            own = self.distiller.base_terms(tokens, target)
            found |= {name: (self.weight * weight, value) for name, (weight, value) in own.items()}
        return found


def train_base(
    context: RunContext,
    stage: Stage,
    encoder: ClipEncoder,
    data: ClipDataset,
    clips: Clips,
    config: BaseConfig,
    *,
    frames: int,
    image_size: int,
    seed: int,
    name: str,
    bf16: bool,
    distilled: TokenTargets | None = None,
) -> TrainState:
    """Train an encoder in place by labels, and by teacher tokens where ``distilled``.

    frames: of a clip. Processes of a group divide each batch; UserError where it cannot be divided.
    """
    device, videos = context.device, data.videos("train")
    labels = torch.from_numpy(data.labels("train")).to(device)
    with torch_scope(torch.device("cpu"), seed, "init", "classifier", name):
        module = BaseClassifier(encoder, int(labels.max()) + 1)
    module = context.to_device(module, encoder, image_size)
    batch = min(config.batch, len(videos))
    per_epoch = len(videos) // batch
    frames_kept = config.clip_frames or frames
    steps = round(config.epochs * per_epoch)
    group = context.group if steps else None  # nothing to divide: the stage may be of one process alone
    division = Division(group)
    if group is not None:
        groups = math.lcm(config.micro_frames or frames_kept, frames_kept) // frames_kept
        division.check(batch, "base.batch", groups)
    mine = division.share(batch)

    @lru_cache(maxsize=2)
    def order(epoch: int) -> NDArray[np.int64]:
        return generator(seed, name, "epoch", epoch).permutation(len(videos))

    def prepare(step: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        epoch, position = divmod(step, per_epoch)
        rows = order(epoch)[position * batch : (position + 1) * batch]
        rng = generator(seed, name, "augment", step)
        keep = _frame_choice(len(rows), frames, frames_kept, rng)
        return rows, keep, clips.pixels([videos[row] for row in rows], rng, keep, mine)

    batches = Prefetcher(prepare, steps)

    def loss(step: int, micro: int) -> dict[str, Tensor]:
        with nullcontext() if group is None else group.collective():
            rows, keep, pixels = batches(step)
        own = module.encoder.clips(clips.network_input(pixels), frames_kept, config.micro_frames)
        tokens = {branch: division.gather(value) for branch, value in own.items()}
        target = labels[torch.from_numpy(rows).to(device)]
        parts = {"ce": torch.stack([F.cross_entropy(logits, target) for logits in module.logits(tokens)]).mean()}
        total = parts["ce"]
        if distilled is not None:
            for term, (weight, value) in distilled.terms(tokens, distilled.of(rows, keep).to(device)).items():
                parts[term] = value
                total = total + weight * value
        return division.loss({"loss": total, **parts})

    plan = Plan(config, steps, seed, f"{name}-base", loss, bf16=bf16, group=group, shares_micro=True)
    shared = nullcontext() if config.micro_frames else division.batch_norm(module)  # groups of frames have their own
    with shared:
        return train_stage(
            context, stage, module, plan, part="base", title=f"{name}, base training (seed {seed})", unit="steps",
            feed=batches, frames=batch * frames_kept,
        )  # fmt: skip


def _frame_choice(clips: int, frames: int, kept: int, rng: np.random.Generator) -> np.ndarray:
    """Ascending frame indices int64 (clips, kept), drawn without replacement for each clip."""
    if kept >= frames:
        return np.broadcast_to(np.arange(frames), (clips, frames)).copy()
    return np.sort(rng.random((clips, frames)).argsort(axis=1)[:, :kept], axis=1)


def recalibrate(encoder: ClipEncoder, data: ClipDataset, clips: Clips, frames: int) -> None:
    """Batch-norm statistics from training videos spread over all classes, without augmentation."""
    videos: Sequence[str] = data.videos("train")
    chosen = [videos[i] for i in np.linspace(0, len(videos) - 1, min(_RECALIBRATION_VIDEOS, len(videos))).astype(int)]
    step = max(1, _RECALIBRATION_FRAMES // frames)
    # neighbours in the list are of one class; strides mix the classes of each batch
    count = -(-len(chosen) // step)
    batches = [chosen[start::count] for start in range(count)]
    update_bn((clips.frames(batch) for batch in batches), encoder)
