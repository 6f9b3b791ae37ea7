"""Joint graphs: edges between joints, and the normalised adjacency arrays that graph convolutions start from."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from fewdistill.students import StudentError


@dataclass(frozen=True)
class JointGraph:
    """joints: how many. edges: pairs of joints from 0, in any direction. centre: the joint all others lead to.

    Raises StudentError for an edge out of range or from a joint to itself, and for a joint that no edges lead to.
    """

    joints: int
    edges: tuple[tuple[int, int], ...]
    centre: int

    def __post_init__(self) -> None:
        named = [self.centre, *(joint for edge in self.edges for joint in edge)]
        if outside := sorted(joint for joint in named if not 0 <= joint < self.joints):
            raise StudentError(f"joint graph: joint {outside[0]} is not one of the {self.joints} joints")
        if loops := [a for a, b in self.edges if a == b]:
            raise StudentError(f"joint graph: an edge leads from joint {loops[0]} to itself")
        if -1 in self.hops:
            raise StudentError(f"joint graph: no edges lead from joint {self.hops.index(-1)} to joint {self.centre}")

    @cached_property
    def hops(self) -> tuple[int, ...]:
        """Number of edges from each joint to the centre; -1 where there is no way."""
        hops = [-1] * self.joints
        hops[self.centre] = 0
        queue = [self.centre]
        for here in queue:  # grows while it is walked
            for there in (b if a == here else a for a, b in self.edges if here in (a, b)):
                if hops[there] < 0:
                    hops[there] = hops[here] + 1
                    queue.append(there)
        return tuple(hops)

    def directed(self) -> Tensor:
        """float32 (3, V, V): identity, edges towards the centre, edges away from it (CTR-GCN's "spatial" graph).

        Each column of the last two sums to 1, or to 0 where no edge begins. An edge between joints equally far from
        the centre leads from its first to its second joint.
        """
        inward = self._zeros()
        for a, b in self.edges:
            child, parent = (a, b) if self.hops[a] >= self.hops[b] else (b, a)
            inward[parent, child] = 1
        return torch.stack([torch.eye(self.joints), _per_column(inward).float(), _per_column(inward.T).float()])

    def partitioned(self) -> Tensor:
        """float32 (3, V, V): ST-GCN's "spatial" partition, [v, w] being what joint w takes from joint v.

        The joint itself, then its neighbours, columns summing to 1 over all three: those no nearer to the centre than
        the joint, those nearer. As released, distances of more than one edge all count the same, so that only
        joints up to two edges from the centre have a nearer neighbour.
        """
        adjacency = self._zeros() + torch.eye(self.joints, dtype=torch.float64)
        for a, b in self.edges:
            adjacency[a, b] = adjacency[b, a] = 1
        hops = torch.tensor(self.hops).clamp(max=2)
        nearer = hops[:, None] < hops[None]
        itself = torch.eye(self.joints, dtype=torch.bool)
        normal = _per_column(adjacency)
        return torch.stack([normal * itself, normal * ~(itself | nearer), normal * nearer]).float()

    def _zeros(self) -> Tensor:
        return torch.zeros(self.joints, self.joints, dtype=torch.float64)


def _per_column(array: Tensor) -> Tensor:
    """Each column divided by its sum; empty columns stay 0."""
    total = array.sum(0)
    return array / torch.where(total > 0, total, 1)
