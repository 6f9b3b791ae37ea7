"""Frame sampling, video decoding and frame folders, on real files."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewdistill.benchmark.data.video.frames import (
    decode,
    drawable_indices,
    frame_count,
    list_frames,
    read_depth_frames,
    read_frames,
    sample_indices,
)
from fewdistill.benchmark.runtime.errors import DataError
from tests.data.folders import picture, write_image, write_video

# --- sampling ------------------------------------------------------------------------------------------------------


def test_published_example_of_test_sampling() -> None:
    assert sample_indices(12).tolist() == [1, 2, 3, 4, 6, 7, 8, 10]
    assert sample_indices(8).tolist() == list(range(8))
    assert sample_indices(9).tolist() == [0, 1, 2, 3, 4, 5, 6, 8]  # too short to leave the ends out
    assert sample_indices(10).tolist() == [0, 1, 2, 3, 5, 6, 7, 9]
    assert sample_indices(11).tolist() == [1, 2, 3, 4, 5, 6, 7, 9]  # the shortest that is not


@given(n=st.integers(8, 400), frames=st.integers(1, 8), train=st.booleans(), seed=st.integers(0, 99))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_sampling_keeps_the_published_rule(n: int, frames: int, train: bool, seed: int) -> None:
    indices = sample_indices(n, frames, train=train, rng=np.random.default_rng(seed))
    pad = int(min(5, (n - frames) / 2))
    assert indices.shape == (frames,) and indices.dtype == np.int64
    assert (np.diff(indices) > 0).all()
    assert 0 <= indices[0] <= (pad if train else 1)
    assert frames == 1 or indices[-1] in range(n - 1 - (pad if train else 1), n)
    steps = np.diff(indices)
    assert frames < 3 or steps.max() - steps.min() <= 1  # even spacing, rounded down


def test_training_sampling_reaches_both_ends_of_its_range() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([sample_indices(40, train=True, rng=rng)[[0, -1]] for _ in range(300)])
    assert set(drawn[:, 0]) == set(range(6)) and set(drawn[:, 1]) == set(range(34, 40))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(frames=st.integers(1, 9), more=st.integers(0, 40), seed=st.integers(0, 99))
def test_drawable_frames_are_those_that_can_be_drawn(frames: int, more: int, seed: int) -> None:
    n, rng = frames + more, np.random.default_rng(seed)
    held = drawable_indices(n, frames)
    assert (np.diff(held) > 0).all() and held[0] >= 0 and held[-1] < n
    assert np.isin(sample_indices(n, frames), held).all()
    drawn = [sample_indices(n, frames, train=True, rng=rng) for _ in range(60)]
    assert np.isin(np.concatenate(drawn), held).all()
    assert len(held) <= min(n, 7 * frames)


def test_each_drawable_frame_is_drawn_sooner_or_later() -> None:
    rng = np.random.default_rng(0)
    drawn = [sample_indices(50, 4, train=True, rng=rng) for _ in range(2000)]
    found = np.unique(np.concatenate([*drawn, sample_indices(50, 4)]))
    np.testing.assert_array_equal(found, drawable_indices(50, 4))


def test_short_videos_and_a_missing_generator_are_refused() -> None:
    with pytest.raises(DataError, match="7 frames found, 8 needed"):
        sample_indices(7)
    with pytest.raises(ValueError, match="generator"):
        sample_indices(20, train=True)


# --- decoding ------------------------------------------------------------------------------------------------------

CONTAINERS = [("a.mp4", "mpeg4"), ("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "mpeg4"), ("a.webm", "libvpx")]


@pytest.mark.parametrize(("name", "codec"), CONTAINERS)
def test_decoding_returns_the_frames_asked_for_in_their_colours(tmp_path: Path, name: str, codec: str) -> None:
    frames = [picture(1, frame) for frame in range(15)]
    write_video(tmp_path / name, frames, codec)
    assert frame_count(tmp_path / name) == 15
    everything = decode(tmp_path / name)
    assert everything.shape == (15, 32, 40, 3) and everything.dtype == np.uint8
    assert np.abs(everything.astype(int) - np.stack(frames)).mean() < 6
    np.testing.assert_array_equal(decode(tmp_path / name, [9, 2, 2, 14]), everything[[9, 2, 2, 14]])


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "mpeg4", {}),
        ("a.mp4", "mpeg4", {"movflags": "faststart"}),
        ("a.avi", "mpeg4", {}),
        ("a.mkv", "mpeg4", {}),
        ("a.webm", "libvpx", {}),
    ],
)
def test_truncated_videos_are_named(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / name, list(noise), codec, **options)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=f"{name}: (truncated|cannot be decoded)"):
        frame_count(tmp_path / name)
    with pytest.raises(DataError, match=f"{name}: (truncated|cannot be decoded)"):
        decode(tmp_path / name, [0, 39])


def test_a_damaged_frame_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mp4", list(noise), movflags="faststart")
    data = (tmp_path / "a.mp4").read_bytes()
    whole = decode(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").write_bytes(data[:-2000])  # the last frame loses its lower part
    np.testing.assert_array_equal(decode(tmp_path / "a.mp4", range(19)), whole[:19])
    with pytest.raises(DataError, match=r"a\.mp4: frame 19 is damaged"):
        decode(tmp_path / "a.mp4", [3, 19])
    with pytest.raises(DataError, match=r"a\.mp4: (frame 19 is damaged|truncated)"):
        frame_count(tmp_path / "a.mp4")  # the check before training must not pass what training refuses


def test_empty_foreign_and_missing_videos_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    for name, says in (("empty", "0 bytes"), ("text", "cannot be decoded"), ("none", "no such video file")):
        with pytest.raises(DataError, match=rf"{name}\.mp4: .*{says}"):
            decode(tmp_path / f"{name}.mp4")


def test_frames_beyond_the_end_are_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [picture(0, frame) for frame in range(5)])
    with pytest.raises(DataError, match=r"a\.mp4: truncated: frame 5 asked for, 5 frames decoded"):
        decode(tmp_path / "a.mp4", [0, 5])


def test_a_phone_video_is_turned_upright(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [picture(1, 3)] * 3)
    lying = decode(tmp_path / "a.mp4")
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    quarter = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)  # shown turned 90 degrees clockwise
    place = data.index(matrix, data.index(b"tkhd"))
    data[place : place + len(matrix)] = quarter
    (tmp_path / "b.mp4").write_bytes(data)
    np.testing.assert_array_equal(decode(tmp_path / "b.mp4"), np.rot90(lying, -1, axes=(1, 2)))


def test_frame_folders_are_read_in_number_order(tmp_path: Path) -> None:
    for frame in (1, 2, 10):
        write_image(tmp_path / f"{frame}.png", picture(0, frame))
    assert [path.name for path in list_frames(tmp_path)] == ["1.png", "2.png", "10.png"]
    np.testing.assert_array_equal(read_frames(tmp_path), np.stack([picture(0, f) for f in (1, 2, 10)]))
    np.testing.assert_array_equal(read_frames(tmp_path, [2, 0]), np.stack([picture(0, 10), picture(0, 1)]))


def test_grey_images_become_three_channels_and_deep_ones_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "grey" / "1.jpg", np.full((16, 16), 77, np.uint8))
    assert read_frames(tmp_path / "grey").tolist() == np.full((1, 16, 16, 3), 77).tolist()
    write_image(tmp_path / "deep" / "1.png", np.full((16, 16), 777, np.uint16))
    with pytest.raises(DataError, match=r"1\.png: an 8-bit image is needed"):
        read_frames(tmp_path / "deep")
    assert read_depth_frames(tmp_path / "deep").max() == 777
    with pytest.raises(DataError, match=r"1\.jpg: depth must be 16-bit grey"):
        read_depth_frames(tmp_path / "grey")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(
    ("keep", "says"),
    [(0.0, "0 bytes"), (0.6, "truncated image"), (0.97, "truncated image"), (-1.0, "cannot be decoded")],
)
def test_broken_images_are_named(tmp_path: Path, suffix: str, keep: float, says: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for frame in range(1, 4):
        write_image(tmp_path / f"{frame:08d}.{suffix}", noise)
    broken = tmp_path / f"00000002.{suffix}"
    data = broken.read_bytes()
    broken.write_bytes(data[: int(keep * len(data))] if keep >= 0 else b"not an image")
    with pytest.raises(DataError, match=f"00000002.{suffix}: .*{says}"):
        read_frames(tmp_path)
    assert read_frames(tmp_path, [0, 2]).shape == (2, 32, 32, 3)


def test_frames_of_different_sizes_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", picture(0, 0))
    write_image(tmp_path / "2.png", picture(0, 0, height=16))
    with pytest.raises(DataError, match="different sizes"):
        read_frames(tmp_path)
