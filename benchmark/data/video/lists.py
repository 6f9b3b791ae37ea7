"""Videos by split and class, as split lists give them."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.video.splits import SPLITS
from fewdistill.benchmark.runtime.errors import DataError

Ints = NDArray[np.int64]


class VideoLists:
    """Video ids, "class/video", of the splits train, val and test, in list order."""

    def __init__(self, lists: Mapping[str, Sequence[str]], where: str) -> None:
        """where: names the lists in errors."""
        self.splits: dict[str, tuple[str, ...]] = {split: tuple(lists[split]) for split in SPLITS}
        self._split_of = {video: split for split in SPLITS for video in self.splits[split]}
        self._where = where

    def videos(self, split: str) -> tuple[str, ...]:
        """Video ids of "train", "val" or "test" in list order; DataError for another name."""
        if split not in self.splits:
            raise DataError(f"unknown split {split!r}: the splits are {', '.join(SPLITS)}")
        return self.splits[split]

    def classes(self, split: str) -> tuple[str, ...]:
        """Class names of a split, sorted; a class's place here is its label."""
        return tuple(self.by_class(split))

    def by_class(self, split: str) -> dict[str, Ints]:
        """For each class, sorted by name: the places (int64, ascending) of its videos in `videos(split)`."""
        self.videos(split)
        return self._by_class[split]

    def label(self, video_id: str) -> int:
        """Place of the video's class in `classes` of its own split; DataError for a video not listed."""
        return self._labels[self.split_of(video_id)][video_id.split("/")[0]]

    def labels(self, split: str) -> Ints:
        """Labels of all videos of a split, int64, in the order of `videos(split)`."""
        return np.array([self.label(video) for video in self.videos(split)], np.int64)

    def split_of(self, video_id: str) -> str:
        """The split that lists the video; DataError when none does."""
        try:
            return self._split_of[video_id]
        except KeyError:
            raise DataError(f"{video_id!r} is in no {self._where}") from None

    @cached_property
    def _by_class(self) -> dict[str, dict[str, Ints]]:
        table: dict[str, dict[str, Ints]] = {}
        for split in SPLITS:
            places: dict[str, list[int]] = {}
            for place, video in enumerate(self.splits[split]):
                places.setdefault(video.split("/")[0], []).append(place)
            table[split] = {name: np.array(places[name], np.int64) for name in sorted(places)}
        return table

    @cached_property
    def _labels(self) -> dict[str, dict[str, int]]:
        return {split: {name: label for label, name in enumerate(self.classes(split))} for split in SPLITS}
