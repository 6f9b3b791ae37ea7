"""Multi-level logit distillation (Jin et al., CVPR 2023), on the logits of an episode."""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import MinLen
from torch import Tensor

from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import LogitDistiller, Temperature, Terms
from fewdistill.students.distill.measures import softened_kl


@DISTILLERS.register("multi_level")
@dataclass(frozen=True, kw_only=True)
class MultiLevel(LogitDistiller):
    """Predictions aligned query by query, between queries and between classes, averaged over temperatures.

    instance: T^2 KL. batch: ||P P^T - P' P'^T||^2 / Q. class: ||P^T P - P'^T P'||^2 / way. P: softened probabilities
    (Q, way). The paper sums over the temperatures; here their mean is taken, so that the weight does not depend on
    their number.
    """

    temperatures: Annotated[tuple[Temperature, ...], MinLen(1)] = (2.0, 3.0, 4.0, 5.0, 6.0)

    def levels(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Terms:
        """ "instance", "batch" and "class"."""
        queries, way = student.shape
        instance, batch, classes = [], [], []
        for t in self.temperatures:
            ours, theirs = F.softmax(student / t, 1), F.softmax(teacher / t, 1)
            instance.append(softened_kl(student, teacher, t))
            batch.append((ours @ ours.T - theirs @ theirs.T).square().sum() / queries)
            classes.append((ours.T @ ours - theirs.T @ theirs).square().sum() / way)
        means = (torch.stack(level).mean() for level in (instance, batch, classes))
        return {name: (1.0, mean) for name, mean in zip(("instance", "batch", "class"), means, strict=True)}
