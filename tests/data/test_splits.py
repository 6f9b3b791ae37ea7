"""Split lists in the published format."""

from pathlib import Path

import pytest

from fewdistill.benchmark.data.video.splits import read_split_lists, write_split_lists
from fewdistill.benchmark.runtime.errors import DataError
from tests.data.folders import small_lists, write_lists


def test_lists_are_read_in_file_order_with_spaces_in_class_names(tmp_path: Path) -> None:
    lists = {"train": ["air drumming/-Vt_1", "a/x"], "val": ["b/y"], "test": ["hurling (sport)/z.0"]}
    write_lists(tmp_path, lists, number=7)
    assert read_split_lists(tmp_path / "splits", 7) == {split: tuple(videos) for split, videos in lists.items()}


def test_windows_line_ends_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    write_lists(tmp_path, small_lists())
    (tmp_path / "splits" / "vallist03.txt").write_bytes(b"c/v1\r\n\r\nc/v2\r\n")
    assert read_split_lists(tmp_path / "splits")["val"] == ("c/v1", "c/v2")


@pytest.mark.parametrize(
    ("val", "place", "says"),
    [
        (["c/v1", "c"], "vallist03.txt:2", "not `class/video`"),
        (["c/v1/x"], "vallist03.txt:1", "not `class/video`"),
        (["c/v1", "../v2"], "vallist03.txt:2", "not `class/video`"),
        (["c/v1.avi"], "vallist03.txt:1", "extension"),
        (["c/v1", "c/v2", "c/v1"], "vallist03.txt:3", "already listed"),
        (["c/v1", "train act0/new"], "vallist03.txt:2", "belongs to the train split"),
        (["train act0/v_train_0_0"], "vallist03.txt:1", "already listed"),
        (["c/v1", "C/V1"], "vallist03.txt:2", "already listed"),
        (["brush hair/v1", "Brush_Hair/v2"], "vallist03.txt:2", "spelt 'brush hair'"),
        ([], "vallist03.txt", "lists no video"),
    ],
)
def test_faulty_lists_name_file_and_line(tmp_path: Path, val: list[str], place: str, says: str) -> None:
    write_lists(tmp_path, small_lists() | {"val": val})
    with pytest.raises(DataError, match=says) as error:
        read_split_lists(tmp_path / "splits")
    assert f"{tmp_path}/splits/{place}: " in str(error.value)


def test_missing_lists_say_what_to_write_and_which_numbers_stand(tmp_path: Path) -> None:
    write_lists(tmp_path, small_lists(), number=7)
    with pytest.raises(DataError, match=r"trainlist03\.txt.*class/video.*testlist07\.txt"):
        read_split_lists(tmp_path / "splits", 3)


def test_lists_are_written_and_read_back(tmp_path: Path) -> None:
    lists = {"train": ("Punch/v1", "Punch/v2"), "val": ("Archery/v1",), "test": ("Diving (high)/v1",)}
    write_split_lists(tmp_path, lists)
    assert read_split_lists(tmp_path) == lists
