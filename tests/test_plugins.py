"""A third-party package plugs in through the entry-point group, with no edit here."""

import sys
from pathlib import Path

import pytest

from fewdistill.benchmark.api import load_suite
from fewdistill.benchmark.protocols.episodic.settings import head_settings
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.suite.registry import load_plugins
from fewdistill.students.heads import HEADS
from fewdistill.teachers.modalities import EXPERTS
from tests.video_suites import video_suite

MODULE = """
from dataclasses import dataclass
from fewdistill.teachers.modalities import EXPERTS, Expert

@EXPERTS.register("night_vision")
@dataclass(frozen=True)
class NightVision(Expert):
    name = "night_vision"
    version = 1
    requires = "rgb"

    def derive(self, source):
        return 255 - source
"""


def test_entry_points_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "night_plugin.py").write_text(MODULE)
    info = tmp_path / "night_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: night-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fewdistill.plugins]\nnight = night_plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(EXPERTS, "_entries", dict(EXPERTS._entries))
    load_plugins()
    sys.modules.pop("night_plugin")
    assert "night_vision" in EXPERTS


HEAD = """
from fewdistill.students.heads import HEADS
from fewdistill.students.heads.mean_token import ProtoNet

@HEADS.register("{name}")
class Mine(ProtoNet):
    pass
"""


def suite_of(folder: Path, plugins: str, head: str) -> str:
    path = folder / "mine.toml"
    path.write_text(f'name = "mine"\nplugins = {plugins}\n[head]\nname = "{head}"\n')
    return str(path)


def test_a_suite_names_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HEADS, "_entries", dict(HEADS._entries))
    monkeypatch.setattr(sys, "path", [*sys.path])
    found = []
    for part, named, changes in (("a", "mine", ()), ("b", "trx", ('head.name="mine"',))):  # one file, and its edit
        folder = tmp_path / part
        folder.mkdir()
        (folder / "head_of_mine.py").write_text(f"# {part}\n{HEAD.format(name='mine')}")
        suite = video_suite(suite_of(folder, f'["{folder / "head_of_mine.py"}"]', named), changes)
        found.append(head_settings(suite.head))
        sys.modules.pop("head_of_mine")
        sys.path.remove(str(folder))
        del HEADS._entries["mine"]
    assert found[0]["name"] == found[1]["name"] == "mine"
    assert found[0]["code"] != found[1]["code"], "an edited file is another head"
    assert "code" not in head_settings(video_suite("demo").head), "the shipped ones keep their keys"


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("gone.py", None, "no such file of Python"),
        ("my-head.py", "", "no such file of Python"),
        ("json.py", "", "another module 'json'"),
        ("plug_empty.py", "", "registers nothing"),
        ("plug_broken.py", "1 / 0", "ZeroDivisionError"),
        ("plug_taken.py", HEAD.format(name="trx"), "head 'trx' is registered twice"),
    ],
)
def test_a_wrong_file_is_named(
    file: str, text: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    if text is not None:
        (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=says):
        load_suite(suite_of(tmp_path, f'["{tmp_path / file}"]', "trx"))
    sys.modules.pop(Path(file).stem if file.startswith("plug_") else "", None)


def test_plugins_are_a_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="write a list of files"):
        load_suite(suite_of(tmp_path, '"head.py"', "trx"))
