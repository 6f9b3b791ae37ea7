"""A trained teacher's outputs on training episodes: logits, support distances and tokens, as a loss reads them."""

import copy
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from fewdistill.benchmark.evaluation.matching import project
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.students.heads.base import Head
from fewdistill.students.output import EpisodeOutput, class_prototypes, support_distances

TEACHER_BRANCH = "fused"


class TeacherOutputs:
    """A teacher's outputs on training episodes. Its keys are computed once per video, not once per episode.

    Logits and support distances are those of its tokens (V_train, T, D) and of its head on ``device``, in eval mode
    and without gradients. target: the tokens that a loss distils. Logits by stream, where a loss reads them, are
    negative squared distances to class prototypes of the stream's tokens, mean over frames: its encoder may have been
    trained without episodes, and has no head then. dropout: leave the head's dropout on, as released.
    """

    def __init__(
        self,
        head: Head,
        tokens: Tensor,
        device: torch.device,
        target: Tensor | None = None,
        streams: Mapping[str, Tensor] = MappingProxyType({}),
        dropout: bool = False,
    ) -> None:
        self._device = device
        self._fused, self._target, self._streams = tokens, target, streams
        self._dropout = dropout
        if dropout:
            self._head = copy.deepcopy(head).train()  # the other rows' teacher stays in eval mode
        else:
            self._head = head
            (self._keys,) = project(head, {TEACHER_BRANCH: tokens.to(device)})

    @torch.no_grad()
    def __call__(self, rows: Tensor, labels: Tensor, drawn: Tensor, way: int) -> EpisodeOutput:
        """rows int64 (S + Q,) into the training videos, support first; labels and drawn int64 (S,).

        drawn: the labels that the support distances use, see ``shuffled_labels``.
        """
        support, query = rows[: len(labels)].to(self._device), rows[len(labels) :].to(self._device)
        with torch.autocast(self._device.type, enabled=False):
            if self._dropout:
                fused = self._of(self._fused, rows)
                logits = self._head(fused[: len(labels)], labels, fused[len(labels) :], way)
            else:
                support_keys, query_keys = (tuple(k[at][None] for k in self._keys) for at in (support, query))
                logits = self._head.match(support_keys, labels[None], query_keys, way)[0]
            target = {} if self._target is None else {TEACHER_BRANCH: self._of(self._target, rows)}
            return EpisodeOutput(
                {TEACHER_BRANCH: logits},
                support_distances(self._of(self._fused, rows[: len(labels)]), drawn, way),
                target,
                streams={
                    name: prototype_logits(self._of(tokens, rows), labels, way)
                    for name, tokens in self._streams.items()
                },
            )

    def _of(self, tokens: Tensor, rows: Tensor) -> Tensor:
        return tokens[rows].to(self._device)


def shuffled_labels(labels: Tensor, rows: Tensor, seed: int) -> Tensor:
    """The labels int64 (S,) in a random order that belongs to the episode of these rows.

    The released code shuffles the support and then takes its videos class by class: a prototype mixes classes. Which
    of them it mixes is all that this order says.
    """
    order = generator(seed, "support as drawn", *rows.tolist()).permutation(len(labels))
    return labels[torch.from_numpy(order).to(labels.device)]


def prototype_logits(tokens: Tensor, labels: Tensor, way: int) -> Tensor:
    """-(1/T) ||query - prototype||^2 of ordered frame tokens (S + Q, T, D), labels (S,) -> (Q, way)."""
    shots = len(labels)
    prototypes = class_prototypes(tokens[:shots], labels, way).flatten(1)
    queries = tokens[shots:].flatten(1)
    return -(queries[:, None] - prototypes).square().sum(-1) / tokens.shape[1]
