"""A difference over other test classes: with the videos where records name them, and without."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewdistill.results import ResultError
from fewdistill.results.comparison.other_classes import over_classes
from fewdistill.results.records.result import Result
from fewdistill.results.records.store import RecordStore
from tests.results import made


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Result], list[Result]]:
    """Two settings of two seeds on the same episodes."""
    store = RecordStore(tmp_path_factory.mktemp("records"))
    for seed in (0, 1):
        store.write(*made.finished(made.student("resnet18", "none", 5, seed), 0.5))
        store.write(*made.finished(made.student("resnet18", "d2m", 5, seed), 0.6))
    results = store.scan()[0]
    ours = [r for r in results if r.record.cell.distillation == "d2m"]
    theirs = [r for r in results if r.record.cell.distillation == "none"]
    return sorted(ours, key=_seed), sorted(theirs, key=_seed)


def _seed(result: Result) -> int:
    return result.record.cell.seed


def _old(side: list[Result]) -> list[Result]:
    return [replace(result, query=None) for result in side]


@pytest.mark.parametrize("named", [True, False])
def test_it_turns_with_the_sides_and_is_nothing_for_the_same(
    sides: tuple[list[Result], list[Result]], named: bool
) -> None:
    a, b = sides if named else (_old(sides[0]), _old(sides[1]))
    found, turned, same = over_classes(a, b), over_classes(b, a), over_classes(a, a)
    assert found and turned and same
    assert found.videos is named
    mean = np.mean([r.correct.mean() for r in a]) - np.mean([r.correct.mean() for r in b])
    assert found.interval.mean == pytest.approx(mean)
    assert found.interval.low < found.interval.mean < found.interval.high
    assert (turned.interval.low, turned.interval.high) == pytest.approx((-found.interval.high, -found.interval.low))
    assert (same.interval.low, same.interval.high) == (0, 0)


def test_other_classes_leave_more_open_than_other_episodes(
    sides: tuple[list[Result], list[Result]], tmp_path: Path
) -> None:
    a, b = sides
    per_episode = np.mean([r.correct.mean(1) for r in a], axis=0) - np.mean([r.correct.mean(1) for r in b], axis=0)
    over_episodes = 1.96 * per_episode.std() / len(per_episode) ** 0.5
    found = over_classes(a, b)
    assert found and found.interval.half_width > over_episodes


def test_one_class_says_nothing_and_an_unfinished_record_is_refused(sides: tuple[list[Result], list[Result]]) -> None:
    one = [replace(result, query_class=np.zeros_like(result.query_class)) for result in sides[0]]
    assert over_classes(one, one) is None
    assert over_classes([replace(sides[0][0], query_class=None)], [sides[1][0]]) is None
    failed = made.unfinished(made.student(), "failed", "loss is nan at step 40")
    with pytest.raises(ResultError, match="finished"):
        over_classes([replace(sides[0][0], record=failed, query_class=None)], [sides[1][0]])
