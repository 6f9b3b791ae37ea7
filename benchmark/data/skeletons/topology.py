"""The joint graphs of the known data sets, each a TOML file in `topologies/`, and how one order becomes another."""

import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.video.joints import read_skeleton
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.students.registry import nearest
from fewdistill.teachers.modalities import Skeleton

FOLDER = Path(__file__).with_name("topologies")


def names() -> tuple[str, ...]:
    """The topologies that come with the project."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def topology(name: str) -> Skeleton:
    """The joint graph of that name, without a camera; DataError for an unknown name."""
    if name not in names():
        raise DataError(f"unknown topology {name!r}: {nearest(name, names())}")
    return read_skeleton(FOLDER / f"{name}.toml", camera=False)


def order(source: str, target: str) -> NDArray[np.int64]:
    """Joint of ``source`` for each joint of ``target``, int64 (V of target,): `joints[:, order(...)]` re-orders a clip.

    Read from the `[order]` table of either file, the other way round inverted; DataError when neither knows.
    """
    there = _orders(source).get(target)
    if there is not None:
        return np.array(there, np.int64)
    back = _orders(target).get(source)
    if back is not None:
        return np.argsort(np.array(back, np.int64))
    if source == target:
        return np.arange(len(topology(source).joints))
    raise DataError(f"no joint order from {source} to {target}: add it to the [order] table of {source}.toml")


def _orders(name: str) -> dict[str, list[int]]:
    skeleton = topology(name)
    table = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8")).get("order", {})
    for target, places in table.items():
        if sorted(places) != list(range(len(skeleton.joints))):
            raise DataError(f"{name}.toml: order.{target} must name each of the {len(skeleton.joints)} joints once")
    return dict(table)
