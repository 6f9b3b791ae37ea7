"""Entries: rows go in by shard and come out by id, in any order."""

import pickle
import tempfile

import numpy as np
import pytest
from cache_rows import KEY, bytes_of, fill, filled, rows_of, videos
from hypothesis import given, settings
from hypothesis import strategies as st

from fewdistill.feature_cache import CacheError, Key, Shard, Store

DTYPES = ["bool", "uint8", "int16", "int64", "float16", "float32", "float64"]


@settings(derandomize=True, deadline=None, max_examples=50)
@given(data=st.data())
def test_round_trip(data):
    ids = data.draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12, unique=True))
    shape = tuple(data.draw(st.lists(st.integers(1, 4), max_size=3)))
    dtype = data.draw(st.sampled_from(DTYPES))
    first = data.draw(st.integers(0, len(ids)))
    asked = data.draw(st.lists(st.sampled_from(ids), max_size=20))
    with tempfile.TemporaryDirectory() as root:
        entry = Store(root).entry(KEY, row_shape=shape, dtype=dtype, rows_per_shard=data.draw(st.integers(1, 5)))
        fill(entry, ids[:first])
        assert entry.missing(ids + ids) == sorted(ids[first:])
        fill(entry, ids)
        assert entry.ids() == sorted(ids) and entry.plan(ids) == [] and entry.verify() == []
        for reader in (entry, Store(root).open(KEY)):
            rows = reader.gather(asked)
            assert rows.dtype == dtype and rows.shape == (len(asked), *shape)
            assert rows.tobytes() == (rows_of(asked, shape, dtype).tobytes())


def test_shard_files_are_plain_npy_numbered_by_sorted_id(tmp_path):
    entry = filled(tmp_path, count=10, rows_per_shard=4)
    ids = sorted(videos(10))
    for number, chunk in enumerate((ids[:4], ids[4:8], ids[8:])):
        np.testing.assert_array_equal(np.load(entry.folder / f"{number:05d}.npy"), rows_of(chunk))


def test_whatever_is_done_already_the_rest_keeps_its_numbers(tmp_path):
    ids, rng = videos(40), np.random.default_rng(0)
    entry = Store(tmp_path).entry(KEY, row_shape=(3, 5), dtype="float32", rows_per_shard=4)
    plan = entry.plan(ids)
    assert [shard.index for shard in plan] == list(range(10))
    for done, place in enumerate(rng.permutation(10), start=1):
        entry.write(plan[place], rows_of(plan[place].ids))
        left = {shard.index: shard.ids for shard in entry.plan(reversed(ids))}
        assert len(left) == 10 - done
        assert all(plan[index].ids == chunk for index, chunk in left.items())


def test_ids_added_later_go_to_new_shards(tmp_path):
    entry = filled(tmp_path, count=10, rows_per_shard=4)
    before = bytes_of(entry.folder)
    more = [f"another/{index}" for index in range(5)]
    assert [shard.index for shard in entry.plan(videos(10) + more)] == [3, 4]
    fill(entry, more)
    after = bytes_of(entry.folder)
    assert {name: after[name] for name in before} == before and len(after) == len(before) + 4
    np.testing.assert_array_equal(entry.gather(more + videos(10)), rows_of(more + videos(10)))


def test_two_requests_that_took_the_same_number_both_stand(tmp_path):
    store = Store(tmp_path)
    train, test = videos(8)[:5], videos(8)[3:]
    entries = [store.entry(KEY, row_shape=(3, 5), dtype="float32", rows_per_shard=3) for _ in range(2)]
    plans = [entries[0].plan(train), entries[1].plan(test)]
    for turn in range(2):
        for entry, plan in zip(entries, plans, strict=True):
            entry.write(plan[turn], rows_of(plan[turn].ids))
    reader = store.open(KEY)
    assert reader.ids() == sorted(videos(8)) and reader.verify() == []
    np.testing.assert_array_equal(reader.gather(videos(8)), rows_of(videos(8)))


def test_of_an_id_in_two_shards_the_lower_number_counts(tmp_path):
    store = Store(tmp_path)
    entry = store.entry(KEY, row_shape=(), dtype="int64")
    for number, ids in ((1, ("b", "c")), (0, ("a", "b"))):
        entry.write(Shard(number, ids), np.full(2, number))
        entry.ids()
    for reader in (entry, store.open(KEY)):
        assert reader.gather(["c", "b", "a"]).tolist() == [1, 0, 0]


def test_a_shard_written_twice_stays_as_first_written(tmp_path):
    entry = filled(tmp_path, count=4, rows_per_shard=4)
    shard = Shard(0, tuple(sorted(videos(4))))
    before = bytes_of(entry.folder)
    entry.write(shard, rows_of(shard.ids) + 1)
    assert bytes_of(entry.folder) == before


def test_a_row_is_seen_by_readers_that_were_open_before(tmp_path):
    writer = filled(tmp_path, count=4)
    reader = Store(tmp_path).open(KEY)
    reader.gather(videos(4))
    fill(writer, ["new/video"])
    np.testing.assert_array_equal(reader.gather(["new/video"]), rows_of(["new/video"]))


def test_gathered_rows_are_the_callers_own(tmp_path):
    entry = filled(tmp_path, count=4)
    entry.gather(videos(4))[:] = -1
    np.testing.assert_array_equal(entry.gather(videos(4)), rows_of(videos(4)))


def test_a_pickled_entry_carries_no_rows(tmp_path):
    entry = Store(tmp_path).entry(KEY, row_shape=(64, 64), dtype="float32")
    fill(entry, videos(10))
    entry.gather(videos(10))
    packed = pickle.dumps(entry)
    assert len(packed) < 1000
    np.testing.assert_array_equal(pickle.loads(packed).gather(videos(10)[:3]), rows_of(videos(10)[:3], (64, 64)))


def test_an_unknown_id_is_named(tmp_path):
    entry = filled(tmp_path, count=4)
    with pytest.raises(CacheError, match=r"'who/knows' and 1 more of the 3 asked for; run the step"):
        entry.gather([videos(4)[0], "who/knows", "what/then"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.zeros((2, 3, 4), "float32"), r"float32 \(2, 3, 5\), got float32 \(2, 3, 4\)"),
        (np.zeros((1, 3, 5), "float32"), r"got float32 \(1, 3, 5\)"),
        (np.zeros((2, 3, 5), "float64"), "got float64"),
        (np.zeros((2, 3, 5), ">f4"), "got >f4"),
        ([[0.0]], "got list"),
    ],
)
def test_rows_of_another_form_are_refused(tmp_path, rows, said):
    entry = Store(tmp_path).entry(KEY, row_shape=(3, 5), dtype="float32")
    with pytest.raises(CacheError, match=said):
        entry.write(Shard(0, ("a/x", "a/y")), rows)
    assert bytes_of(entry.folder).keys() == {"entry.json"}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_nan_names_its_video_and_writes_nothing(tmp_path, value):
    entry = Store(tmp_path).entry(KEY, row_shape=(3, 5), dtype="float32")
    rows = np.zeros((4, 3, 5), "float32")
    rows[2, 1, 4] = value
    with pytest.raises(CacheError, match="'a/2'"):
        entry.write(Shard(0, tuple(f"a/{index}" for index in range(4))), rows)
    assert bytes_of(entry.folder).keys() == {"entry.json"}


@pytest.mark.parametrize("ids", ["a/x", ["a/x", ""], ["a/x", 3]])
def test_ids_are_a_list_of_non_empty_strings(tmp_path, ids):
    entry = filled(tmp_path, count=4)
    for ask in (entry.plan, entry.missing, entry.gather):
        with pytest.raises(CacheError, match="id"):
            ask(ids)


def test_a_shard_names_no_video_twice():
    with pytest.raises(CacheError, match="'a/y' twice"):
        Shard(0, ("a/x", "a/y", "a/y"))


def test_store_opens_only_what_is_there_and_of_the_same_form(tmp_path):
    store = Store(tmp_path / "cache")
    assert store.entries() == [] and store.collect() == []
    with pytest.raises(CacheError, match=r'"frames":8'):
        store.open(KEY)
    entry = store.entry(KEY, row_shape=(3, 5), dtype=np.float32)
    assert store.entry(KEY, row_shape=[3, 5], dtype="float32", rows_per_shard=9).rows_per_shard == 256
    for shape, dtype in (((3, 6), "float32"), ((3, 5), "float16"), ((15,), "float32")):
        with pytest.raises(CacheError, match=rf"{entry.folder} holds rows float32 \(3, 5\)"):
            store.entry(KEY, row_shape=shape, dtype=dtype)
    for shape, dtype in (((0, 5), "float32"), ((2.5,), "float32"), ((3,), "object"), ((3,), "complex64"), ((3,), "no")):
        with pytest.raises(CacheError):
            store.entry(Key("other", {}), row_shape=shape, dtype=dtype)
    assert [found.key for found in store.entries()] == [KEY]


def test_remove(tmp_path):
    store = Store(tmp_path)
    kept, gone = filled(tmp_path), filled(tmp_path, key=Key("tokens", {"encoder": "resnet50"}))
    assert gone.size_bytes() > 10 * 3 * 5 * 4
    store.remove(gone.key.digest)
    assert [entry.key for entry in store.entries()] == [kept.key] and not gone.folder.exists()
    for digest in (gone.key.digest, "..", "", str(tmp_path)):
        with pytest.raises(CacheError, match="cache ls"):
            store.remove(digest)
