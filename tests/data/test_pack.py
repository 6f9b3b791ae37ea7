"""Packs: the pixels of the files to the byte, resumed and repaired by shards, refused when the files are others."""

import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest

from fewdistill.benchmark.data.video import pack_writer
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.data.video.frames import sample_indices
from fewdistill.benchmark.data.video.pack_reader import verify
from fewdistill.benchmark.evaluation.matching import no_tick
from fewdistill.benchmark.runtime.errors import DataError, UserError
from fewdistill.feature_cache import CacheError
from tests.data.folders import picture, small_lists, write_data_set, write_image, write_lists, write_video

SIZES = {"frames": 8, "image_size": 20, "resize": 24}


def pack(folder: VideoFolder, out: Path, keep: int | None = None, workers: int = 1) -> None:
    pack_writer.write(pack_writer.plan(folder, out, keep), workers=workers)


def a_set(root: Path, frames: int = 20) -> VideoFolder:
    write_data_set(root, frames=frames, classes=1, videos=3)
    return VideoFolder(root, **SIZES)


@pytest.fixture
def folder(tmp_path: Path) -> VideoFolder:
    """Nine videos of 20 frames, three a split."""
    return a_set(tmp_path / "set")


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to pack them, four videos a shard."""
    monkeypatch.setattr(pack_writer, "_SHARD_VIDEOS", 4)
    return tmp_path / "pack"


def packed(folder: VideoFolder, out: Path, **sizes: int) -> VideoFolder:
    return VideoFolder(folder.root, **(SIZES | sizes), pack=out)


def assert_same_pixels(one: VideoFolder, other: VideoFolder, train: bool = True) -> None:
    for split in ("train", "val", "test"):
        for video in one.videos(split):
            assert one.frame_count(video) == other.frame_count(video)
            np.testing.assert_array_equal(one.raw(video), other.raw(video))
            for seed in range(4 if train else 0):
                draws = [f.clip(video, train=True, rng=np.random.default_rng(seed)) for f in (one, other)]
                np.testing.assert_array_equal(*draws)


@pytest.mark.parametrize("frames", [8, 9, 40])
def test_packed_frames_are_those_of_the_files(tmp_path: Path, frames: int) -> None:
    folder = a_set(tmp_path / "set", frames)
    pack(folder, tmp_path / "pack")
    reader = packed(folder, tmp_path / "pack")
    assert_same_pixels(folder, reader)
    video = folder.videos("train")[1]
    np.testing.assert_array_equal(folder.depth(video), reader.depth(video))
    np.testing.assert_array_equal(folder.joints(video), reader.joints(video))
    assert all(folder.content_hash(m) == reader.content_hash(m) for m in ("rgb", "depth", "joints"))
    elsewhere = pickle.dumps(reader)
    assert len(elsewhere) < sum(path.stat().st_size for path in (tmp_path / "pack").glob("*.rgb")) / 3
    assert_same_pixels(folder, pickle.loads(elsewhere))
    if frames == 8:  # taken whole: a window into the file
        assert not reader.raw(video).flags.owndata and np.shares_memory(reader.raw(video), reader.raw(video))


def test_packed_video_files_of_any_shape_are_those_of_the_files(tmp_path: Path) -> None:
    lists = small_lists(1, 1)
    write_lists(tmp_path, lists)
    shapes = [(32, 40, 12), (48, 32, 30), (24, 24, 8)]
    for (height, width, count), split in zip(shapes, lists, strict=True):
        frames = [picture(5, frame, height, width) for frame in range(count)]
        write_video(tmp_path / f"{lists[split][0]}.mp4", frames)
    folder = VideoFolder(tmp_path, **SIZES)
    pack(folder, tmp_path / "pack")
    reader = packed(folder, tmp_path / "pack")
    assert_same_pixels(folder, reader)
    assert [reader.raw(lists[split][0]).shape[1:3] for split in lists] == [(24, 30), (36, 24), (24, 24)]


def test_a_thinned_pack_trains_from_what_it_kept_and_says_so(folder: VideoFolder, tmp_path: Path) -> None:
    for keep in (8, 12, 20):
        pack(folder, tmp_path / f"keep{keep}", keep)
    eight, twelve, all_ = (packed(folder, tmp_path / f"keep{keep}") for keep in (8, 12, 20))
    assert_same_pixels(folder, eight, train=False)
    assert_same_pixels(folder, all_)
    assert folder.content_hash() == all_.content_hash()
    assert len({f.content_hash(m) for f in (folder, eight, twelve) for m in ("rgb", "joints")}) == 6
    video = folder.videos("val")[0]
    whole = VideoFolder(folder.root, frames=20, image_size=20, resize=24)
    assert twelve.frame_count(video) == 20
    rng = [np.random.default_rng(seed) for seed in range(30)]
    drawn = np.unique(np.concatenate([twelve.indices(video, train=True, rng=r) for r in rng]))
    assert set(drawn) <= set(sample_indices(20, 12)) and len(drawn) > 8
    chosen = twelve.indices(video)
    np.testing.assert_array_equal(twelve.raw(video), whole.raw(video)[chosen])
    np.testing.assert_array_equal(twelve.depth(video), whole.depth(video)[chosen])
    np.testing.assert_array_equal(eight.raw(video), eight.raw(video, train=True, rng=np.random.default_rng(0)))


def test_a_changed_file_is_refused_and_packed_again_alone(folder: VideoFolder, out: Path) -> None:
    pack(folder, out)
    first = {path.name: path.stat().st_mtime_ns for path in out.glob("0*")}
    assert len(first) == 6
    video = folder.videos("test")[1]
    changed = folder.root / "l8" / "rgb_l8" / video / "00000003.jpg"
    write_image(changed, picture(77, 3))
    os.utime(changed, ns=(10**18 + 77, 10**18 + 77))
    for call in ("raw", "frame_count", "indices"):
        with pytest.raises(DataError, match=rf"{video}.* changed since they were packed; call .*data pack"):
            getattr(packed(folder, out), call)(folder.videos("train")[0])
    with pytest.raises(DataError, match="changed since"):
        packed(folder, out).content_hash()
    again = VideoFolder(folder.root, **SIZES)
    plan = pack_writer.plan(again, out)
    assert list(plan.shards.values()) == [(video,)]
    pack_writer.write(plan)
    assert_same_pixels(again, packed(again, out))
    assert {name: (out / name).stat().st_mtime_ns for name in first} == first


def test_lists_that_change_pack_what_is_new_and_drop_what_nobody_lists(
    folder: VideoFolder, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_writer, "_SHARD_VIDEOS", 3)
    pack(folder, out)
    (out / "notes.json").write_text("mine")
    lists = {split: list(folder.videos(split)) for split in ("train", "val", "test")}
    lists["test"] = [f"new act/v{number}" for number in range(2)]
    for number, video in enumerate(lists["test"]):
        for frame in range(20):
            write_image(folder.root / "l8" / "rgb_l8" / video / f"{frame:03d}.png", picture(number, frame))
    write_lists(folder.root, lists)
    with pytest.raises(DataError, match="does not hold 'new act/v0' and 1 more video"):
        packed(folder, out)
    now = VideoFolder(folder.root, **SIZES)
    pack(now, out)
    assert_same_pixels(now, packed(now, out))
    assert sorted(path.name for path in out.glob("*.rgb")) == ["00001.rgb", "00002.rgb", "00003.rgb"]
    assert (out / "notes.json").read_text() == "mine"


def test_an_interrupted_pack_goes_on_at_the_first_missing_shard(
    folder: VideoFolder, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_writer, "_SHARD_VIDEOS", 2)

    def stop_after_four(done: int, total: int) -> None:
        assert total == 9
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_writer.write(pack_writer.plan(folder, out), progress=stop_after_four)
    stood = {path: path.stat().st_mtime_ns for path in out.glob("0*")}
    assert len(stood) == 4
    with pytest.raises(DataError, match="pack: is not finished; call `fewdistill data pack` again"):
        packed(folder, out)
    done: list[int] = []
    pack_writer.write(pack_writer.plan(folder, out), progress=lambda now, total: done.append(now))
    assert done == [6, 8, 9]
    assert {path: path.stat().st_mtime_ns for path in stood} == stood
    assert_same_pixels(folder, packed(folder, out))
    assert pack_writer.plan(folder, out).missing == 0 and not list(out.glob(".tmp-*"))


def test_several_processes_pack_the_same_bytes(folder: VideoFolder, out: Path) -> None:
    for workers in (1, 2):
        pack(folder, out / f"by{workers}", workers=workers)
    one, two = ({p.name: p.read_bytes() for p in (out / f"by{w}").glob("*.*")} for w in (1, 2))
    assert one == two and len(one) > 6


def test_broken_videos_are_named_and_the_others_packed(folder: VideoFolder, out: Path) -> None:
    broken = folder.root / "l8" / "rgb_l8" / folder.videos("train")[0] / "00000003.jpg"
    short = folder.root / "l8" / "rgb_l8" / folder.videos("train")[1]
    good = broken.read_bytes()
    broken.write_bytes(good[:-40])
    for path in sorted(short.iterdir())[7:]:
        path.unlink()
    with pytest.raises(DataError, match=r"00000003\.jpg: truncated image(.|\n)*7 frames found(.|\n)*7 of 9 videos"):
        pack(VideoFolder(folder.root, **SIZES), out)
    with pytest.raises(DataError, match="not finished"):
        packed(folder, out)
    broken.write_bytes(good)
    for frame in range(8, 21):
        write_image(short / f"{frame:08d}.jpg", picture(1, frame))
    now = VideoFolder(folder.root, **SIZES)
    plan = pack_writer.plan(now, out)
    assert plan.missing == 2
    pack_writer.write(plan)
    assert_same_pixels(now, packed(now, out))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        (
            "00001.rgb",
            lambda path: os.truncate(path, path.stat().st_size - 1),
            r"00001\.rgb: \d+ bytes, \d+ were written",
        ),
        ("00001.rgb", lambda path: path.unlink(), r"00001\.rgb: is missing"),
        ("00001.json", lambda path: flip(path, 300), r"00001\.json: (the seal|not the JSON)"),
        ("00001.json", lambda path: path.unlink(), r"00001\.json: the file is missing"),
        ("pack.json", lambda path: flip(path, 40), r"pack\.json: (the seal|not the JSON)"),
        ("pack.json", lambda path: path.unlink(), "is not finished"),
        ("00001.rgb", lambda path: flip(path, 5000), None),
    ],
    ids=["cut off", "no pixels", "changed JSON", "no JSON", "changed index", "no index", "flipped bit"],
)
def test_damage_is_named_and_repaired_by_packing_again(
    folder: VideoFolder, out: Path, name: str, damage, says: str | None
) -> None:
    pack(folder, out)
    assert verify(out, no_tick) == []
    others = {path: path.stat().st_mtime_ns for path in out.glob("0000[02]*")}
    damage(out / name)
    if says is not None:
        with pytest.raises((DataError, CacheError), match=says):
            packed(folder, out)
    told: list[int] = []
    problems = verify(out, lambda done, total: told.append(done))
    assert told == list(range(1, len(told) + 1))  # a damaged shard counts, too
    if name == "00001.rgb" or (name == "00001.json" and (out / name).exists()):
        [problem] = problems
        assert name in problem.path and "delete the shard's two files" in problem.remedy
        if says is not None:
            with pytest.raises((DataError, CacheError), match=says):
                pack_writer.plan(folder, out)
        for path in out.glob("00001.*"):  # the remedy
            path.unlink()
    pack(folder, out)
    assert verify(out, no_tick) == []
    assert_same_pixels(folder, packed(folder, out))
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_a_pack_for_other_sizes_is_refused(tmp_path: Path) -> None:
    folder, out = a_set(tmp_path / "set", 60), tmp_path / "pack"
    pack(folder, out)
    with pytest.raises(DataError, match=r"short side of 24 px, 32 are asked for; call .*--resize 32 --frames 8"):
        packed(folder, out, resize=32)
    with pytest.raises(DataError, match="packed for 8 frames a video, 5 are asked for"):
        packed(folder, out, frames=5)
    pack(folder, tmp_path / "thin", 8)
    with pytest.raises(DataError, match="packed for 8 frames a video, 12 are asked for"):
        packed(folder, tmp_path / "thin", frames=12)
    packed(folder, tmp_path / "thin", frames=5)
    short = a_set(tmp_path / "short", 20)
    pack(short, tmp_path / "whole")  # which sampling 8 of 20 frames can draw every one of
    assert_same_pixels(VideoFolder(short.root, **(SIZES | {"frames": 5})), packed(short, tmp_path / "whole", frames=5))
    with pytest.raises(UserError, match="holds a pack of short side 24 px and 8 frames, at most 8 kept, not of"):
        pack_writer.plan(folder, tmp_path / "thin")
    with pytest.raises(UserError, match="keep = 4 is fewer than frames = 8"):
        pack_writer.plan(folder, tmp_path / "four", 4)
    with pytest.raises(DataError, match="none: holds no pack"):
        packed(folder, tmp_path / "none")
    with pytest.raises(DataError, match="holds no pack"):
        verify(tmp_path, no_tick)


def test_no_room_is_said_before_anything_is_written(folder: VideoFolder, tmp_path: Path) -> None:
    huge = VideoFolder(folder.root, frames=8, image_size=24, resize=400_000)
    with pytest.raises(UserError, match=r"no room in .*pack: about \d+\.\d GiB needed for 9 videos, \d+\.\d GiB free"):
        pack_writer.plan(huge, tmp_path / "deep" / "pack")
    assert not (tmp_path / "deep").exists()


def test_a_disk_that_fills_up_while_packing_is_named_and_loses_one_shard(folder: VideoFolder, out: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    last = pack_writer.plan(folder, out)  # 4, 4 and 1 videos: the first two shards are too large for the limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CacheError, match=r"no room in .*pack for 00000\.rgb: .*what is finished stands"):
            pack_writer.write(last)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(out.glob("0*")) and not list(out.glob(".tmp-*"))
    pack(folder, out)
    assert_same_pixels(folder, packed(folder, out))
