"""Feature trees in the published layout."""

import os

import numpy as np
import pytest
from cache_rows import fill, filled, rows_of, videos

from fewdistill.feature_cache import CacheError, Key, Store, export_tree


def test_every_row_is_exported(tmp_path):
    entry = filled(tmp_path / "cache", count=10)
    folder, seen = tmp_path / "feature" / "resnet18", []
    assert export_tree(entry, folder, tick=lambda done, total: seen.append((done, total))) == 10
    assert seen[-1] == (10, 10)
    for video in videos(10):
        row = np.load(folder / video / "feature.npy")
        assert row.dtype == np.float32
        np.testing.assert_array_equal(row, rows_of([video])[0])


def test_export_goes_on_where_it_stopped_and_overwrites_nothing(tmp_path):
    entry = filled(tmp_path / "cache", count=10)
    assert export_tree(entry, tmp_path / "tree", videos(10)[:4]) == 4
    leftover = tmp_path / "tree" / ".tmp-00000000-1-00000000-feature.npy"
    leftover.write_bytes(b"")
    os.utime(leftover, (0, 0))
    assert export_tree(entry, tmp_path / "tree") == 6
    assert export_tree(entry, tmp_path / "tree") == 0
    assert not leftover.exists()
    path = tmp_path / "tree" / videos(10)[0] / "feature.npy"
    np.save(path, np.zeros((3, 5), np.float32))
    with pytest.raises(CacheError, match=f"{path} holds something else"):
        export_tree(entry, tmp_path / "tree")


@pytest.mark.parametrize("video", ["novideo", "a/../../b", "../b", "a//b", "/etc/b", "a/."])
def test_no_id_leads_out_of_the_tree(tmp_path, video):
    entry = filled(tmp_path / "cache", count=4)
    fill(entry, [video])
    with pytest.raises(CacheError, match="class/video"):
        export_tree(entry, tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_export_needs_float32_frames_and_every_row(tmp_path):
    store = Store(tmp_path / "cache")
    for shape, dtype in (((3, 5), "float64"), ((15,), "float32")):
        entry = store.entry(Key("tokens", {"dtype": dtype}), row_shape=shape, dtype=dtype)
        with pytest.raises(CacheError, match=r"float32 \(T, D\) only"):
            export_tree(entry, tmp_path / "tree")
    with pytest.raises(CacheError, match="no row for 'a/b'"):
        export_tree(filled(tmp_path / "cache"), tmp_path / "tree", [videos(10)[0], "a/b"])
    assert not (tmp_path / "tree").exists()
