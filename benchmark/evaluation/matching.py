"""Embed each video once, project it once, then match frozen episodes from keys. Everything in float32."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewdistill.benchmark.episodes import Episodes
from fewdistill.benchmark.runtime.probe import CPU_FRAMES, embedding_frames
from fewdistill.benchmark.runtime.progress import Tick
from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.folding import folded
from fewdistill.students.heads.base import Head, Keys, gather_keys

_VIDEOS = 256  # projected at once
_CHUNK_BYTES = 64 << 20  # memory of one block of episodes while matching; larger blocks fall out of the caches

Frames = Callable[[Sequence[str]], Tensor]
"""Videos to network input: float32 (N * T, C, H, W) or joints, test transform, on the network's device."""


def no_tick(done: int, total: int) -> None:
    """A tick for callers that show no progress."""


@torch.no_grad()
def embed(
    encoder: ClipEncoder,
    videos: Sequence[str],
    frames: Frames,
    clip_frames: int,
    device: torch.device,
    tick: Tick = no_tick,
) -> dict[str, Tensor]:
    """Tokens of every video, float32 (V, T, D) by branch, in eval mode and on the device; the mode is put back."""
    training = encoder.training
    encoder.eval()
    at_once = CPU_FRAMES
    if device.type != "cpu" and isinstance(encoder, TokenEncoder):
        at_once = embedding_frames(encoder.backbone, frames(videos[:1]).shape[-1], device)
    batch = max(1, at_once // clip_frames)
    rows: dict[str, list[Tensor]] = {}
    with exact_float32(), folded(encoder):
        for start in range(0, len(videos), batch):
            tokens = encoder.clips(frames(videos[start : start + batch]), clip_frames)
            for name, value in tokens.items():
                rows.setdefault(name, []).append(value)
            tick(min(start + batch, len(videos)), len(videos))
    encoder.train(training)
    return {name: torch.cat(parts) for name, parts in rows.items()}


class exact_float32:
    """TF32 off inside the block: a query's logits may differ by less than TF32 resolves."""

    def __enter__(self) -> None:
        self._before = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def __exit__(self, *_: object) -> None:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = self._before


@torch.no_grad()
def project(head: Head, tokens: dict[str, Tensor]) -> list[Keys]:
    """Keys of every video for each branch, in eval mode; the head's mode is put back."""
    training = head.training
    head.eval()
    with exact_float32():
        keys = [_project_all(head, value) for value in tokens.values()]
    head.train(training)
    return keys


def _project_all(head: Head, tokens: Tensor) -> Keys:
    """Keys of all videos, a block at a time: what a projection needs besides its result stays small."""
    keys: Keys = ()
    for start in range(0, len(tokens), _VIDEOS):
        block = head.project(tokens[start : start + _VIDEOS])
        keys = keys or tuple(part.new_empty(len(tokens), *part.shape[1:]) for part in block)
        for whole, part in zip(keys, block, strict=True):
            whole[start : start + _VIDEOS] = part
    return keys


@torch.no_grad()
def match(head: Head, keys: list[Keys], episodes: Episodes, tick: Tick = no_tick) -> Tensor:
    """Logits float32 (E, Q, way) on the CPU, summed over branches; Q = way * query, queries class by class."""
    device = keys[0][0].device
    count, way, shot = episodes.support.shape
    support = torch.from_numpy(episodes.support.reshape(count, -1)).to(device)
    query = torch.from_numpy(episodes.query.reshape(count, -1)).to(device)
    labels = torch.arange(way, device=device).repeat_interleave(shot).expand(count, -1)
    per_video = sum(k[0].numel() * 4 for k in keys[0])
    chunk = max(1, _CHUNK_BYTES // (3 * per_video * (support.shape[1] + way * query.shape[1])))
    head.eval()
    logits = []
    with exact_float32():
        for start in range(0, count, chunk):
            rows = slice(start, start + chunk)
            block = [
                head.match(gather_keys(k, support[rows]), labels[rows], gather_keys(k, query[rows]), way) for k in keys
            ]
            logits.append(torch.stack(block).sum(0).cpu())
            tick(min(start + chunk, count), count)
    return torch.cat(logits)


@dataclass(frozen=True)
class Scores:
    """Per-episode outcome. correct: uint8 (E, Q); predicted: int16 (E, Q), class index in the split of the one largest
    logit, -1 where several share it; query_class: int16 (E, Q), class index in the split; confidence: float32 (E, Q),
    the largest softmax entry; nll: mean negative log-likelihood in nats."""

    correct: NDArray[np.uint8]
    predicted: NDArray[np.int16]
    query_class: NDArray[np.int16]
    confidence: NDArray[np.float32]
    nll: float

    @property
    def accuracy(self) -> float:
        """Share of queries classified right, 0..1."""
        return float(self.correct.mean())


def score(logits: Tensor, episodes: Episodes) -> Scores:
    """Scores of logits (E, Q, way) whose queries stand class by class. A tie is no answer, and wrong.

    A tie would otherwise go to the first class, and a collapsed network would look better than chance on episodes
    whose queries stand in class order.
    """
    count, queries, way = logits.shape
    target = torch.arange(way).repeat_interleave(queries // way)
    best = logits.topk(2, dim=2)
    classes = torch.from_numpy(episodes.classes)[:, None].expand(count, queries, way)
    answered = classes.gather(2, best.indices[..., :1])[..., 0]
    predicted = torch.where(best.values[..., 0] > best.values[..., 1], answered, -1).numpy().astype(np.int16)
    query_class = np.repeat(episodes.classes, queries // way, axis=1).astype(np.int16)
    log_probability = logits.log_softmax(-1)
    nll = -log_probability.gather(2, target.expand(count, -1)[..., None]).mean()
    return Scores(
        correct=(predicted == query_class).astype(np.uint8),
        predicted=predicted,
        query_class=query_class,
        confidence=log_probability.amax(-1).exp().numpy().astype(np.float32),
        nll=float(nll),
    )
