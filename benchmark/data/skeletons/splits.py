"""Training and test clips by subject, camera, setup or published part."""

import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.skeletons.layout import ClipEntry
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.students.registry import nearest

FILE = Path(__file__).with_name("splits.toml")
FIELDS = ("subject", "view", "setup", "part")
Places = NDArray[np.int64]


def split_names(layout: str) -> tuple[str, ...]:
    """The published splits of a layout, as in `splits.toml`; none for a data set of one's own."""
    return tuple(_table().get(layout, {}))


def published_split(entries: Sequence[ClipEntry], layout: str, name: str) -> tuple[Places, Places]:
    """(train, test) of a published split, as `split_by`; DataError for a name that is not of this layout."""
    if name not in split_names(layout):
        raise DataError(f"unknown split {name!r} of {layout}: {nearest(name, split_names(layout))}")
    rule = _table()[layout][name]
    return split_by(entries, rule["field"], rule["train"], rule["test"], classes=rule.get("classes"))


def split_by(
    entries: Sequence[ClipEntry],
    field: str,
    train: Collection[int | str],
    test: Collection[int | str],
    *,
    classes: int | None = None,
) -> tuple[Places, Places]:
    """(train, test): places int64, ascending, of the clips whose ``field`` is one of the given values.

    ``field`` is subject, view, setup or part. Clips of other values, and of classes from ``classes`` on, are in
    neither. Raises DataError for another field, a value on both sides, and a side without a clip.
    """
    if field not in FIELDS:
        raise DataError(f"cannot split by {field!r}: {nearest(field, FIELDS)}")
    both = sorted(set(train) & set(test), key=str)
    if both:
        raise DataError(f"{field} {both[0]} is to train and to test: give it to one of the two")
    sides = []
    for side, values in (("train", set(train)), ("test", set(test))):
        places = [
            place
            for place, entry in enumerate(entries)
            if getattr(entry, field) in values and (classes is None or entry.label < classes)
        ]
        if not places:
            there = sorted({str(getattr(entry, field)) for entry in entries})
            raise DataError(f"no clip to {side}: {field} is one of {', '.join(there[:12])} in this data set")
        sides.append(np.array(places, np.int64))
    return sides[0], sides[1]


def _table() -> dict[str, dict[str, dict]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))
