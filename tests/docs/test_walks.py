"""What the tour and the page of plug-ins have a reader type, typed."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fewdistill.results.records.store import RecordStore
from tests.command import environment
from tests.docs.pages import ROOT, fences, files, lines

TOUR, EXTEND = ROOT / "docs" / "tour.md", ROOT / "docs" / "extend.md"


def walked(page: Path, cwd: Path) -> str:
    """Write the page's files, run its commands in order, and return what they said; a wrong exit code fails."""
    for name, text in files(page).items():
        (cwd / name).write_text(text)
    steps = []
    for fence in fences(page):
        if fence.says.split(":")[0] == "run":
            code = int(fence.says.partition(":")[2] or 0)
            steps += [[code, shlex.split(line)] for line in lines(fence.text)]
    assert steps
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.walk"], input=json.dumps(steps), cwd=cwd, text=True, timeout=240,
        env=environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_tour(tmp_path: Path) -> None:
    said = walked(TOUR, tmp_path)
    assert "did you mean episodes" in said
    assert "[1/1] mobilenetv3_small/d2m/s0" in said, "only the new row runs"
    records = RecordStore(tmp_path / "runs" / "small" / "records").all()
    assert {r.cell.distillation for r in records if r.status == "done"} == {"-", "none", "tokens", "d2m"}
    assert (tmp_path / "both" / "report.html").is_file() and "d2m" in (tmp_path / "both/tables/gains.md").read_text()


@pytest.mark.slow
def test_plugins_of_the_page_run_through_the_chain(tmp_path: Path) -> None:
    said = walked(EXTEND, tmp_path)
    assert "no problems" in said
    records = [r for r in RecordStore(tmp_path / "runs" / "mine" / "records").all() if r.status == "done"]
    assert {(r.cell.head, r.cell.model, r.cell.distillation) for r in records if r.cell.role == "student"} == {
        ("first_last", "plain4", "none"),
        ("first_last", "plain4", "js"),
    }
    stages = [json.loads(p.read_text()) for p in (tmp_path / "runs" / "mine" / "stages").glob("student-*/done.json")]
    assert any("js" in point for stage in stages for point in stage["curve"]), "the loss was in the training"
    assert all(len(stage["identity"]["head"]["code"]) == 64 for stage in stages)


@pytest.mark.slow
def test_plugins_of_the_page_pass_the_contract_checks(tmp_path: Path) -> None:
    for name, text in files(EXTEND).items():
        (tmp_path / name).write_text(text)
    [command] = [line for fence in fences(EXTEND) if fence.says == "contract" for line in lines(fence.text)]
    setting, python, *arguments = shlex.split(command)
    assert (setting, python) == ("PYTHONPATH=$PWD", "python")
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, *arguments, "-rA", "--tb=short", "-p", "no:cacheprovider"], cwd=ROOT, text=True, timeout=240,
        env=environment() | path, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for name, least in (("first_last", 20), ("js", 7), ("plain4", 5)):
        passed = re.findall(rf"^PASSED .*\[(?:.*-)?{name}(?:-.*)?\]$", done.stdout, flags=re.MULTILINE)
        assert len(passed) >= least, f"{name}: {len(passed)}"


def test_each_plugin_is_short() -> None:
    written = {name: text for name, text in files(EXTEND).items() if name.endswith(".py")}
    assert len(written) == 3
    for name, text in written.items():
        assert len([line for line in text.splitlines() if line.strip()]) < 30, name
        assert text.count(".register(") == 1
