"""Networks on joint coordinates, one a file: joints (N, C, T, V, M) -> tokens (N, T', D) or class logits.

A topology is numbers (``JointGraph``): any number of joints, any edges between them.
"""

from typing import Protocol

from fewdistill.students.registry import Registry, import_all
from fewdistill.students.skeletons.base import SkeletonNetwork
from fewdistill.students.skeletons.graph import JointGraph


class Builder(Protocol):
    """Builds a network for one topology, drawing its weights from torch's generator.

    bodies: M, the people a clip has room for. channels: numbers a joint has.
    """

    def __call__(self, graph: JointGraph, classes: int, *, bodies: int = 2, channels: int = 3) -> SkeletonNetwork: ...


SKELETONS: Registry[Builder] = Registry("skeleton student")

import_all(__name__, list(__path__))
