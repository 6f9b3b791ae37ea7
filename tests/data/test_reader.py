"""The folder reader on real files: layouts, labels, clips, depth, joints, and errors that name the file."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.data.video.frames import decode, frame_count, list_frames, read_frames
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.teachers.modalities import PosedClip
from tests.data.folders import picture, small_lists, write_data_set, write_lists, write_video


def test_classes_labels_and_places(tmp_path: Path) -> None:
    lists = write_data_set(tmp_path, poses=False)
    folder = VideoFolder(tmp_path)
    assert folder.splits == {split: tuple(videos) for split, videos in lists.items()}
    assert folder.classes("val") == ("val act0", "val act1")
    assert {name: places.tolist() for name, places in folder.by_class("val").items()} == {
        "val act0": [0, 1, 2],
        "val act1": [3, 4, 5],
    }
    assert folder.labels("train").tolist() == [0, 0, 0, 1, 1, 1]
    assert folder.label("test act1/v_test_1_2") == 1
    assert folder.split_of("test act1/v_test_1_2") == "test"
    for call in (lambda: folder.videos("dev"), lambda: folder.label("x/y"), lambda: folder.raw("x/y")):
        with pytest.raises(DataError):
            call()


def layout_l8(root: Path) -> None:
    (root / "l8" / "rgb_l8").rename(root / "kept")
    (root / "l8").rmdir()
    (root / "kept").rename(root / "l8")


def layout_underscores(root: Path) -> None:
    tree = root / "l8" / "rgb_l8"
    for group in list(tree.iterdir()):
        group.rename(tree / group.name.replace(" ", "_").upper())


@pytest.mark.parametrize("change", [None, layout_l8, layout_underscores])
def test_frame_layouts_give_the_same_clip(tmp_path: Path, change) -> None:
    lists = write_data_set(tmp_path, poses=False)
    video = lists["val"][4]
    expected = read_frames(tmp_path / "l8" / "rgb_l8" / video, [0, 1, 2, 3, 4, 5, 6, 8])
    if change is not None:
        change(tmp_path)
    folder = VideoFolder(tmp_path, image_size=32, resize=32)
    assert folder.modalities() == ("rgb",)
    np.testing.assert_array_equal(folder.raw(video), expected)
    np.testing.assert_array_equal(folder.clip(video), expected[:, :, 4:36])


def test_video_files_are_read_through_the_same_calls(tmp_path: Path) -> None:
    lists = small_lists(1, 1)
    write_lists(tmp_path, lists)
    for suffix, split in zip((".mp4", ".avi", ".mkv"), lists, strict=True):
        frames = [picture(5, frame) for frame in range(12)]
        write_video(tmp_path / f"{lists[split][0]}{suffix}", frames)
    folder = VideoFolder(tmp_path, image_size=28, resize=32)
    for split in lists:
        video = lists[split][0]
        assert folder.frame_count(video) == 12
        whole = decode(folder.locate(video))
        np.testing.assert_array_equal(folder.raw(video), whole[[1, 2, 3, 4, 6, 7, 8, 10]])
        assert folder.clip(video).shape == (8, 28, 28, 3)


def test_training_clips_follow_the_generator(tmp_path: Path) -> None:
    lists = write_data_set(tmp_path, frames=20, videos=1, classes=1, poses=False)
    folder, video = VideoFolder(tmp_path, image_size=24, resize=32), lists["train"][0]
    draws = [folder.clip(video, train=True, rng=np.random.default_rng(seed)) for seed in (1, 1, 2, 3, 4)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert len({draw.tobytes() for draw in draws}) > 2
    with pytest.raises(ValueError, match="generator"):
        folder.clip(video, train=True)


def test_default_resize_is_in_proportion(tmp_path: Path) -> None:
    lists = write_data_set(tmp_path, videos=1, classes=1, poses=False)
    folder = VideoFolder(tmp_path, image_size=84)
    assert folder.resize == 96
    assert folder.raw(lists["test"][0]).shape == (8, 96, 120, 3)
    assert folder.clip(lists["test"][0]).shape == (8, 84, 84, 3)
    with pytest.raises(DataError, match="resize at least image_size"):
        VideoFolder(tmp_path, image_size=84, resize=64)


def test_depth_and_joints_come_from_the_frames_of_the_clip(tmp_path: Path) -> None:
    lists = write_data_set(tmp_path, frames=12)
    folder, video = VideoFolder(tmp_path, image_size=16, resize=16), lists["train"][1]
    chosen = [1, 2, 3, 4, 6, 7, 8, 10]
    assert folder.modalities() == ("rgb", "depth", "joints")
    assert folder.depth(video)[:, 0, 0].tolist() == [1010 + frame for frame in chosen]
    stored = np.load(tmp_path / "joints" / f"{video}.npy")
    np.testing.assert_array_equal(folder.joints(video), stored[chosen])
    assert folder.skeleton.joints[folder.skeleton.left[0]] == "left_hand"


def test_sources_share_one_picture_size(tmp_path: Path) -> None:
    lists = write_data_set(tmp_path)
    folder, video = VideoFolder(tmp_path, image_size=16, resize=16), lists["train"][0]
    assert folder.source(video, "rgb").shape == (8, 16, 20, 3)
    assert folder.source(video, "depth").shape == (8, 16, 20)
    posed = folder.source(video, "joints")
    assert isinstance(posed, PosedClip)
    camera = posed.skeleton.camera
    assert (camera.height, camera.width, camera.fx) == (16, 20, 30.0)
    assert (camera.cx, camera.cy) == (9.5, 7.5)  # the middle stays the middle
    with pytest.raises(DataError, match="unknown source"):
        folder.source(video, "sound")


def test_missing_and_unequal_files_are_named(tmp_path: Path) -> None:
    lists = write_data_set(tmp_path)
    one, two, three = lists["val"][:3]
    for path in list_frames(tmp_path / "l8" / "rgb_l8" / one):
        path.unlink()
    (tmp_path / "l8" / "rgb_l8" / one).rmdir()
    (tmp_path / "l8" / "depth_l8" / two / "00000009.png").unlink()
    np.save(tmp_path / "joints" / f"{two}.npy", np.ones((5, 4, 3, 1), np.float32))
    np.save(tmp_path / "joints" / f"{three}.npy", np.full((9, 4, 3, 1), np.nan, np.float32))
    folder = VideoFolder(tmp_path, frames=8)
    for call, says in (
        (lambda: folder.raw(one), f"{one}: no rgb of this video; .*val list"),
        (lambda: folder.depth(two), f"{two}: 8 frames, but the RGB .* has 9"),
        (lambda: folder.joints(two), rf"{two}\.npy: 5 frames, but the RGB"),
        (lambda: folder.joints(three), rf"{three}\.npy: joint 0 of frame 0 is not a finite number"),
        (lambda: VideoFolder(tmp_path, frames=10).raw(two), f"{two}: 9 frames found, 10 needed; lower `frames`"),
        (lambda: VideoFolder(tmp_path / "none"), "none: no such data set folder"),
    ):
        with pytest.raises(DataError, match=says):
            call()


def test_errors_survive_the_way_between_processes(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        frame_count(tmp_path / "none.mp4")
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("centre = 0", "", "key 'centre' is missing"),
        ("[0, 3]", "[0, 9]", "joint 9 is not one of the 4"),
        ("edges = [[0, 1], ", "edges = [", "no edges lead from 'pelvis' to head"),
        ("right = [3]", "right = [2]", "'left_hand' is on the left and on the right"),
        ("fx = 60.0", "focal = 60.0", "focal"),
        ("[camera]", "[camera", "skeleton.toml"),
    ],
)
def test_a_wrong_skeleton_file_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    write_data_set(tmp_path, classes=1, videos=1)
    path = tmp_path / "joints" / "skeleton.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=r"skeleton\.toml: .*") as error:
        _ = VideoFolder(tmp_path).skeleton
    assert says in str(error.value)
