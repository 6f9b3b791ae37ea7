"""A teacher of frames and joint coordinates, and a student that follows the latter, through the command."""

import json
from pathlib import Path

import pytest

from fewdistill.results.records.store import RecordStore
from fewdistill.students.skeletons import SKELETONS
from tests.command import TINY, succeeded
from tests.skeletons import joint_graph

CHANGES = {
    '["rgb", "depth", "flow", "skeleton"]': '["rgb", "joints"]',
    'token_target = "skeleton"': 'token_target = "joints"',
    'distillation = ["none", "both"]': 'distillation = ["tokens"]',
    "flip = false": "flip = true",
    "epochs = 4": "epochs = 1",
    "base = {epochs = 2, batch": "base = {epochs = 1, batch",
    "query = 1, episodes = 4, validate_every = 2": "query = 1, episodes = 1",
    "adapt_episodes = 8": "adapt_episodes = 0",
    "episodes = 20\n": "episodes = 1\n",
    "val_episodes = 50": "val_episodes = 10",
    "episodes = 200": "episodes = 20",
    "shots = [1, 2]": "shots = [1]",
    "[base]": '[teacher.expert.joints]\nnetwork = "light_dke_gcn"\nframes = 16\n\n'
    "[teacher.own.joints]\nbase = {epochs = 1}\n\n[base]",
}


@pytest.mark.slow
def test_a_run_with_coordinates(tmp_path: Path) -> None:
    text = TINY
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "tiny.toml").write_text(text)
    succeeded("run", "tiny.toml", "--no-report", cwd=tmp_path)
    found = {record.cell.role: record for record in RecordStore(tmp_path / "runs" / "tiny" / "records").all()}
    teacher, student = found["teacher"], found["student"]
    assert teacher.cell.model == "MFM(rgb+joints; pico, light_dke_gcn)"
    network = SKELETONS["light_dke_gcn"](joint_graph([-1, *range(20)]), 1, bodies=1)
    assert teacher.cost.parameters > sum(p.numel() for p in network.parameters()) > 0
    settings = json.dumps(teacher.model_dump(mode="json"))
    assert '"network": "light_dke_gcn"' in settings and '"backbone": "light_dke_gcn"' in settings
    assert student.status == "done" and student.cell.distillation == "tokens"
