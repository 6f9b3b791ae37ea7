"""The plain way, from the equations: class by class, tuples concatenated, everything again in every episode.

These are the slow sides of the cases, and oracles in the tests.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewdistill.benchmark.cost.published_trx import PublishedTRX
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.heads.trx import TRX
from fewdistill.students.output import EpisodeOutput, support_distances
from fewdistill.students.trunks import IMAGENET_MEAN, IMAGENET_STD

UInt8 = NDArray[np.uint8]


def network_input(clips: Sequence[UInt8], image_size: int) -> Tensor:
    """Clips uint8 (T, H, W, 3), cropped to the middle, as float32 (N * T, 3, image_size, image_size), planes apart."""
    mean, std = torch.tensor(IMAGENET_MEAN)[:, None, None], torch.tensor(IMAGENET_STD)[:, None, None]
    frames = []
    for clip in clips:
        top, left = (clip.shape[1] - image_size) // 2, (clip.shape[2] - image_size) // 2
        for frame in clip:
            window = torch.from_numpy(frame[top : top + image_size, left : left + image_size].copy())
            frames.append((window.permute(2, 0, 1).contiguous().float() / 255 - mean) / std)
    return torch.stack(frames)


def tokens(encoder: ClipEncoder, frames: Tensor, clip_frames: int) -> dict[str, Tensor]:
    """One batch through the network: tokens (N, T, D) by branch."""
    return encoder.clips(frames, clip_frames)


def student_output(student: FewShotStudent, support: Tensor, query: Tensor, way: int) -> EpisodeOutput:
    """An episode whose support stands class by class: frames (S * T, ...) and (Q * T, ...), each its own pass."""
    assert isinstance(student.head, TRX)
    head = PublishedTRX(student.head)
    of_support = tokens(student.encoder, support, student.frames)
    of_query = tokens(student.encoder, query, student.frames)
    shot = next(iter(of_support.values())).shape[0] // way
    labels = torch.arange(way).repeat_interleave(shot)
    return EpisodeOutput(
        {name: head(of_support[name], of_query[name], way) * student.head.logit_scale for name in of_support},
        support_distances(list(of_support.values())[-1], labels, way),
        {name: torch.cat([of_support[name], of_query[name]]) for name in of_support},
        labels,
    )


@torch.no_grad()
def episode_logits(
    student: FewShotStudent, folder: VideoFolder, support: Sequence[str], query: Sequence[str], way: int
) -> Tensor:
    """A test episode from its files: videos decoded, one batch embedded, classes matched. Logits (Q, way)."""
    assert isinstance(student.head, TRX)
    clips = [folder.raw(video) for video in (*support, *query)]
    by_branch = tokens(student.encoder, network_input(clips, folder.image_size), student.frames)
    head = PublishedTRX(student.head)
    logits = [head(value[: len(support)], value[len(support) :], way) for value in by_branch.values()]
    return torch.stack(logits).sum(0) * student.head.logit_scale


def draw_by_scanning(labels: Sequence[int], way: int, wanted: int, rng: np.random.Generator) -> list[list[int]]:
    """One episode drawn from the list of all videos' labels: ``wanted`` videos of each of ``way`` classes."""
    chosen = rng.choice(sorted(set(labels)), way, replace=False)
    return [
        list(rng.choice([i for i, label in enumerate(labels) if label == one], wanted, replace=False)) for one in chosen
    ]
