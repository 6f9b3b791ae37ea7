"""The mean-token rules of the few-shot literature: Lite-MKD's e_dist ("META"), ProtoNet, and mean-pooled cosine.

All average a video's tokens over its frames. e_dist scores a class by the mean of the distances to its support
videos; ProtoNet by the squared distance to their mean: the same order of classes at one shot, another at more.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fewdistill.students.heads import HEADS
from fewdistill.students.heads.base import Keys, TokenHead
from fewdistill.students.heads.support import class_means, class_shares

_EPS = 1e-6


class _MeanToken(TokenHead):
    """Base of the rules here: the key of a video is its mean token (N, D)."""

    def project(self, tokens: Tensor) -> Keys:
        """Tokens float32 (N, T, D) -> mean tokens (N, D); another T or D raises StudentError."""
        return (self.check(tokens).mean(1),)


@HEADS.register("e_dist")
class EDist(_MeanToken):
    """Lite-MKD's e_dist, called META in its plots: logit_c = -mean over the support of c of ||q - s||_2."""

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from mean tokens (B, S, D) and (B, Q, D), labels int64 (B, S); see the class."""
        distance = torch.cdist(query[0], support[0], compute_mode="donot_use_mm_for_euclid_dist")
        return -self.logit_scale * distance @ class_shares(labels, way, distance)


@HEADS.register("protonet")
class ProtoNet(_MeanToken):
    """Prototypical networks (Snell et al., NeurIPS 2017, equation 2): logit_c = -||q - mean of c||^2."""

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from mean tokens (B, S, D) and (B, Q, D), labels int64 (B, S); see the class."""
        prototypes = class_means(support[0], labels, way)
        return -self.logit_scale * (query[0][:, :, None] - prototypes[:, None]).square().sum(-1)


@HEADS.register("mean_cosine")
class MeanCosine(_MeanToken):
    """The mean-pooling baseline (TSN): cosine between the query's mean token and the class prototype, -1..1."""

    def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
        """Logits (B, Q, way) from mean tokens (B, S, D) and (B, Q, D), labels int64 (B, S); see the class."""
        prototypes = F.normalize(class_means(support[0], labels, way), dim=-1, eps=_EPS)
        return self.logit_scale * F.normalize(query[0], dim=-1, eps=_EPS) @ prototypes.transpose(1, 2)
