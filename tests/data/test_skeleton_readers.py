"""Readers of skeleton files: what is written comes back, listings tell what splits ask for, gaps are filled."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fewdistill.benchmark.data.problem import FileError
from fewdistill.benchmark.data.skeletons import LAYOUTS
from fewdistill.benchmark.data.skeletons.readers.ntu import missing_clips
from tests.data.skeleton_files import (
    BROKEN_NTU,
    NTU_CLIP,
    made_ntu,
    made_nw_ucla,
    person,
    write,
    write_kinetics,
    write_msr,
    write_ntu,
    write_nw_ucla,
)


def places(joints: int) -> st.SearchStrategy:
    values = st.floats(-10, 10, width=32).filter(lambda value: value != 0)
    return st.integers(1, 4).flatmap(
        lambda frames: arrays(np.float64, (frames, joints, 3), elements=values, fill=values)
    )


@pytest.mark.parametrize(("layout", "joints"), [("nw_ucla", 20), ("msr_action3d", 20), ("ntu", 25)])
@given(data=st.data())
def test_what_is_written_comes_back(
    layout: str, joints: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, clip = tmp_path_factory.mktemp(layout), data.draw(places(joints))
    path = {
        "nw_ucla": lambda: write_nw_ucla(root, "a09_s01_e02_v03", clip, 8),
        "msr_action3d": lambda: write_msr(root, "a01_s01_e01", clip),
        "ntu": lambda: write_ntu(root / NTU_CLIP, len(clip), [("7", range(len(clip)), clip)]),
    }[layout]()
    read = LAYOUTS[layout](root).read(path)
    assert read.dtype == np.float32 and np.array_equal(read[..., 0], clip) and not read[..., 1:].any()
    assert read.shape[-1] == (2 if layout == "ntu" else 1)


def test_listings_tell_what_splits_ask_for(tmp_path: Path) -> None:
    ucla = LAYOUTS["nw_ucla"](made_nw_ucla(tmp_path / "ucla")).listing()
    assert len(ucla.entries) == 18 and not ucla.problems and len(ucla.classes) == 10
    last = ucla.entries[-1]
    assert (last.id, last.label, last.subject, last.view) == ("a12_s02_e00_v03", 9, 2, 3)
    assert ucla.classes[last.label] == "carry"
    ntu = LAYOUTS["ntu"](made_ntu(tmp_path / "ntu")).listing()
    assert [(e.label, e.subject, e.view, e.setup) for e in ntu.entries] == [
        (49, 1, 1, 1),
        (0, 3, 2, 1),
        (60, 41, 3, 18),
    ]
    assert list(ntu.left_out) == [BROKEN_NTU] and len(ntu.classes) == 120


def test_the_two_archives_of_ntu_are_read_together(tmp_path: Path) -> None:
    whole = LAYOUTS["ntu"](made_ntu(tmp_path / "whole")).listing()
    apart = made_ntu(tmp_path / "apart")
    for folder, pattern in (("nturgb+d_skeletons120", "S018*"), ("nturgb+d_skeletons", "S001*")):
        (apart / folder).mkdir()
        for path in apart.glob(pattern):
            path.rename(apart / folder / path.name)
    listing = LAYOUTS["ntu"](apart).listing()
    assert [entry.id for entry in listing.entries] == [entry.id for entry in whole.entries]
    assert listing.classes == whole.classes and not listing.problems
    clip = listing.entries[0].path
    (apart / clip.name).write_bytes(clip.read_bytes())
    [problem] = LAYOUTS["ntu"](apart).listing().problems
    assert "the same clip as" in problem.message


def test_the_authors_list_of_missing_skeletons() -> None:
    missing = missing_clips()
    assert len(missing) == 535
    assert sum(clip < "S018" for clip in missing) == 302  # NTU RGB+D 60
    assert {"S001C002P005R002A008", "S017C003P020R001A059", "S032C002P067R002A077"} <= missing


# --- kinetics and npy ------------------------------------------------------------------------------------------------


def test_kinetics_keeps_the_two_surest_people(tmp_path: Path) -> None:
    sure, faint, third = person(6, 1), person(6, 2), person(6, 3)
    faint = [(places, score * 0.1) for places, score in faint]
    frames = [[f, s, t] for f, s, t in zip(faint, sure, third, strict=True)]
    frames[2] = []  # nobody
    frames[4] = [sure[4]]
    write_kinetics(tmp_path, {"abc-_1": [[], *frames, []]})
    layout = LAYOUTS["kinetics"](tmp_path)
    listing = layout.listing()
    assert [(e.id, e.part, listing.classes[e.label]) for e in listing.entries] == [("abc-_1", "train", "action 0")]
    assert list(listing.left_out) == ["nobody"] and not listing.problems
    read = layout.read(listing.entries[0].path)
    assert read.shape == (6, 18, 3, 2)  # cut where nobody is seen at an end, kept in between
    assert not read[2].any() and not read[4, ..., 1].any()
    ranked = sorted([sure[0], third[0]], key=lambda one: -one[1].sum())
    for place, (xy, score) in enumerate(ranked):
        assert np.allclose(read[0, :, :2, place], xy - 0.5) and np.allclose(read[0, :, 2, place], score)


def test_kinetics_joints_without_confidence_are_zero(tmp_path: Path) -> None:
    xy, score = person(1)[0]
    score[3] = 0
    write_kinetics(tmp_path, {"a": [[(xy, score)]]})
    read = LAYOUTS["kinetics"](tmp_path).read(tmp_path / "kinetics_train" / "a.json")
    assert not read[0, 3].any() and read[0, 4].any()


SKELETON = 'joints = ["hip", "l", "r"]\nedges = [[1, 0], [2, 0]]\ncentre = 0\nleft = [1]\nright = [2]\n'


def own_set(root: Path) -> Path:
    write(root / "skeleton.toml", SKELETON)
    for name, people in (("jump/one", 1), ("jump/two", 2), ("sit/one", 1)):
        (root / name).parent.mkdir(exist_ok=True)
        np.save(root / f"{name}.npy", np.full((4, 3, 3, people), 0.5, np.float32))
    return root


def test_a_set_of_ones_own(tmp_path: Path) -> None:
    root = own_set(tmp_path)
    write(root / "clips.csv", "clip,subject,part\njump/one,3,train\nsit/one,4,\n")
    layout = LAYOUTS["npy"](root)
    listing = layout.listing()
    assert listing.classes == ("jump", "sit") and not listing.problems
    assert [(e.id, e.subject, e.part) for e in listing.entries] == [
        ("jump/one", 3, "train"), ("jump/two", None, ""), ("sit/one", 4, ""),
    ]  # fmt: skip
    assert layout.read(listing.entries[1].path).shape == (4, 3, 3, 2)
    assert layout.skeleton.parents == (0, 0, 0)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("clip,person\njump/one,3\n", "unknown column 'person'"),
        ("clip,subject\njump/won,3\n", "clips.csv:2: no clip 'jump/won'"),
        ("clip,subject\njump/one,x\n", "clips.csv:2: subject, view and setup are whole numbers"),
        ("subject\n3\n", "no column `clip`"),
        ('clip,subject\n"jump', "not a readable table"),
        ("clip\njump/one,1,2\n", "unknown column 'None'"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, table: str, says: str) -> None:
    write(own_set(tmp_path) / "clips.csv", table)
    problems = LAYOUTS["npy"](tmp_path).listing().problems
    assert len(problems) == 1 and says in str(problems[0])


def test_an_npy_of_other_joints_is_refused(tmp_path: Path) -> None:
    own_set(tmp_path)
    np.save(tmp_path / "sit" / "one.npy", np.ones((4, 5, 3, 1), np.float32))
    with pytest.raises(FileError, match=r"one\.npy: 5 joints, 3 needed"):
        LAYOUTS["npy"](tmp_path).read(tmp_path / "sit" / "one.npy")


@pytest.mark.parametrize("frames", [10**11, 10**30])
def test_an_npy_header_that_asks_for_more_than_there_is_is_refused(tmp_path: Path, frames: int) -> None:
    path = own_set(tmp_path) / "sit" / "one.npy"
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (frames, 3, 3, 1)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(FileError, match=r"one\.npy: not a readable npy file"):
        LAYOUTS["npy"](tmp_path).read(path)


# --- gaps ------------------------------------------------------------------------------------------------------------


def test_unseen_frames_and_joints_are_filled_in_time(tmp_path: Path) -> None:
    joints = np.linspace(1, 2, 10)[:, None, None] + np.ones((10, 20, 3))  # everything moves evenly
    gappy = np.concatenate([np.zeros((2, 20, 3)), joints, np.zeros((3, 20, 3))])
    gappy[5:8] = 0  # nobody
    gappy[9, 4] = 0  # one joint
    gappy[11, 7] = 0  # the last sighting of a joint is held
    read = LAYOUTS["msr_action3d"](tmp_path).read(write_msr(tmp_path, "a13_s01_e01", gappy))[..., 0]
    expected = joints.copy()
    expected[9, 7] = joints[8, 7]
    assert np.allclose(read, expected)


def test_strange_files_are_named_by_the_listing(tmp_path: Path) -> None:
    made_nw_ucla(tmp_path / "u")
    write(tmp_path / "u" / "all_sqe" / "a07_s01_e00_v01.json", "{}")
    write(tmp_path / "u" / "all_sqe" / "notes.json", "{}")
    problems = LAYOUTS["nw_ucla"](tmp_path / "u").listing().problems
    assert [Path(problem.path).name for problem in problems] == ["a07_s01_e00_v01.json", "notes.json"]
    write_kinetics(tmp_path / "k", {"a": [[person(1)[0]]], "b": [[person(1)[0]]]})
    (tmp_path / "k" / "kinetics_train" / "b.json").unlink()
    source = tmp_path / "k" / "kinetics_train_label.json"
    table = json.loads(source.read_text())
    table["../../etc"] = table["a"]
    table["c"] = {"has_skeleton": True, "label": "x"}
    table["d"] = {**table["a"], "label": "another name"}
    source.write_text(json.dumps(table))
    told = "\n".join(map(str, LAYOUTS["kinetics"](tmp_path / "k").listing().problems))
    for says in (
        "b.json: not found",
        "etc: not a clip's id",
        "label_index is missing",
        "class 0 is 'another name' here",
    ):
        assert says in told


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_an_absent_folder_says_what_to_get_and_where_to_put_it(layout: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no such folder; .*<") as caught:
        LAYOUTS[layout](tmp_path / "absent")
    assert LAYOUTS[layout].download in str(caught.value)
    write(tmp_path / "skeleton.toml", SKELETON)
    with pytest.raises(FileError, match="holds no"):
        LAYOUTS[layout](tmp_path).listing()
