"""Drafts: rows in any order, then a shard like any other; nothing that could be taken for one before."""

import os
import pickle

import numpy as np
import pytest
from cache_rows import KEY, bytes_of, fill, rows_of, start, videos

from fewdistill.feature_cache import CacheError, ShardWriter, Store


def entry(root):
    return Store(root).entry(KEY, row_shape=(3, 5), dtype="float32", rows_per_shard=4)


def begun(of):
    writer = ShardWriter.of(of, of.plan(videos(6))[1])
    writer.begin()
    return writer


def test_rows_in_any_order_make_the_shard_that_one_write_makes(tmp_path):
    whole, drafted = entry(tmp_path / "whole"), entry(tmp_path / "drafted")
    fill(whole, videos(10))
    for shard in drafted.plan(videos(10)):
        writer = ShardWriter.of(drafted, shard)
        writer.begin()
        rows = rows_of(shard.ids, (3, 5))
        for place in reversed(range(len(shard.ids))):
            pickle.loads(pickle.dumps(writer)).put(place, rows[place])
        assert writer.path.exists() and not list(drafted.folder.glob(f"{shard.index:05d}.*"))
        writer.publish()
        assert not writer.path.exists()
    assert bytes_of(drafted.folder) == bytes_of(whole.folder)


def test_rows_of_another_form_and_missing_ones_are_refused(tmp_path):
    writer = begun(entry(tmp_path))
    with pytest.raises(CacheError, match=r"is float32 \(3, 5\), got float64 \(3, 5\)"):
        writer.put(0, np.zeros((3, 5)))
    with pytest.raises(CacheError, match=r"got float32 \(5, 3\)"):
        writer.put(0, np.zeros((5, 3), np.float32))
    writer.put(0, np.zeros((3, 5), np.float32))
    with pytest.raises(CacheError, match="60 of 120 bytes"):
        writer.publish()
    writer.put(1, np.full((3, 5), np.nan, np.float32))
    with pytest.raises(CacheError, match=f"features of {writer.shard.ids[1]!r} hold NaN"):
        writer.publish()
    assert entry(tmp_path).ids() == []


def test_a_draft_that_was_removed_is_not_made_anew(tmp_path):
    writer = begun(entry(tmp_path))
    writer.discard()
    writer.discard()
    for act in (lambda: writer.put(1, np.zeros((3, 5), np.float32)), writer.publish):
        with pytest.raises(CacheError, match=writer.path.name):
            act()
    assert not writer.path.exists()


def test_collect_takes_the_drafts_of_the_dead(tmp_path):
    mine, dead = begun(entry(tmp_path)), start("pass")
    dead.communicate()
    gone = mine.path.with_name(mine.path.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
    gone.touch()
    assert entry(tmp_path).collect() == [gone] and mine.path.exists()
