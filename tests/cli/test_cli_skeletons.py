"""`data check --layout` through the command: what a skeleton set holds, what is wrong, what to download."""

import json
from pathlib import Path

from tests.command import fewdistill, succeeded
from tests.data.skeleton_files import made_nw_ucla, write


def test_a_sound_set_is_summed_up(tmp_path: Path) -> None:
    result = succeeded("data", "check", made_nw_ucla(tmp_path / "ucla"), "--layout", "nw_ucla", cwd=tmp_path)
    for says in (
        "18 clips of 3 classes, 6 to 6 a class",
        "20 joints, 1 body at most, metres",
        "1 to 70 frames",
        "2 subjects: 1, 2",
        "split cross_view: 12 train, 6 test",
        "no problems",
    ):
        assert says in result.stdout


def test_every_problem_is_named(tmp_path: Path) -> None:
    root = made_nw_ucla(tmp_path / "ucla")
    write(root / "all_sqe" / "a01_s01_e00_v02.json", "{")
    write(root / "all_sqe" / "a07_s01_e00_v01.json", "{}")
    result = fewdistill("data", "check", root, "--layout", "nw_ucla", "--json", cwd=tmp_path)
    assert result.returncode == 2 and "2 problems" in result.stderr and "Traceback" not in result.stderr
    found = json.loads(result.stdout)
    assert found["summary"]["clips"] == 17 and found["summary"]["classes"]["donning"] == 6
    assert [Path(problem["path"]).stem[:3] for problem in found["problems"]] == ["a07", "a01"]
    assert "not a clip of this data set" in found["problems"][0]["message"]


def test_absent_data_say_what_to_download(tmp_path: Path) -> None:
    result = fewdistill("data", "check", "nowhere", "--layout", "ntu", cwd=tmp_path)
    assert result.returncode == 2 and "nowhere: no such folder; ask for NTU RGB+D" in result.stderr
