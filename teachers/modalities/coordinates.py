"""Experts whose clips are coordinates of joints: a skeleton network reads them, not the teacher's image network."""

from dataclasses import dataclass
from math import pi
from typing import Any

from fewdistill.students.skeletons import SKELETONS
from fewdistill.students.skeletons.encoder import JointEncoder
from fewdistill.students.skeletons.graph import JointGraph
from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities.base import Expert
from fewdistill.teachers.modalities.topology import Skeleton


@dataclass(frozen=True)
class CoordinateExpert(Expert):
    """``derive`` gives float32 (frames, V, 3, people); V are the joints of the data set's own skeleton.

    network: the skeleton network that reads the clips (ctr_gcn, dke_gcn, light_dke_gcn, st_gcn), always from random
    weights. people: how many a clip has room for. frames: how many the clip is brought to, whatever the video has; the
    network makes one token of two (light_dke_gcn) or four. rotation: in training a clip is turned by up to so many
    radians about each axis (Chen et al., ICCV 2021: 0.3).
    """

    network: str = "ctr_gcn"
    people: int = 1
    frames: int = 64
    rotation: float = 0.3

    requires = "joints"

    def __post_init__(self) -> None:
        _ = SKELETONS[self.network]
        for name, value in (("people", self.people), ("frames", self.frames)):
            if value < 1:
                raise TeacherError(f"{self.name} {name} {value}: 1 or more are needed")
        if not 0 <= self.rotation <= pi:
            raise TeacherError(f"{self.name} rotation {self.rotation}: radians from 0 to pi are needed")

    def clip_identity(self) -> dict[str, Any]:
        """Without the network and its training: the clips are the same for all."""
        whole = self.identity()
        kept = {name: value for name, value in whole["options"].items() if name not in ("network", "rotation")}
        return {**whole, "options": kept}

    def shape(self, skeleton: Skeleton) -> tuple[int, int, int, int]:
        """Of a clip: (frames, V, 3, people)."""
        return (self.frames, len(skeleton.joints), 3, self.people)

    def encoder(self, skeleton: Skeleton, width: int, branches: tuple[str, ...], *, token_norm: bool) -> JointEncoder:
        """A fresh encoder on the skeleton's graph, weights from torch's generator."""
        graph = JointGraph(len(skeleton.joints), skeleton.edges, skeleton.centre)
        return JointEncoder(
            self.network, graph, width, branches, frames=self.frames, bodies=self.people, token_norm=token_norm
        )
