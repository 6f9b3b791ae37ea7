"""Feature trees in the published layout, out of the cache and in again."""

import os

import numpy as np
import pytest
from cache_rows import KEY, bytes_of, fill, filled, rows_of, videos

from fewdistill.feature_cache import CacheError, Key, Store, export_tree, import_tree

IMPORTED = Key("imported", {"name": "resnet18"})


def tree(folder, leading=False, count=6):
    for video in videos(count):
        path = folder / video / "feature.npy"
        path.parent.mkdir(parents=True)
        row = rows_of([video])
        np.save(path, row if leading else row[0])
    return folder


def test_export_and_import_again(tmp_path):
    entry = filled(tmp_path / "cache", count=10)
    folder, seen = tmp_path / "feature" / "resnet18", []
    assert export_tree(entry, folder, tick=lambda done, total: seen.append((done, total))) == 10
    assert seen[-1] == (10, 10)
    for video in videos(10):
        row = np.load(folder / video / "feature.npy")
        assert row.dtype == np.float32
        np.testing.assert_array_equal(row, rows_of([video])[0])
    again = import_tree(folder, Store(tmp_path / "cache"), IMPORTED)
    np.testing.assert_array_equal(again.gather(videos(10)), entry.gather(videos(10)))


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
    with pytest.raises(CacheError, match="class/video"):
        import_tree(tmp_path, Store(tmp_path / "cache"), IMPORTED, ids=[video])


def test_export_needs_float32_frames_and_every_row(tmp_path):
    store = Store(tmp_path / "cache")
    for shape, dtype in (((3, 5), "float64"), ((15,), "float32")):
        entry = store.entry(Key("tokens", {"dtype": dtype}), row_shape=shape, dtype=dtype)
        with pytest.raises(CacheError, match=r"float32 \(T, D\) only"):
            export_tree(entry, tmp_path / "tree")
    with pytest.raises(CacheError, match="no row for 'a/b'"):
        export_tree(filled(tmp_path / "cache"), tmp_path / "tree", [videos(10)[0], "a/b"])
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize("leading", [False, True])
def test_both_published_shapes_come_in(tmp_path, leading):
    folder = tree(tmp_path / "tree", leading)
    entry = import_tree(folder, Store(tmp_path / "cache"), IMPORTED, shape=(3, 5))
    assert entry.row_shape == (3, 5)
    np.testing.assert_array_equal(entry.gather(videos(6)), rows_of(videos(6)))


def test_only_the_asked_and_missing_files_are_read(tmp_path):
    folder, store = tree(tmp_path / "tree"), Store(tmp_path / "cache")
    import_tree(folder, store, IMPORTED, ids=videos(6)[:2])
    before = bytes_of(store.open(IMPORTED).folder)
    np.save(folder / videos(6)[1] / "feature.npy", np.full((3, 5), np.nan, np.float32))
    entry = import_tree(folder, store, IMPORTED)
    assert entry.ids() == sorted(videos(6))
    after = bytes_of(entry.folder)
    assert {name: after[name] for name in before} == before


def spoil_archive(path):
    with path.open("wb") as file:
        np.savez(file, np.zeros(1))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: np.save(path, np.zeros((3, 6), np.float32)), r"shape \(3, 6\)"),
        (lambda path: np.save(path, np.zeros((2, 3, 5), np.float32)), r"shape \(2, 3, 5\)"),
        (lambda path: np.save(path, np.zeros(15, np.float32)), r"shape \(15,\)"),
        (lambda path: np.save(path, np.zeros((3, 5))), "float64"),
        (lambda path: np.save(path, np.full((3, 5), np.nan, np.float32)), "NaN"),
        (lambda path: np.save(path, np.array([{}], object), allow_pickle=True), "no readable npy"),
        (lambda path: os.truncate(path, path.stat().st_size - 4), "no readable npy"),
        (lambda path: os.truncate(path, 0), "no readable npy"),
        (spoil_archive, "npz archive"),
        (os.unlink, "missing"),
    ],
)
def test_a_bad_file_is_named(tmp_path, spoil, said):
    folder, store = tree(tmp_path / "tree"), Store(tmp_path / "cache")
    path = folder / sorted(videos(6))[3] / "feature.npy"
    spoil(path)
    with pytest.raises(CacheError, match=f"{path} .*{said}"):
        import_tree(folder, store, IMPORTED, ids=videos(6), shape=(3, 5))
    for entry in store.entries():
        assert entry.ids() == []


def test_an_empty_tree_is_an_error(tmp_path):
    (tmp_path / "tree").mkdir()
    with pytest.raises(CacheError, match="folder above the classes"):
        import_tree(tmp_path / "tree", Store(tmp_path / "cache"), IMPORTED)
    with pytest.raises(CacheError, match="nowhere"):
        import_tree(tmp_path / "nowhere", Store(tmp_path / "cache"), IMPORTED)


def test_trees_are_float32_c_order_whatever_the_file_was(tmp_path):
    folder = tree(tmp_path / "tree")
    path = folder / videos(6)[0] / "feature.npy"
    np.save(path, np.asfortranarray(np.load(path)))
    entry = import_tree(folder, Store(tmp_path / "cache"), IMPORTED)
    np.testing.assert_array_equal(entry.gather(videos(6)), rows_of(videos(6)))
    assert entry.key != KEY
