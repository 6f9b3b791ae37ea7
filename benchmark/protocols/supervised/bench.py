"""A supervised suite opened: the parts of its split."""

import hashlib
import json
from functools import cached_property
from typing import Any

import numpy as np

from fewdistill.benchmark.data.skeletons.dataset import Places, SkeletonPlace
from fewdistill.benchmark.data.skeletons.sampling import SamplingConfig
from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet
from fewdistill.benchmark.data.skeletons.splits import split_by
from fewdistill.benchmark.protocols.supervised.suite import SkeletonData, SkeletonSuite
from fewdistill.benchmark.runtime.errors import DataError


class Bench(SkeletonPlace):
    """A supervised suite with its clips and its run folder."""

    suite: SkeletonSuite

    def divided(self) -> dict[str, Places]:
        return parts(self.clips, self.suite.data)

    def with_suite(self, suite: SkeletonSuite, variant: str) -> "Bench":
        return Bench(suite, self.clips, self.runs, self.device, variant, self.trackers)

    @property
    def recipe(self) -> SamplingConfig:
        return self.suite.data.recipe

    def identity(self) -> dict[str, Any]:
        """What a trained network saw: contents of the files, the clips of each part that trains, their sampling."""
        ids = {part: [self.clips.entries[place].id for place in self.parts[part]] for part in ("train", "val")}
        digests = {part: hashlib.sha256(json.dumps(names).encode()).hexdigest() for part, names in ids.items()}
        return {"content": self.clips.content_hash, **digests, "sampling": self.sampling_identity}

    @cached_property
    def test_hash(self) -> str:
        """Of the test clips' ids and classes, in order: what pairs records."""
        clips = [(self.clips.entries[place].id, int(self.clips.labels[place])) for place in self.parts["test"]]
        return hashlib.sha256(json.dumps(clips).encode()).hexdigest()


def parts(clips: SkeletonSet, data: SkeletonData) -> dict[str, Places]:
    """Places in the data set that train, validate and test, ascending; no clip is in two of them.

    Subjects that validate leave training altogether, and nothing of the test part validates. Raises DataError.
    """
    if data.split is not None:
        train, test = clips.split(data.split)
    else:
        assert data.split_by is not None
        train, test = split_by(clips.entries, data.split_by.field, data.split_by.train, data.split_by.test)
    subject = np.array([clips.entries[place].subject for place in train], object)
    held = np.isin(subject, data.val_subjects) if data.val_subjects else np.zeros(len(train), bool)
    there = sorted({value for value in subject if value is not None})
    if unknown := sorted(set(data.val_subjects) - set(there)):
        known = f"it has {', '.join(map(str, there))}" if there else "its clips tell no subject; leave it empty"
        raise DataError(f"data.val_subjects: {unknown[0]} is no subject of the training part: {known}")
    if held.all():
        raise DataError("data.val_subjects holds every subject of the training part: leave some to train")
    if lost := sorted(set(clips.labels[test]) - set(clips.labels[train[~held]])):
        raise DataError(f"class {clips.classes[lost[0]]!r} is tested, but no clip of it is left to train")
    return {"train": train[~held], "val": train[held], "test": test}
