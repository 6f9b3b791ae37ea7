"""The data check: a sound set has no problem, each planted fault is found and named, all of them at once."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fewdistill.benchmark.data.problem import DataProblem
from fewdistill.benchmark.data.video.check import check
from tests.data.folders import picture, small_lists, write_data_set, write_image, write_lists, write_video

FITS = {"way": 2, "shot": 1, "query": 2}
VIDEO = "val act1/v_val_1_0"


def rgb(root: Path, frame: int) -> Path:
    return root / "l8" / "rgb_l8" / VIDEO / f"{frame:08d}.jpg"


def depth(root: Path, frame: int) -> Path:
    return root / "l8" / "depth_l8" / VIDEO / f"{frame:08d}.png"


def joints(root: Path) -> Path:
    return root / "joints" / f"{VIDEO}.npy"


def append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


def remove_video(root: Path) -> None:
    for path in rgb(root, 1).parent.iterdir():
        path.unlink()
    rgb(root, 1).parent.rmdir()


def shorten(root: Path) -> None:
    for frame in (8, 9):
        rgb(root, frame).unlink()
        depth(root, frame).unlink()
    np.save(joints(root), np.load(joints(root))[:7])


def spoil_joint(root: Path) -> None:
    array = np.load(joints(root))
    array[4, 2, 1, 0] = np.nan
    np.save(joints(root), array)


Fault = tuple[Callable[[Path], object], str, str, bool]  # plant, place, message, found without decoding
FAULTS: dict[str, Fault] = {
    "missing video": (remove_video, f"rgb_l8/{VIDEO}", "no rgb", True),
    "zero-byte frame": (lambda root: rgb(root, 5).write_bytes(b""), "00000005.jpg", "0 bytes", True),
    "too few frames": (shorten, f"rgb_l8/{VIDEO}", "7 frames found, 8 needed", True),
    "corrupt frame": (lambda root: rgb(root, 5).write_bytes(b"no jpeg"), "00000005.jpg", "decoded", False),
    "cut-off frame": (lambda root: os.truncate(rgb(root, 5), rgb(root, 5).stat().st_size - 40), "00000005.jpg",
                      "truncated", False),
    "frame of another size": (lambda root: write_image(rgb(root, 5), picture(0, 0, height=16)), f"rgb_l8/{VIDEO}",
                              "different sizes", False),
    "depth frame missing": (lambda root: depth(root, 9).unlink(), f"depth_l8/{VIDEO}", "8 frames, but 9", True),
    "shallow depth": (lambda root: write_image(depth(root, 2), np.zeros((32, 40), np.uint8)), "00000002.png",
                      "16-bit", False),
    "joints missing": (lambda root: joints(root).unlink(), f"joints/{VIDEO}", "no joints", True),
    "joints too short": (lambda root: np.save(joints(root), np.ones((3, 4, 3, 1), np.float32)), f"{VIDEO}.npy",
                         "3 frames, but 9", True),
    "joints not finite": (spoil_joint, f"{VIDEO}.npy", "joint 2 of frame 4 is not a finite number", False),
    "joints no array": (lambda root: joints(root).write_bytes(b"x"), f"{VIDEO}.npy", "not a readable npy", True),
    "no skeleton": (lambda root: (root / "joints" / "skeleton.toml").unlink(), "skeleton.toml", "not found", True),
    "split overlap": (lambda root: append(root / "splits" / "testlist03.txt", VIDEO), "testlist03.txt:7",
                      "already listed at", True),
    "class in two splits": (lambda root: append(root / "splits" / "vallist03.txt", "train act0/v_train_0_0"),
                            "vallist03.txt:7", "already listed at", True),
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_data_set(tmp_path)
    return tmp_path


@pytest.mark.parametrize("deep", [True, False])
def test_a_sound_data_set_has_no_problem(root: Path, deep: bool) -> None:
    seen: list[tuple[int, int]] = []
    assert check(root, **FITS, deep=deep, progress=lambda done, total: seen.append((done, total))) == []
    assert seen == [(done, 18) for done in range(1, 19)]


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("deep", [True, False])
def test_a_planted_fault_is_found_and_named(root: Path, name: str, deep: bool) -> None:
    plant, place, says, shallow = FAULTS[name]
    plant(root)
    problems = check(root, **FITS, deep=deep)
    if not deep and not shallow:
        assert problems == []
        return
    assert len(problems) == 1, problems
    assert place in problems[0].path and says in problems[0].message and problems[0].remedy


def test_all_faults_are_reported_at_once(root: Path) -> None:
    rgb(root, 5).write_bytes(b"no jpeg")
    joints(root).unlink()
    append(root / "splits" / "testlist03.txt", "test act0/absent")
    append(root / "splits" / "testlist03.txt", "no-slash")
    problems = check(root, way=3, shot=3, query=1)
    text = "\n".join(str(problem) for problem in problems)
    for part in ("00000005.jpg", f"{VIDEO}: no joints", "absent: no rgb", "testlist03.txt:8", "3-way", "4 needed"):
        assert part in text
    assert sum("classes, 3 needed" in problem.message for problem in problems) == 3
    assert sum("videos, 4 needed" in problem.message for problem in problems) == 5  # one class has its fourth listed


def test_what_episodes_need_is_counted_exactly(root: Path) -> None:
    assert check(root, way=2, shot=2, query=1, deep=False) == []
    found = check(root, way=2, shot=2, query=2, deep=False)
    assert len(found) == 6 and all("has 3 videos, 4 needed" in problem.message for problem in found)


def test_video_files_are_checked(tmp_path: Path) -> None:
    lists = small_lists(1, 2)
    write_lists(tmp_path, lists)
    for split in lists:
        for video in lists[split]:
            write_video(tmp_path / f"{video}.mp4", [picture(1, frame) for frame in range(10)], movflags="faststart")
    assert check(tmp_path, way=1, shot=1, query=1) == []
    first, second, third = (tmp_path / f"{lists[split][0]}.mp4" for split in lists)
    first.write_bytes(first.read_bytes()[:-600])
    second.write_bytes(b"")
    write_video(third, [picture(1, frame) for frame in range(5)])
    problems = {problem.path: problem.message for problem in check(tmp_path, way=1, shot=1, query=1)}
    assert set(problems) == {str(first), str(second), str(third)}
    assert "truncated" in problems[str(first)] or "damaged" in problems[str(first)]
    assert "0 bytes" in problems[str(second)] and problems[str(third)] == "5 frames found, 8 needed"
    assert [problem.path for problem in check(tmp_path, way=1, shot=1, query=1, deep=False)] == [str(second)]


def test_an_empty_place_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    assert [problem.message for problem in check(tmp_path / "none", **FITS)] == ["no such data set folder"]
    problems = check(tmp_path, **FITS)
    assert [problem.message for problem in problems[:3]] == ["split list not found"] * 3
    write_lists(tmp_path, small_lists())
    (problem,) = check(tmp_path, **FITS)
    assert isinstance(problem, DataProblem) and problem.message.startswith("holds no frames")
