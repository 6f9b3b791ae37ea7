"""Joint graphs and networks that several tests use; edges as they are published, from 1, the child first."""

from collections.abc import Sequence

import torch
from torch.optim.swa_utils import update_bn

from fewdistill.students.skeletons import Builder, JointGraph, SkeletonNetwork


def _published(joints: int, edges: str, centre: int) -> JointGraph:
    pairs = [tuple(int(joint) - 1 for joint in edge.split("-")) for edge in edges.split()]
    return JointGraph(joints, tuple((child, parent) for child, parent in pairs), centre - 1)


NTU = _published(
    25,
    "1-2 2-21 3-21 4-3 5-21 6-5 7-6 8-7 9-21 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 19-18 20-19 "
    "22-23 23-8 24-25 25-12",
    21,
)
UCLA = _published(
    20, "1-2 2-3 4-3 5-3 6-5 7-6 8-7 9-3 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 19-18 20-19", 3
)


def joint_graph(parents: Sequence[int]) -> JointGraph:
    """A tree given by each joint's parent; the one joint with parent -1 is the centre."""
    edges = tuple((joint, parent) for joint, parent in enumerate(parents) if parent != -1)
    return JointGraph(len(parents), edges, list(parents).index(-1))


def as_trained(build: Builder, graph: JointGraph, classes: int, **sizes: int) -> SkeletonNetwork:
    """A network in eval mode as if trained: every weight that begins at 0 or 1e-6 has a size, statistics fit noise."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(graph, classes, **sizes)
        for key, value in network.named_parameters():
            if key.endswith("strength"):
                value.data.fill_(0.5)
            elif key.endswith("norm.weight"):
                value.data.uniform_(0.5, 1.5)
            elif value.ndim < 3 and key.endswith("bias"):
                value.data.uniform_(-0.2, 0.2)
        noise = torch.randn(8, network.channels, 16, graph.joints, network.bodies)
        update_bn([noise], network)
    return network.eval()
