"""Files that are not what was written: named, refused, repaired, never read."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
from cache_rows import KEY, bytes_of, fill, filled, rows_of, videos
from hypothesis import given, settings
from hypothesis import strategies as st

from fewdistill.feature_cache import CacheError, Store


def reopened(entry):
    return Store(entry.folder.parent).open(KEY)


def test_every_bit_of_the_header_and_every_byte_of_the_json_counts(tmp_path):
    entry = filled(tmp_path, count=3, rows_per_shard=3)
    json_size = (entry.folder / "00000.json").stat().st_size
    every = {"00000.npy": range(128 * 8), "00000.json": [9 * byte % 8 + 8 * byte for byte in range(json_size)]}
    for name, bits in every.items():
        path = entry.folder / name
        sound = path.read_bytes()
        for bit in bits:
            spoilt = bytearray(sound)
            spoilt[bit // 8] ^= 1 << bit % 8
            path.write_bytes(spoilt)
            faults = entry.verify()
            assert [fault.shard for fault in faults] == [0], f"bit {bit} of {name}"
        path.write_bytes(sound)
    assert entry.verify() == []


@settings(derandomize=True, deadline=None, max_examples=40)
@given(place=st.integers(0, 3 * 3 * 5 * 4 * 8 - 1))
def test_a_flipped_bit_in_the_rows_is_found_by_verify(tmp_path_factory, place):
    entry = filled(tmp_path_factory.mktemp("cache"), count=3, rows_per_shard=3)
    path = entry.folder / "00000.npy"
    content = bytearray(path.read_bytes())
    content[128 + place // 8] ^= 1 << place % 8
    path.write_bytes(content)
    (fault,) = reopened(entry).verify()
    assert (fault.shard, fault.path) == (0, path) and "sha256" in fault.reason
    with pytest.raises(CacheError, match=rf"{path}: .*sha256.*cache verify --repair"):
        reopened(entry).gather(entry.ids())


def truncate(path):
    os.truncate(path, path.stat().st_size - 1)


def empty(path):
    os.truncate(path, 0)


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def swap_dtype(path):
    np.save(path, np.load(path).view(np.int32))


def swap_shape(path):
    np.save(path, np.load(path).reshape(4, 5, 3))


def swap_order(path):
    np.save(path, np.asfortranarray(np.load(path)))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (truncate, r"367 bytes long, 368 were written"),
        (empty, "no readable npy header"),
        (lengthen, r"369 bytes long, 368 were written"),
        (swap_dtype, "dtype int32, written as float32"),
        (swap_shape, r"shape \(4, 5, 3\), written as \(4, 3, 5\)"),
        (swap_order, "in Fortran order"),
        (os.unlink, "missing"),
    ],
)
def test_a_spoilt_array_is_refused_on_sight_and_repaired(tmp_path, spoil, said):
    entry = filled(tmp_path, count=10, rows_per_shard=4)
    sound, ids = bytes_of(entry.folder), sorted(videos(10))
    path = entry.folder / "00001.npy"
    spoil(path)
    reader = reopened(entry)
    for ask in (reader.gather, reader.missing, reader.plan):
        with pytest.raises(CacheError, match=rf"{path}: .*{said}.*cache verify --repair"):
            ask(ids)
    (fault,) = reader.verify()
    assert (fault.shard, fault.path) == (1, path)
    assert reader.repair() == ids[4:8]
    (shard,) = reader.plan(ids)
    assert (shard.index, shard.ids) == (1, tuple(ids[4:8]))
    fill(reader, ids)
    assert bytes_of(entry.folder) == sound


def test_a_json_of_another_shard_is_found(tmp_path):
    entry = filled(tmp_path, count=8, rows_per_shard=4)
    shutil.copy(entry.folder / "00000.json", entry.folder / "00001.json")
    ids = sorted(videos(8))
    assert [fault.shard for fault in reopened(entry).verify()] == [1]
    reader = reopened(entry)
    assert reader.repair() == []  # the copied JSON names videos that shard 0 still holds
    assert reader.missing(ids) == ids[4:]


def test_a_damaged_json_is_named_and_its_shard_removed(tmp_path):
    entry = filled(tmp_path, count=8, rows_per_shard=4)
    (entry.folder / "00001.json").write_text("{}")
    reader = reopened(entry)
    with pytest.raises(CacheError, match=r"00001\.json: not the JSON"):
        reader.ids()
    assert reader.repair() == [] and reader.ids() == sorted(videos(8))[:4]
    assert not (entry.folder / "00001.npy").exists()


def test_repair_leaves_a_sound_entry_alone_and_reports_progress(tmp_path):
    entry = filled(tmp_path, count=10, rows_per_shard=4)
    before, seen = bytes_of(entry.folder), []
    assert entry.repair(lambda done, total: seen.append((done, total))) == []
    assert bytes_of(entry.folder) == before and seen == [(1, 3), (2, 3), (3, 3)]


def test_an_open_reader_notices_a_repair_and_a_new_write(tmp_path):
    entry = filled(tmp_path, count=4, rows_per_shard=4)
    reader = reopened(entry)
    reader.gather(videos(4))
    truncate(entry.folder / "00000.npy")
    reopened(entry).repair()
    assert reader.ids() == []
    fill(entry, videos(4))
    assert reader.ids() == sorted(videos(4))
    np.testing.assert_array_equal(reader.gather(videos(4)), rows_of(videos(4)))


def test_entry_json(tmp_path):
    entry = filled(tmp_path)
    path = entry.folder / "entry.json"
    sound = path.read_bytes()
    for spoilt, said in (
        (sound.replace(b'"resnet18"', b'"resnet34"'), "seal"),
        (sound[:-20], "not the JSON"),
        (b"[]", "not the JSON"),
        (None, "missing"),
    ):
        path.unlink() if spoilt is None else path.write_bytes(spoilt)
        for ask in (lambda: reopened(entry), Store(tmp_path).entries, lambda: filled(tmp_path)):
            with pytest.raises(CacheError, match=rf"{path}: .*{said}.*delete the folder"):
                ask()
    path.write_bytes(sound)
    moved = entry.folder.with_name("0" * 24)
    entry.folder.rename(moved)
    with pytest.raises(CacheError, match=f"named {KEY.digest}"):
        Store(tmp_path).entries()


def test_a_cache_of_another_format_is_told_apart(tmp_path, monkeypatch):
    entry = filled(tmp_path)
    monkeypatch.setattr("fewdistill.feature_cache.manifest.FORMAT", 2)
    with pytest.raises(CacheError, match="cache format 1, this version reads 2"):
        reopened(entry)
    assert json.loads((entry.folder / "entry.json").read_text())["format"] == 1


def test_the_error_comes_whole_out_of_another_process(tmp_path):
    entry = filled(tmp_path, count=3, rows_per_shard=3)
    (entry.folder / "00000.npy").unlink()
    with pytest.raises(CacheError, match="cache verify --repair") as caught:
        reopened(entry).missing(videos(3))
    sent = pickle.loads(pickle.dumps(caught.value))
    assert type(sent) is type(caught.value) and str(sent) == str(caught.value)
    assert (sent.path, sent.reason) == (entry.folder / "00000.npy", "the file is missing")
