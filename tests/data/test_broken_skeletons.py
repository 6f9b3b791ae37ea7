"""Broken skeleton files: each is named with what is wrong, and none is read as something else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewdistill.benchmark.data.problem import FileError
from fewdistill.benchmark.data.skeletons import LAYOUTS
from fewdistill.benchmark.data.skeletons.topology import topology
from fewdistill.benchmark.runtime.errors import DataError
from tests.data.skeleton_files import NTU_CLIP, body, person, write_kinetics, write_msr, write_ntu, write_nw_ucla

Change = Callable[[Any], Any]
"""Of a file's text, which it gives back; of its JSON content, which it changes, what it gives back is ignored."""


def written(layout: str, root: Path) -> Path:
    """A sound clip of three frames."""
    if layout == "nw_ucla":
        return write_nw_ucla(root, "a01_s01_e00_v01", body(topology("nw_ucla20"), 3), 1)
    if layout == "msr_action3d":
        return write_msr(root, "a01_s01_e01", body(topology("msr20"), 3))
    if layout == "ntu":
        return write_ntu(root / NTU_CLIP, 3, [("5", range(3), body(topology("ntu25"), 3))])
    write_kinetics(root, {"a": [[one] for one in person(3)]})
    return root / "kinetics_train" / "a.json"


def spoil(path: Path, change: Change) -> None:
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    else:
        path.write_text(change(path.read_text()))


def set_joint(values: object) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        content["skeletons"][1][4] = values

    return change


BROKEN: list[tuple[str, Change, str]] = [
    ("nw_ucla", lambda c: c.pop("label"), "'label' is missing"),
    ("nw_ucla", lambda c: c.pop("skeletons"), "'skeletons' is missing"),
    ("nw_ucla", lambda c: c.update(label=2), "label 2, but action 01 has 1"),
    ("nw_ucla", lambda c: c.update(file_name="a02_s01_e00_v01"), "holds the clip 'a02_s01_e00_v01'"),
    ("nw_ucla", lambda c: c["skeletons"][0].pop(), "the lists differ in length"),
    ("nw_ucla", lambda c: c.update(skeletons=[f[:19] for f in c["skeletons"]]), "found 3 x 19 x 3"),
    ("nw_ucla", lambda c: c.update(skeletons=[]), "found 0"),
    ("nw_ucla", set_joint([float("nan")] * 3), "joint 'left_shoulder' of frame 1 is nan"),
    ("nw_ucla", set_joint([0, 1e300, 0]), "joint 'left_shoulder' of frame 1 is 1e+300"),
    ("nw_ucla", set_joint(["1", "2", "3"]), "found something else"),
    ("nw_ucla", set_joint([None, 1, 2]), "found something else"),
    ("nw_ucla", set_joint([10**400, 1, 2]), "numbers"),
    ("nw_ucla", lambda c: c.update(skeletons=[[[0] * 3] * 20] * 2), "nobody is seen: all 2 frames are zero"),
    ("msr_action3d", lambda t: t[:-40], "row 60 has"),
    ("msr_action3d", lambda t: "\n".join(t.splitlines()[:-1]), "59 rows, a multiple of 20"),
    ("msr_action3d", lambda t: t.replace("1.000000", "x", 1), "not all values are numbers"),
    ("msr_action3d", lambda t: "nan nan nan 1\n" + t.split("\n", 1)[1], "of frame 0 is nan"),
    ("msr_action3d", lambda t: "0 0 0 0\n" * 40, "nobody is seen: all 2 frames are zero"),
    ("msr_action3d", lambda t: "0 0 0 0\n" + "1 1 1 1\n" * 19, "joint 'left_shoulder' is never seen"),
    ("ntu", lambda t: t.replace("3", "4", 1), "ends after line 85"),
    ("ntu", lambda t: t.replace("3", "2", 1), "more than the 2 frames"),
    ("ntu", lambda t: t.replace("25\n", "24\n", 1), "line 4: 24 joints, 25 needed"),
    ("ntu", lambda t: t[: len(t) // 2], "a joint's 12 values expected"),
    ("ntu", lambda t: t.replace("257.9 ", "", 1), "line 5: a joint's 12 values expected, found 11"),
    ("ntu", lambda t: "three\n" + t, "line 1: 'three' is not a number of frames"),
    ("ntu", lambda t: "99999999999999999999\n" + t, "is not a number of frames"),
    ("ntu", lambda t: "0\n", "no body in any of its 0 frames"),
    ("ntu", lambda t: "2\n0\n0\n", "no body in any of its 2 frames"),
    ("kinetics", lambda c: c.pop("data"), "'data' must be a list of frames"),
    ("kinetics", lambda c: c["data"][1].update(frame_index=10**9), "entry 1 has no proper frame_index"),
    ("kinetics", lambda c: c["data"][1].update(frame_index=1), "frame 1 is there twice"),
    ("kinetics", lambda c: c["data"][1]["skeleton"][0]["pose"].pop(), "frame 2: pose must be 36 numbers"),
    ("kinetics", lambda c: c["data"][1]["skeleton"][0].pop("score"), "frame 2: score must be 18 numbers"),
    ("kinetics", lambda c: c.update(data=[{"frame_index": 1, "skeleton": []}]), "nobody is seen"),
]


@pytest.mark.parametrize(("layout", "change", "says"), BROKEN, ids=[f"{name}-{says}" for name, _, says in BROKEN])
def test_what_is_broken_is_named(layout: str, change: Change, says: str, tmp_path: Path) -> None:
    path = written(layout, tmp_path)
    spoil(path, change)
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
    path = written(layout, root)
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
