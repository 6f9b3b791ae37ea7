"""Episode drawing: exact, uniform, frozen."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewdistill.benchmark.episodes import ClassIndex, draw, frozen, read
from fewdistill.benchmark.runtime.errors import DataError, UserError


def classes_of(sizes: list[int], rng: np.random.Generator) -> list[np.ndarray]:
    return np.split(rng.permutation(sum(sizes)), np.cumsum(sizes)[:-1])


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    sizes=st.lists(st.integers(3, 12), min_size=2, max_size=8),
    way=st.integers(2, 8),
    shot=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_episodes_hold_distinct_videos_of_distinct_classes(sizes: list[int], way: int, shot: int, seed: int) -> None:
    way = min(way, len(sizes))
    rng = np.random.default_rng(seed)
    by_class = classes_of(sizes, rng)
    episodes = draw(ClassIndex.of(by_class), way=way, shot=shot, query=1, episodes=20, rng=rng)
    for e in range(20):
        assert len(set(episodes.classes[e])) == way
        videos = np.concatenate([episodes.support[e], episodes.query[e]], axis=1)
        assert len(set(videos.ravel())) == way * (shot + 1)
        for position, name in enumerate(episodes.classes[e]):
            assert set(videos[position]) <= set(by_class[name])


def test_every_ordered_choice_is_equally_likely() -> None:
    rng = np.random.default_rng(0)
    episodes = draw(ClassIndex.of([np.arange(4), np.arange(4, 8)]), way=2, shot=2, query=1, episodes=24_000, rng=rng)
    first = np.concatenate([episodes.support, episodes.query], axis=2)[episodes.classes == 0]
    codes, counts = np.unique(first @ [100, 10, 1], return_counts=True)
    assert len(codes) == 4 * 3 * 2
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)
    assert abs((episodes.classes[:, 0] == 0).mean() - 0.5) < 0.02


def test_impossible_sizes_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="way = 3 is larger than the split's 2 classes"):
        draw(ClassIndex.of([np.arange(9), np.arange(9)]), way=3, shot=1, query=1, episodes=1, rng=rng)
    with pytest.raises(UserError, match=r"shot \+ query = 6 is larger than class 1, which has 3 videos"):
        draw(ClassIndex.of([np.arange(9), np.arange(3)]), way=2, shot=5, query=1, episodes=1, rng=rng)


def test_frozen_lists_are_read_back_and_damage_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    by_class = ClassIndex.of([np.arange(9), np.arange(9, 20), np.arange(20, 31)])
    size = {"way": 2, "shot": 3, "query": 2, "episodes": 50, "seed": 7}
    first = frozen(tmp_path, "test", by_class, "abcdef0123", **size)
    again = frozen(tmp_path, "test", by_class, "abcdef0123", **size)
    assert first.sha256 == again.sha256
    assert frozen(tmp_path, "test", by_class, "abcdef0123", **(size | {"seed": 8})).sha256 != first.sha256
    path = next(tmp_path.glob("*seed7*.npz"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=path.name):
        read(path)


def test_rows_are_support_then_query_class_by_class() -> None:
    rng = np.random.default_rng(0)
    episodes = draw(ClassIndex.of([np.arange(5), np.arange(5, 10)]), way=2, shot=2, query=1, episodes=1, rng=rng)
    rows = episodes.rows(0)
    assert rows.tolist() == [*episodes.support[0].ravel(), *episodes.query[0].ravel()]


class Counted(np.ndarray):
    """An array that remembers how many elements were read of it."""

    read: list[int]

    def __getitem__(self, at):  # type: ignore[no-untyped-def]
        found = np.asarray(self)[at]
        self.read.append(np.size(found))
        return found


def test_a_draw_reads_the_videos_it_picks_and_builds_nothing_as_long_as_the_list() -> None:
    videos, classes = 77_500, 126
    index = ClassIndex.of(np.array_split(np.arange(videos), classes))
    rows = index.rows.view(Counted)
    rows.read = []
    counted = ClassIndex(rows, index.starts, index.sizes)
    size = {"way": 5, "shot": 5, "query": 4, "episodes": 1}
    first = draw(index, **size, rng=np.random.default_rng(0))  # what is imported and cached once is not the draw's
    tracemalloc.start()
    again = draw(counted, **size, rng=np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert again.sha256 == first.sha256
    assert sum(rows.read) == 5 * (5 + 4)
    assert peak < videos, "a byte a video would be a scan"
