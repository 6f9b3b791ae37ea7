"""Content hashes: they follow the bytes of listed videos, and are remembered without being trusted blindly."""

import os
import time
from pathlib import Path

import pytest

from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.data.video.frames import list_frames
from tests.data.folders import picture, write_data_set, write_image


def rewrite(path: Path, data: bytes, settled: bool) -> None:
    path.write_bytes(data)
    if settled:
        os.utime(path, ns=(10**18, path.stat().st_ino + len(data) + data[-1] + 10**18))


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("modality", ["rgb", "depth", "joints"])
def test_content_hash_follows_the_bytes_of_listed_videos(tmp_path: Path, modality: str, settled: bool) -> None:
    lists = write_data_set(tmp_path, classes=1, videos=2)
    path = {
        "rgb": tmp_path / "l8" / "rgb_l8" / lists["val"][0] / "00000003.jpg",
        "depth": tmp_path / "l8" / "depth_l8" / lists["val"][0] / "00000003.png",
        "joints": tmp_path / "joints" / f"{lists['val'][0]}.npy",
    }[modality]
    before = path.read_bytes()
    rewrite(path, before, settled)
    first = VideoFolder(tmp_path).content_hash(modality)
    assert first == VideoFolder(tmp_path).content_hash(modality) and len(first) == 64
    rewrite(path, before[:-1] + bytes([before[-1] ^ 1]), settled)  # same size
    assert VideoFolder(tmp_path).content_hash(modality) != first
    rewrite(path, before, settled)
    assert VideoFolder(tmp_path).content_hash(modality) == first
    unlisted = tmp_path / "l8" / "rgb_l8" / "val act0" / "unlisted" / "00000001.jpg"
    write_image(unlisted, picture(0, 0))
    assert VideoFolder(tmp_path).content_hash(modality) == first


def test_content_hash_knows_ids_not_places(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_data_set(tmp_path / name, classes=1, videos=2, poses=False)
    hashes = {VideoFolder(tmp_path / name).content_hash() for name in ("one", "two")}
    assert len(hashes) == 1
    tree = tmp_path / "two" / "l8" / "rgb_l8" / "val act0"
    (tree / "v_val_0_0").rename(tree / "swap")
    (tree / "v_val_0_1").rename(tree / "v_val_0_0")
    (tree / "swap").rename(tree / "v_val_0_1")
    assert VideoFolder(tmp_path / "two").content_hash() not in hashes


def test_content_hash_knows_frame_names_and_the_skeleton(tmp_path: Path) -> None:
    lists = write_data_set(tmp_path, classes=1, videos=1)
    pixels, poses = VideoFolder(tmp_path).content_hash(), VideoFolder(tmp_path).content_hash("joints")
    last = tmp_path / "l8" / "rgb_l8" / lists["val"][0] / "00000009.jpg"
    last.rename(last.with_name("00000010.jpg"))
    assert VideoFolder(tmp_path).content_hash() != pixels
    path = tmp_path / "joints" / "skeleton.toml"
    path.write_text(path.read_text().replace("fx = 60.0", "fx = 61.0"))
    assert VideoFolder(tmp_path).content_hash("joints") != poses


def test_a_change_within_one_tick_of_the_clock_is_noticed(tmp_path: Path) -> None:
    lists = write_data_set(tmp_path, classes=1, videos=1, poses=False)
    path = tmp_path / "l8" / "rgb_l8" / lists["test"][0] / "00000001.jpg"
    tick = time.time_ns()
    os.utime(path, ns=(tick, tick))
    first = VideoFolder(tmp_path).content_hash()
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, ns=(tick, tick))
    assert VideoFolder(tmp_path).content_hash() != first


def test_unchanged_files_are_not_read_again(tmp_path: Path) -> None:
    lists = write_data_set(tmp_path, classes=1, videos=1, poses=False)
    paths = [path for split in lists for path in list_frames(tmp_path / "l8" / "rgb_l8" / lists[split][0])]
    for path in paths:
        os.utime(path, ns=(10**18, 10**18))
    first = VideoFolder(tmp_path).content_hash()
    paths[0].write_bytes(bytes(paths[0].stat().st_size))
    os.utime(paths[0], ns=(10**18, 10**18))  # what no program does: other bytes under the old stamp
    assert VideoFolder(tmp_path).content_hash() == first
    (tmp_path / ".fewdistill" / "content_rgb.json").write_text("{")
    assert VideoFolder(tmp_path).content_hash() != first


def test_content_hash_needs_no_place_to_remember(tmp_path: Path) -> None:
    write_data_set(tmp_path, classes=1, videos=1, poses=False)
    first = VideoFolder(tmp_path).content_hash()
    for path in (tmp_path / ".fewdistill").iterdir():
        path.unlink()
    (tmp_path / ".fewdistill").rmdir()
    (tmp_path / ".fewdistill").write_text("in the way")
    assert VideoFolder(tmp_path).content_hash() == first
