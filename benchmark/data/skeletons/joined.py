"""Joins two data sets, the second in the joint order of the first, to train on one and test on the other."""

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.skeletons import topology
from fewdistill.benchmark.data.skeletons.layout import LAYOUTS
from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet
from fewdistill.benchmark.runtime.errors import DataError


def joined(first: SkeletonSet, second: SkeletonSet) -> SkeletonSet:
    """The clips of both, the second's after the first's, in the first's joint order; so with the classes.

    Absent bodies of the second are zeros. Raises DataError for other units, joints without a known order, more bodies
    than the first has, and a clip's id that both have.
    """
    units = {data.layout: LAYOUTS[data.layout].unit for data in (first, second)}
    if len(set(units.values()) - {LAYOUTS["npy"].unit}) > 1:  # files of one's own do not tell
        told = ", ".join(f"{layout} in {unit}" for layout, unit in units.items())
        raise DataError(f"coordinates of different units cannot be read by one network: {told}")
    bodies, more = first.frames.shape[3], second.frames.shape[3]
    if more > bodies:
        raise DataError(f"{second.layout} has {more} bodies a clip, networks of {first.layout} have room for {bodies}")
    if both := sorted({entry.id for entry in first.entries} & {entry.id for entry in second.entries}):
        raise DataError(f"clip {both[0]} is in both data sets: what is trained on may not be tested")
    frames = np.pad(second.frames[:, :, joint_order(second, first)], [(0, 0)] * 3 + [(0, bodies - more)])
    return SkeletonSet(
        first.layout,
        first.skeleton,
        first.origin,
        (*first.classes, *second.classes),
        (*first.entries, *(replace(e, label=e.label + len(first.classes)) for e in second.entries)),
        {**first.left_out, **second.left_out},
        np.concatenate([first.frames, frames]),
        np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]]),
        hashlib.sha256(f"{first.content_hash} {second.content_hash}".encode()).hexdigest(),
    )


def joint_order(source: SkeletonSet, target: SkeletonSet) -> NDArray[np.int64]:
    """Joint of ``source`` for each joint of ``target``, int64 (V,): of known topologies `topology.order`, else by name.

    DataError where neither tells.
    """
    names = [LAYOUTS[data.layout].topology for data in (source, target)]
    if set(names) <= set(topology.names()):
        return topology.order(*names)
    there, wanted = source.skeleton.joints, target.skeleton.joints
    if sorted(there) != sorted(wanted):
        lost = sorted(set(wanted) ^ set(there))
        raise DataError(
            f"joints of {source.layout} and {target.layout} differ ({', '.join(lost[:4])}): name them alike"
        )
    return np.array([there.index(joint) for joint in wanted], np.int64)
