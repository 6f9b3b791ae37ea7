"""What training and evaluation ask of a data set, be it of videos or of skeleton clips."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")


class ClipDataset(Protocol):
    """Clips of classes, divided into the splits train, val and test, whose classes may be disjoint."""

    def videos(self, split: str) -> tuple[str, ...]:
        """The split's clip ids; rows of episodes point into this list."""
        ...

    def by_class(self, split: str) -> Mapping[str, NDArray[np.int64]]:
        """For each class of the split its rows in ``videos(split)``, ascending; its position here is its label."""
        ...

    def labels(self, split: str) -> NDArray[np.int64]:
        """The label of each of ``videos(split)``, int64 (V,)."""
        ...


def all_videos(data: ClipDataset) -> tuple[str, ...]:
    """The clip ids of all splits, sorted."""
    return tuple(sorted(video for split in SPLITS for video in data.videos(split)))
