"""The four usual inputs of skeleton networks: joints, bones, the motion of either (Shi et al., CVPR 2019, TIP 2020)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.students.registry import nearest


def joint(clips: Tensor, parents: Sequence[int]) -> Tensor:
    """The joints as they are."""
    return clips


def bone(clips: Tensor, parents: Sequence[int]) -> Tensor:
    """Each joint minus its parent; zero at the root, whose parent is itself."""
    return clips - clips.index_select(3, torch.as_tensor(parents, device=clips.device))


def joint_motion(clips: Tensor, parents: Sequence[int]) -> Tensor:
    """The next frame minus this one; zero in the last frame."""
    return pad(clips.diff(dim=2), (0, 0, 0, 0, 0, 1))


def bone_motion(clips: Tensor, parents: Sequence[int]) -> Tensor:
    """`joint_motion` of `bone`."""
    return joint_motion(bone(clips, parents), parents)


STREAMS: dict[str, Callable[[Tensor, Sequence[int]], Tensor]] = {
    "joint": joint,
    "bone": bone,
    "joint_motion": joint_motion,
    "bone_motion": bone_motion,
}


def stream(clips: Tensor, name: str, parents: Sequence[int]) -> Tensor:
    """``clips``, float (N, C, T, V, M), as the stream of that name, same shape; DataError for an unknown name.

    ``parents`` is the topology's parent of each joint (`Skeleton.parents`), the root's own number at the root.
    """
    if name not in STREAMS:
        raise DataError(f"unknown stream {name!r}: {nearest(name, STREAMS)}")
    return STREAMS[name](clips, parents)
