"""Readers of skeleton files: what is written comes back, people are told from noise, and what is broken is named."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fewdistill.benchmark.data.problem import FileError
from fewdistill.benchmark.data.skeletons import LAYOUTS
from fewdistill.benchmark.data.skeletons.readers.ntu import missing_clips
from fewdistill.benchmark.data.skeletons.topology import topology
from fewdistill.benchmark.runtime.errors import DataError
from tests.data.skeleton_files import (
    BROKEN_NTU,
    body,
    made_ntu,
    made_nw_ucla,
    person,
    write,
    write_kinetics,
    write_msr,
    write_ntu,
    write_nw_ucla,
)

NTU_CLIP = "S001C001P001R001A001.skeleton"
EVERY = range(20)
NTU25 = topology("ntu25")


def places(joints: int) -> st.SearchStrategy:
    values = st.floats(-10, 10, width=32).filter(lambda value: value != 0)
    return st.integers(1, 4).flatmap(
        lambda frames: arrays(np.float64, (frames, joints, 3), elements=values, fill=values)
    )


@given(joints=places(20))
def test_nw_ucla_comes_back(tmp_path_factory: pytest.TempPathFactory, joints: np.ndarray) -> None:
    root = tmp_path_factory.mktemp("ucla")
    path = write_nw_ucla(root, "a09_s01_e02_v03", joints, 8)
    read = LAYOUTS["nw_ucla"](root).read(path)
    assert read.dtype == np.float32 and np.array_equal(read, joints[..., None])


@given(joints=places(20))
def test_msr_comes_back(tmp_path_factory: pytest.TempPathFactory, joints: np.ndarray) -> None:
    root = tmp_path_factory.mktemp("msr")
    read = LAYOUTS["msr_action3d"](root).read(write_msr(root, "a01_s01_e01", joints))
    assert read.dtype == np.float32 and np.array_equal(read, joints[..., None])


@given(joints=places(25))
def test_ntu_comes_back(tmp_path_factory: pytest.TempPathFactory, joints: np.ndarray) -> None:
    root = tmp_path_factory.mktemp("ntu")
    path = write_ntu(root / NTU_CLIP, len(joints), [("7", range(len(joints)), joints)])
    read = LAYOUTS["ntu"](root).read(path)
    assert read.dtype == np.float32 and np.array_equal(read[..., 0], joints) and not read[..., 1].any()


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


# --- two bodies, and noise -------------------------------------------------------------------------------------------


def table(frames: int) -> np.ndarray:
    """A table as Kinect sees a person in it: wider than high, and shaking more than anybody moves."""
    wide = np.random.default_rng(5).uniform(-1, 1, (frames, 25, 3)) * [3.0, 0.5, 3.0]
    return wide + np.array([0.0, 0.0, 3.0])


def test_two_people_the_livelier_first(tmp_path: Path) -> None:
    calm, lively = body(NTU25, 20, seed=1), body(NTU25, 20, seed=2)
    lively[:, :, 0] += np.linspace(0, 2, 20)[:, None]
    path = write_ntu(tmp_path / NTU_CLIP, 20, [("1", EVERY, calm), ("2", EVERY, lively)])
    read = LAYOUTS["ntu"](tmp_path).read(path)
    assert np.allclose(read[..., 0], lively) and np.allclose(read[..., 1], calm)


def test_noise_is_no_body(tmp_path: Path) -> None:
    """A table that shakes more than the person moves, and a body seen in 11 frames, are dropped."""
    man, short = body(NTU25, 20), body(NTU25, 11, seed=4)
    bodies = [("1", EVERY, table(20)), ("2", EVERY, man), ("3", range(3, 14), short)]
    read = LAYOUTS["ntu"](tmp_path).read(write_ntu(tmp_path / NTU_CLIP, 20, bodies))
    assert np.allclose(read[..., 0], man) and not read[..., 1].any()
    twelve = [("2", EVERY, man), ("3", range(3, 15), body(NTU25, 12, seed=4))]
    read = LAYOUTS["ntu"](tmp_path).read(write_ntu(tmp_path / NTU_CLIP, 20, twelve))
    assert np.flatnonzero(read[..., 1].any(axis=(1, 2))).tolist() == list(range(3, 15))


def test_wide_frames_do_not_make_a_body_lively(tmp_path: Path) -> None:
    """Two thirds of noisy frames do not drop a body, but they do not count for its motion."""
    first, second = body(NTU25, 40, seed=1), body(NTU25, 40, seed=2)
    second[:, :, 0] += np.linspace(0, 0.5, 40)[:, None]
    first[15:] = table(25)  # 62 % of its frames
    path = write_ntu(tmp_path / NTU_CLIP, 40, [("1", range(40), first), ("2", range(40), second)])
    read = LAYOUTS["ntu"](tmp_path).read(path)
    assert np.allclose(read[..., 0], second) and np.allclose(read[..., 1], first)


def test_one_person_under_two_numbers_is_one_body(tmp_path: Path) -> None:
    man, other = body(NTU25, 40, seed=1), body(NTU25, 40, seed=2, motion=0.1)
    halves = [("1", range(20), man[:20]), ("9", range(21, 40), man[21:]), ("2", range(40), other)]
    man[:, :, 0] += np.linspace(0, 3, 40)[:, None]
    read = LAYOUTS["ntu"](tmp_path).read(write_ntu(tmp_path / NTU_CLIP, 40, halves))
    places = [place for place in (0, 1) if np.allclose(read[:20, ..., place], man[:20])]
    assert len(places) == 1 and np.allclose(read[21:, ..., places[0]], man[21:])
    assert not read[20, ..., places[0]].any() and np.allclose(read[..., 1 - places[0]], other)


def test_one_number_twice_in_a_frame_is_two_bodies(tmp_path: Path) -> None:
    calm, lively = body(NTU25, 20, seed=1), body(NTU25, 20, seed=2)
    lively[:, :, 0] += np.linspace(0, 2, 20)[:, None]
    path = write_ntu(tmp_path / NTU_CLIP, 20, [("1", EVERY, calm), ("1", EVERY, lively)])
    read = LAYOUTS["ntu"](tmp_path).read(path)
    assert np.allclose(read[..., 0], lively) and np.allclose(read[..., 1], calm)


def test_a_body_stands_in_the_frames_it_was_seen_in_and_empty_frames_go(tmp_path: Path) -> None:
    man = body(NTU25, 30)
    seen = [*range(2, 10), *range(14, 30)]
    path = write_ntu(tmp_path / NTU_CLIP, 32, [("1", seen, man[: len(seen)])])
    assert np.allclose(LAYOUTS["ntu"](tmp_path).read(path)[..., 0], man[: len(seen)])
    other = body(NTU25, 32, seed=3)
    other[:, :, 0] += np.linspace(0, 3, 32)[:, None]
    path = write_ntu(tmp_path / NTU_CLIP, 32, [("1", seen, man[: len(seen)]), ("2", range(32), other)])
    read = LAYOUTS["ntu"](tmp_path).read(path)
    assert len(read) == 32 and np.allclose(read[seen][..., 1], man[: len(seen)]) and not read[10:14, ..., 1].any()


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


def ucla(change: Callable[[dict], None]) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        path = write_nw_ucla(root, "a01_s01_e00_v01", body(topology("nw_ucla20"), 3), 1)
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return path

    return make


def msr(text: Callable[[str], str]) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        path = write_msr(root, "a01_s01_e01", body(topology("msr20"), 3))
        path.write_text(text(path.read_text()))
        return path

    return make


def ntu(text: Callable[[str], str]) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        path = write_ntu(root / NTU_CLIP, 3, [("5", range(3), body(NTU25, 3))])
        path.write_text(text(path.read_text()))
        return path

    return make


def kinetics(change: Callable[[dict], None]) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        write_kinetics(root, {"a": [[one] for one in person(3)]})
        path = root / "kinetics_train" / "a.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return path

    return make


def set_joint(values: object) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        content["skeletons"][1][4] = values

    return change


BROKEN: list[tuple[str, Callable[[Path], Path], str]] = [
    ("nw_ucla", ucla(lambda c: c.pop("label")), "'label' is missing"),
    ("nw_ucla", ucla(lambda c: c.pop("skeletons")), "'skeletons' is missing"),
    ("nw_ucla", ucla(lambda c: c.update(label=2)), "label 2, but action 01 has 1"),
    ("nw_ucla", ucla(lambda c: c.update(file_name="a02_s01_e00_v01")), "holds the clip 'a02_s01_e00_v01'"),
    ("nw_ucla", ucla(lambda c: c["skeletons"][0].pop()), "the lists differ in length"),
    ("nw_ucla", ucla(lambda c: c.update(skeletons=[f[:19] for f in c["skeletons"]])), "found 3 x 19 x 3"),
    ("nw_ucla", ucla(lambda c: c.update(skeletons=[])), "found 0"),
    ("nw_ucla", ucla(set_joint([float("nan")] * 3)), "joint 'left_shoulder' of frame 1 is nan"),
    ("nw_ucla", ucla(set_joint([0, 1e300, 0])), "joint 'left_shoulder' of frame 1 is 1e+300"),
    ("nw_ucla", ucla(set_joint(["1", "2", "3"])), "found something else"),
    ("nw_ucla", ucla(set_joint([None, 1, 2])), "found something else"),
    ("nw_ucla", ucla(set_joint([10**400, 1, 2])), "numbers"),
    ("nw_ucla", ucla(lambda c: c.update(skeletons=[[[0] * 3] * 20] * 2)), "nobody is seen: all 2 frames are zero"),
    ("msr_action3d", msr(lambda t: t[:-40]), "row 60 has"),
    ("msr_action3d", msr(lambda t: "\n".join(t.splitlines()[:-1])), "59 rows, a multiple of 20"),
    ("msr_action3d", msr(lambda t: t.replace("1.000000", "x", 1)), "not all values are numbers"),
    ("msr_action3d", msr(lambda t: "nan nan nan 1\n" + t.split("\n", 1)[1]), "of frame 0 is nan"),
    ("msr_action3d", msr(lambda t: "0 0 0 0\n" * 40), "nobody is seen: all 2 frames are zero"),
    ("msr_action3d", msr(lambda t: "0 0 0 0\n" + "1 1 1 1\n" * 19), "joint 'left_shoulder' is never seen"),
    ("ntu", ntu(lambda t: t.replace("3", "4", 1)), "ends after line 85"),
    ("ntu", ntu(lambda t: t.replace("3", "2", 1)), "more than the 2 frames"),
    ("ntu", ntu(lambda t: t.replace("25\n", "24\n", 1)), "line 4: 24 joints, 25 needed"),
    ("ntu", ntu(lambda t: t[: len(t) // 2]), "a joint's 12 values expected"),
    ("ntu", ntu(lambda t: t.replace("257.9 ", "", 1)), "line 5: a joint's 12 values expected, found 11"),
    ("ntu", ntu(lambda t: "three\n" + t), "line 1: 'three' is not a number of frames"),
    ("ntu", ntu(lambda t: "99999999999999999999\n" + t), "is not a number of frames"),
    ("ntu", ntu(lambda t: "0\n"), "no body in any of its 0 frames"),
    ("ntu", ntu(lambda t: "2\n0\n0\n"), "no body in any of its 2 frames"),
    ("kinetics", kinetics(lambda c: c.pop("data")), "'data' must be a list of frames"),
    ("kinetics", kinetics(lambda c: c["data"][1].update(frame_index=10**9)), "entry 1 has no proper frame_index"),
    ("kinetics", kinetics(lambda c: c["data"][1].update(frame_index=1)), "frame 1 is there twice"),
    ("kinetics", kinetics(lambda c: c["data"][1]["skeleton"][0]["pose"].pop()), "frame 2: pose must be 36 numbers"),
    ("kinetics", kinetics(lambda c: c["data"][1]["skeleton"][0].pop("score")), "frame 2: score must be 18 numbers"),
    ("kinetics", kinetics(lambda c: c.update(data=[{"frame_index": 1, "skeleton": []}])), "nobody is seen"),
]


@pytest.mark.parametrize(("layout", "make", "says"), BROKEN, ids=[f"{name}-{says}" for name, _, says in BROKEN])
def test_what_is_broken_is_named(layout: str, make: Callable[[Path], Path], says: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(FileError) as caught:
        LAYOUTS[layout](tmp_path).read(path)
    assert says in str(caught.value) and path.name in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"[" * 100_000, "not readable JSON"),
        (b'{"skeletons": [[', "not readable JSON"),
        (b"[1, 2]", "a JSON object is expected, this is a list"),
    ],
)
def test_garbage_is_named(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a01_s01_e00_v01.json"
    path.write_bytes(content)
    with pytest.raises(FileError, match=says):
        LAYOUTS["nw_ucla"](tmp_path).read(path)
    with pytest.raises(FileError, match="cannot be read"):
        LAYOUTS["nw_ucla"](tmp_path).read(tmp_path / "gone.json")


@pytest.mark.parametrize("layout", ["nw_ucla", "msr_action3d", "ntu", "kinetics"])
@given(data=st.data())
def test_damaged_bytes_read_as_a_clip_or_raise_one_kind_of_error(
    layout: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp(layout)
    makers = {"nw_ucla": ucla, "msr_action3d": msr, "ntu": ntu, "kinetics": kinetics}
    nothing: Callable = (lambda text: text) if layout in ("msr_action3d", "ntu") else (lambda content: None)
    path = makers[layout](nothing)(root)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    length = data.draw(st.integers(0, 30))
    content[at : at + length] = data.draw(
        st.one_of(st.binary(max_size=8), st.sampled_from([b"-", b"1e999", b"[", b" "]))
    )
    path.write_bytes(content)
    reader = LAYOUTS[layout](root)
    try:
        read = reader.read(path)
    except DataError as error:
        assert path.name in str(error)
    else:
        assert read.dtype == np.float32 and np.isfinite(read).all() and len(read) >= 1 and read.any()


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
