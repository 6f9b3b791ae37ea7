"""A student: token encoder and matching head, and what it says about one episode."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewdistill.students.backbones import LABEL_BRANCH
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.distill.base import at_least_float32
from fewdistill.students.heads.base import Head
from fewdistill.students.output import EpisodeOutput, support_distances
from fewdistill.students.skeletons import SkeletonNetwork


class FewShotStudent(nn.Module):
    """An encoder with named branches and one head that all branches share (Lite-MKD's two-branch student).

    In training, passes = "one" lets batch norm see the whole episode, "two" support and query apart, as released;
    micro_frames bounds the memory, see ClipEncoder.clips.
    """

    def __init__(
        self, encoder: ClipEncoder, head: Head, frames: int, *, passes: Literal["one", "two"] = "one",
        micro_frames: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.frames = frames
        self.passes = passes
        self.micro_frames = micro_frames

    def forward(self, frames: Tensor, labels: Tensor, way: int) -> EpisodeOutput:
        """One episode: the encoder's input, frames (N * T, 3, H, W) or another, of S support then Q query videos.

        labels: int64 (S,).
        """
        support = self.encoder.rows(labels.shape[0], self.frames)
        parts = [frames] if self.passes == "one" else [frames[:support], frames[support:]]
        passed = [self.encoder.clips(part, self.frames, self.micro_frames) for part in parts]
        tokens = {name: torch.cat([part[name] for part in passed]) for name in passed[0]}
        return episode_output(tokens, self.head, labels, way)


class FewShotSkeleton(nn.Module):
    """A network on joints and one head: tokens of one branch, layer-normalised where ``token_norm``.

    Tokens and matching are float32 under autocast, too: the network alone is worth bfloat16.
    """

    def __init__(self, encoder: SkeletonNetwork, head: Head, *, token_norm: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.token_norm = token_norm

    def tokens(self, joints: Tensor) -> dict[str, Tensor]:
        """joints float32 (N, C, T, V, M) -> tokens float32 (N, T', width), under the branch's name."""
        tokens = at_least_float32(self.encoder.tokens(joints))
        return {LABEL_BRANCH: F.layer_norm(tokens, tokens.shape[-1:]) if self.token_norm else tokens}

    def forward(self, joints: Tensor, labels: Tensor, way: int) -> EpisodeOutput:
        """One episode: joints (N, C, T, V, M) of S support then Q query clips, labels int64 (S,)."""
        tokens = self.tokens(joints)
        with torch.autocast(joints.device.type, enabled=False):
            return episode_output(tokens, self.head, labels, way)


def episode_output(tokens: dict[str, Tensor], head: Head, labels: Tensor, way: int) -> EpisodeOutput:
    """Tokens by branch (S + Q, T, D), support first -> logits by branch, support distances of the label branch."""
    support = labels.shape[0]
    names = list(tokens)
    keys = head.project(torch.cat([tokens[name] for name in names]))
    by_branch = [k.unflatten(0, (len(names), -1)) for k in keys]  # branches match like episodes of one batch
    support_keys = tuple(k[:, :support] for k in by_branch)
    query_keys = tuple(k[:, support:] for k in by_branch)
    logits = head.match(support_keys, labels.expand(len(names), -1), query_keys, way)
    return EpisodeOutput(
        logits=dict(zip(names, logits, strict=True)),
        support_distances=_support_distances(tokens, labels, way),
        tokens=tokens,
        support_labels=labels,
    )


def with_support_labels(output: EpisodeOutput, labels: Tensor, way: int) -> EpisodeOutput:
    """The same output with support distances between the classes of other support labels int64 (S,)."""
    return replace(output, support_distances=_support_distances(output.tokens, labels, way))


def _support_distances(tokens: Mapping[str, Tensor], labels: Tensor, way: int) -> Tensor:
    of_labels = tokens.get(LABEL_BRANCH, next(iter(tokens.values())))
    return support_distances(of_labels[: labels.shape[0]], labels, way)
