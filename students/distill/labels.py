"""No distillation: cross entropy on the episode's labels."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fewdistill.students.distill import DISTILLERS
from fewdistill.students.distill.base import Labelled, Terms
from fewdistill.students.output import EpisodeOutput


@DISTILLERS.register("none")
@dataclass(frozen=True, kw_only=True)
class LabelsOnly(Labelled):
    """Cross entropy alone: the baseline that every gain is measured against."""

    reads: ClassVar[frozenset[str]] = frozenset()

    def terms(self, student: EpisodeOutput, teacher: EpisodeOutput, labels: Tensor) -> Terms:
        """None."""
        return {}
