"""The frozen episodes of a suite, and whether its splits are large enough for them."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fewdistill.benchmark.data.dataset import ClipDataset
from fewdistill.benchmark.episodes import ClassIndex, Episodes, frozen
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.suite.sections import EvaluateConfig


def class_index(data: ClipDataset, split: str) -> ClassIndex:
    """The split's clips by class, to draw episodes from."""
    return ClassIndex.of(list(data.by_class(split).values()))


@dataclass(frozen=True)
class FrozenEpisodes:
    """Episodes drawn once and kept in a folder, the same for every method."""

    data: ClipDataset
    config: EvaluateConfig
    folder: Path

    @cached_property
    def val(self) -> Episodes:
        """The validation episodes that select weights."""
        return self._frozen("val", self.config.way_of("val"), self.config.val_shot, self.config.val_episodes)

    def test(self, shot: int) -> Episodes:
        """The test episodes at a shot. Their sha256 names records; their clips are embedded after selection."""
        if shot not in self._test:
            self._test[shot] = self._frozen("test", self.config.way, shot, self.config.episodes)
        return self._test[shot]

    @cached_property
    def _test(self) -> dict[int, Episodes]:
        return {}

    def _frozen(self, split: str, way: int, shot: int, episodes: int) -> Episodes:
        listed = [self.data.videos(split), self.data.labels(split).tolist()]
        named = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
        return frozen(
            self.folder, split, class_index(self.data, split), named, way=way, shot=shot, query=self.config.query,
            episodes=episodes, seed=self.config.seed,
        )  # fmt: skip

    def check_sizes(self, trained: Iterable[tuple[str, int, int]]) -> None:
        """UserError, before any compute, for a way, shot or query that a split is too small for.

        trained: the suite's section, its way, and its shot + query, of episodes on training classes.
        """
        evaluate = self.config
        wanted = [(f"{where}.way", "train", way, videos) for where, way, videos in trained]
        named = "evaluate.way" if evaluate.val_way is None else "evaluate.val_way"
        wanted += [(named, "val", evaluate.way_of("val"), evaluate.val_shot + evaluate.query)]
        wanted += [("evaluate.way", "test", evaluate.way, shot + evaluate.query) for shot in evaluate.shots]
        for where, split, way, videos in wanted:
            by_class = self.data.by_class(split)
            if way > len(by_class):
                raise UserError(
                    f"{where} = {way} is larger than the {split} split's {len(by_class)} classes: choose a smaller way"
                )
            name, rows = min(by_class.items(), key=lambda item: len(item[1]))
            if videos > len(rows):
                raise UserError(
                    f"shot + query = {videos}, but class {name!r} of the {split} split has {len(rows)} videos"
                )
