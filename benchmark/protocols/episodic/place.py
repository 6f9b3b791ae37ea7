"""A place whose data are videos of classes, divided into splits: its frozen episodes, and what is cached per video."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.episodes import ClassIndex, Episodes, frozen
from fewdistill.benchmark.graph.place import Place, Settings
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.suite.sections import EvaluateConfig
from fewdistill.feature_cache import Entry, Store

SPLITS = ("train", "val", "test")


class EpisodicSettings(Settings, Protocol):
    """What a suite of episodes says, whatever its videos are."""

    @property
    def evaluate(self) -> EvaluateConfig: ...


class EpisodicPlace(Place):
    """A place with videos to draw episodes from. Its kinds say which there are; ``store`` holds what is cached."""

    suite: EpisodicSettings
    store: Store

    @abstractmethod
    def videos(self, split: str) -> tuple[str, ...]:
        """The split's video ids; rows of episodes point into this list."""

    @abstractmethod
    def by_class(self, split: str) -> Mapping[str, NDArray[np.int64]]:
        """For each class of the split its rows in ``videos(split)``, ascending; a class's place here is its label."""

    def classes(self, split: str) -> tuple[str, ...]:
        """Class names of a split."""
        return tuple(self.by_class(split))

    @cached_property
    def all_videos(self) -> tuple[str, ...]:
        """The videos of all splits, sorted."""
        return tuple(sorted(video for split in SPLITS for video in self.videos(split)))

    def class_index(self, split: str) -> ClassIndex:
        """The split's videos by class, to draw episodes from."""
        return ClassIndex.of(list(self.by_class(split).values()))

    def fill_turn(self, entry: Entry, what: str) -> AbstractContextManager[bool]:
        """The turn to fill a cache entry with the rows of all videos, see ``turn``."""
        return self.turn(entry.folder, what, lambda: bool(entry.missing(self.all_videos)))

    def val_episodes(self) -> Episodes:
        """The frozen validation episodes that select."""
        config = self.suite.evaluate
        return self._frozen("val", config.way_of("val"), config.val_shot, config.val_episodes)

    def test_episodes(self, shot: int) -> Episodes:
        """The frozen test episodes at a shot. Their rows name records; their videos are embedded after selection."""
        config = self.suite.evaluate
        return self._frozen("test", config.way, shot, config.episodes)

    def _frozen(self, split: str, way: int, shot: int, episodes: int) -> Episodes:
        config = self.suite.evaluate
        names = hashlib.sha256(json.dumps(self.videos(split)).encode()).hexdigest()
        return frozen(
            self.runs / "episodes",
            split,
            self.class_index(split),
            names,
            way=way,
            shot=shot,
            query=config.query,
            episodes=episodes,
            seed=config.seed,
        )

    def check_sizes(self, trained: Iterable[tuple[str, int, int]]) -> None:
        """UserError, before any compute, for a way, shot or query that a split is too small for.

        trained: where the suite says so, way, and shot + query of the episodes on training classes.
        """
        evaluate = self.suite.evaluate
        wanted = [(f"{where}.way", "train", way, videos) for where, way, videos in trained]
        named = "evaluate.way" if evaluate.val_way is None else "evaluate.val_way"
        wanted += [(named, "val", evaluate.way_of("val"), evaluate.val_shot + evaluate.query)]
        wanted += [("evaluate.way", "test", evaluate.way, shot + evaluate.query) for shot in evaluate.shots]
        for where, split, way, videos in wanted:
            by_class = self.by_class(split)
            if way > len(by_class):
                raise UserError(
                    f"{where} = {way} is larger than the {split} split's {len(by_class)} classes: choose a smaller way"
                )
            name, rows = min(by_class.items(), key=lambda item: len(item[1]))
            if videos > len(rows):
                raise UserError(
                    f"shot + query = {videos}, but class {name!r} of the {split} split has {len(rows)} videos"
                )
