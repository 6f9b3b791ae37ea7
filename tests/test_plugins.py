"""A third-party package plugs in through the entry-point group, with no edit here."""

import sys
from pathlib import Path

import pytest

from benchmark.registry import load_plugins
from teachers.modalities import EXPERTS

MODULE = """
from dataclasses import dataclass
from teachers.modalities import EXPERTS, Expert

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
