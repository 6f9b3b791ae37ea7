"""Few-shot students: an encoder, a matching head, and their output on one episode."""

from abc import abstractmethod
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


class FewShotModel(nn.Module):
    """A network whose clips become named branches of tokens, and one head that matches the tokens of every branch.

    What training and evaluation need of a student, whether it reads frames or joints: ``tokens``, ``head``, and the
    whole episode in ``forward``.
    """

    encoder: nn.Module
    head: Head

    @abstractmethod
    def tokens(self, inputs: Tensor) -> dict[str, Tensor]:
        """The input of N clips -> tokens (N, T, D) by branch; in eval mode each clip's depend on that clip alone."""

    @abstractmethod
    def rows(self, clips: int) -> int:
        """How many rows of the input so many clips take."""

    @abstractmethod
    def forward(self, inputs: Tensor, labels: Tensor, way: int) -> EpisodeOutput:
        """One episode: the input of S support clips, then of Q query clips; labels int64 (S,) in 0..way-1."""


class FewShotStudent(FewShotModel):
    """A clip encoder with named branches and a head (Lite-MKD's two-branch student).

    The input is the encoder's, such as frames (N * T, 3, H, W) with T = ``frames``. passes = "one" runs the encoder on
    a whole episode at once, "two" on support and query apart, as released, so that in training batch norm sees them
    apart; micro_frames bounds the memory of training, see ClipEncoder.clips.
    """

    encoder: ClipEncoder

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

    def tokens(self, inputs: Tensor) -> dict[str, Tensor]:
        """See FewShotModel."""
        return self.encoder.clips(inputs, self.frames, self.micro_frames)

    def rows(self, clips: int) -> int:
        """See FewShotModel."""
        return self.encoder.rows(clips, self.frames)

    def forward(self, inputs: Tensor, labels: Tensor, way: int) -> EpisodeOutput:
        """See FewShotModel."""
        support = self.rows(labels.shape[0])
        parts = [inputs] if self.passes == "one" else [inputs[:support], inputs[support:]]
        passed = [self.tokens(part) for part in parts]
        tokens = {name: torch.cat([part[name] for part in passed]) for name in passed[0]}
        return episode_output(tokens, self.head, labels, way)


class FewShotSkeleton(FewShotModel):
    """A skeleton network and a head: joints float32 (N, C, T, V, M) -> tokens float32 (N, T', width) of one branch.

    The tokens are those of the network itself, layer-normalised where ``token_norm``. Tokens and matching are float32
    under autocast, too: the network alone is worth bfloat16.
    """

    encoder: SkeletonNetwork

    def __init__(self, encoder: SkeletonNetwork, head: Head, *, token_norm: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.token_norm = token_norm

    def tokens(self, inputs: Tensor) -> dict[str, Tensor]:
        """See FewShotModel."""
        tokens = at_least_float32(self.encoder.tokens(inputs))
        return {LABEL_BRANCH: F.layer_norm(tokens, tokens.shape[-1:]) if self.token_norm else tokens}

    def rows(self, clips: int) -> int:
        """A row a clip."""
        return clips

    def forward(self, inputs: Tensor, labels: Tensor, way: int) -> EpisodeOutput:
        """See FewShotModel."""
        tokens = self.tokens(inputs)
        with torch.autocast(inputs.device.type, enabled=False):
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
