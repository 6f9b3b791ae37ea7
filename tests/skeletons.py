"""Joint graphs that several tests use; edges as they are published, from 1, the child first."""

from students.skeletons import JointGraph


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
