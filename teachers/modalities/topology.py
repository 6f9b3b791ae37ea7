"""Skeletons of joint data: names, edges and sides of the joints, and the camera that saw them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fewdistill.teachers import TeacherError

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in pixels: focal lengths fx, fy, principal point cx, cy, picture width and height."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def scaled(self, height: int, width: int) -> "Camera":
        """The same camera with a picture resized to ``height`` x ``width`` pixels (pixel centres at whole numbers)."""
        x, y = width / self.width, height / self.height
        centre = ((self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5)
        return Camera(self.fx * x, self.fy * y, *centre, width, height)

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels (..., 2) as (u, v) of points (..., 3) in metres, x right, y down, z forward; NaN where z <= 0."""
        points = np.asarray(points, np.float64)
        z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
        u = self.fx * points[..., 0] / z + self.cx
        v = self.fy * points[..., 1] / z + self.cy
        return np.stack([u, v], axis=-1)


@dataclass(frozen=True)
class Limb:
    """A chain or bunch of joints on one side: `side` -1 left, 0 trunk, 1 right; `rank` orders a side's limbs.

    ``edges`` are (parent, child, position): position runs from near 0 at the limb's root to 1 at its tip.
    """

    side: int
    rank: float
    edges: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True)
class Skeleton:
    """A joint graph: names, undirected edges, the centre joint, the joints of either side, and the camera if known.

    Raises TeacherError for indices out of range, joints on both sides, and joints the edges do not reach.
    """

    joints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    centre: int
    left: tuple[int, ...]
    right: tuple[int, ...]
    camera: Camera | None = None

    def __post_init__(self) -> None:
        named = {self.centre, *self.left, *self.right, *(joint for edge in self.edges for joint in edge)}
        outside = sorted(joint for joint in named if not 0 <= joint < len(self.joints))
        if outside:
            raise TeacherError(f"skeleton: joint {outside[0]} is not one of the {len(self.joints)} joints")
        both = sorted(set(self.left) & set(self.right))
        if both:
            raise TeacherError(f"skeleton: joint {self.joints[both[0]]!r} is on the left and on the right")
        lost = [self.joints[joint] for joint, hops in enumerate(self.hops) if hops < 0]
        if lost:
            raise TeacherError(f"skeleton: no edges lead from {self.joints[self.centre]!r} to {', '.join(lost)}")

    @cached_property
    def _tree(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(hops from the centre, parent towards it) of each joint by breadth-first search; -1 if unreached."""
        hops, parents = [-1] * len(self.joints), [-1] * len(self.joints)
        hops[self.centre] = 0
        queue = [self.centre]
        for joint in queue:  # grows while it is walked
            for a, b in self.edges:
                for here, there in ((a, b), (b, a)):
                    if here == joint and hops[there] < 0:
                        hops[there], parents[there] = hops[joint] + 1, joint
                        queue.append(there)
        return tuple(hops), tuple(parents)

    @property
    def hops(self) -> tuple[int, ...]:
        """Number of edges from the centre to each joint."""
        return self._tree[0]

    @property
    def parents(self) -> tuple[int, ...]:
        """The neighbour of each joint on its way to the centre; the centre is its own."""
        return tuple(joint if parent < 0 else parent for joint, parent in enumerate(self._tree[1]))

    def needed_camera(self) -> Camera:
        """The camera, for those who project joints; TeacherError when the skeleton comes without one."""
        if self.camera is None:
            raise TeacherError("skeleton: no camera is described, so its joints cannot be projected")
        return self.camera

    @cached_property
    def mirrored(self) -> tuple[int, ...]:
        """The joint that takes each joint's place in a mirror: the n-th of ``left`` and of ``right`` change places.

        TeacherError where the sides do not answer to each other so, in number or in the edges that they hang by.
        """
        order = list(range(len(self.joints)))
        for one, other in zip(self.left, self.right, strict=False):
            order[one], order[other] = other, one
        edges = {frozenset(edge) for edge in self.edges}
        if len(self.left) != len(self.right) or {frozenset(order[joint] for joint in edge) for edge in edges} != edges:
            raise TeacherError(
                "skeleton: left and right joints are no mirror images of each other, so flips make no sense: list them "
                "pair by pair, or set data.flip = false (data.mirror in a suite of skeletons)"
            )
        return tuple(order)

    def side(self, joint: int) -> int:
        """-1 for a joint of the left side, 1 for the right, 0 for the trunk."""
        return (joint in self.right) - (joint in self.left)

    @cached_property
    def limbs(self) -> tuple[Limb, ...]:
        """The edges grouped into limbs: trunk and head, then each side's limbs in the order of their joints.

        A joint's limb is found by walking towards the centre while the side stays the same, so an arm and a leg
        that meet only in the trunk are two limbs.
        """
        roots: dict[int, int] = {}
        for joint in range(len(self.joints)):
            root, parent = joint, self._tree[1][joint]
            while parent >= 0 and self.side(parent) == self.side(joint):
                root, parent = parent, self._tree[1][parent]
            roots[joint] = root if self.side(joint) else self.centre
        bunches: dict[int, list[tuple[int, int]]] = {}
        for a, b in self.edges:
            parent, child = (a, b) if self.hops[a] <= self.hops[b] else (b, a)
            bunches.setdefault(roots[child], []).append((parent, child))
        limbs = []
        for side in (0, -1, 1):
            of_side = sorted(root for root in bunches if self.side(root) == side)
            for order, root in enumerate(of_side):
                start = self._tree[0][root] - (1 if side else 0)
                length = max(max(self.hops[child] for _, child in bunches[root]) - start, 1)
                edges = tuple((p, c, (self.hops[c] - start) / length) for p, c in bunches[root])
                limbs.append(Limb(side, order / max(len(of_side) - 1, 1), edges))
        return tuple(limbs)


@dataclass(frozen=True)
class PosedClip:
    """The source of joint experts: float32 (T, V, 3, M) in metres, camera coordinates, and their skeleton.

    A joint with z <= 0 was not seen and is not drawn; a person absent from a frame is all zeros. between: the joints
    of all frames from the first to the last of these T, where the file has more of them. Raises TeacherError when an
    array does not fit the skeleton or holds a value that is not finite.
    """

    joints: Float
    skeleton: Skeleton
    between: Float | None = None

    def __post_init__(self) -> None:
        for array in (self.joints,) if self.between is None else (self.joints, self.between):
            shape = array.shape
            if len(shape) != 4 or shape[1] != len(self.skeleton.joints) or shape[2] != 3 or not shape[0] * shape[3]:
                raise TeacherError(f"joints must be (T, {len(self.skeleton.joints)}, 3, M), got {shape}")
            if not np.isfinite(array).all():
                frame, joint = (int(index) for index in np.argwhere(~np.isfinite(array))[0][:2])
                raise TeacherError(f"joint {self.skeleton.joints[joint]!r} of frame {frame} is not a finite number")

    @property
    def every(self) -> Float:
        """The joints of all frames from the first to the last, float32 (T', V, 3, M)."""
        return self.joints if self.between is None else self.between
