"""The commands and files that the tour and the "add a ..." pages tell a reader to type, run as printed."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fewdistill.results.records.record import Record
from fewdistill.results.records.store import RecordStore
from tests.command import environment
from tests.docs.pages import ROOT, fences, files, lines

TOUR, DATASET, STUDENT, LOSS, HEAD, EXPERT = (
    ROOT / "docs" / f"{name}.md"
    for name in ("tour", "add-a-dataset", "add-a-student", "add-a-loss", "add-a-head", "add-an-expert")
)
PLUGINS = (STUDENT, LOSS, HEAD, EXPERT)


def path(*folders: Path) -> dict[str, str]:
    """An environment whose Python finds this checkout, and the given folders first."""
    return environment() | {"PYTHONPATH": os.pathsep.join(map(str, [*folders, ROOT, ROOT / "src"]))}


def walked(cwd: Path, *pages: Path) -> str:
    """Write the files of the pages, run their commands in order, and return what they printed.

    A wrong exit code fails.
    """
    steps = []
    for page in pages:
        for name, text in files(page).items():
            (cwd / name).write_text(text)
        for fence in fences(page):
            if fence.says.split(":")[0] == "run":
                code = int(fence.says.partition(":")[2] or 0)
                steps += [[code, shlex.split(line)] for line in lines(fence.text)]
    assert steps
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.walk"], input=json.dumps(steps), cwd=cwd, text=True, timeout=280,
        env=path(), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def finished(cwd: Path, suite: str) -> list[Record]:
    return [r for r in RecordStore(cwd / "runs" / suite / "records").all() if r.status == "done"]


@pytest.mark.slow
def test_the_tour(tmp_path: Path) -> None:
    said = walked(tmp_path, TOUR)
    assert "did you mean episodes" in said
    assert "[1/1] mobilenetv3_small/d2m/s0" in said, "only the new row runs"
    assert {r.cell.distillation for r in finished(tmp_path, "small")} == {"-", "none", "tokens", "d2m"}
    assert (tmp_path / "both" / "report.html").is_file() and "d2m" in (tmp_path / "both/tables/gains.md").read_text()


@pytest.mark.slow
def test_a_data_set_of_ones_own(tmp_path: Path) -> None:
    assert "no problems" in walked(tmp_path, DATASET)
    assert {r.cell.distillation for r in finished(tmp_path, "mine")} == {"-", "none", "tokens"}


@pytest.mark.slow
def test_plugins_run_through_the_chain(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(files(TOUR)["small.toml"])
    walked(tmp_path, *PLUGINS)
    cells = [record.cell for record in finished(tmp_path, "small")]
    assert "plain4" in {cell.model for cell in cells}
    assert "js" in {cell.distillation for cell in cells}
    assert "first_last" in {cell.head for cell in cells}
    assert any("edges" in cell.model for cell in cells if cell.role == "teacher")
    stages = [json.loads(p.read_text()) for p in (tmp_path / "runs" / "small" / "stages").glob("student-*/done.json")]
    assert any("js" in point for stage in stages for point in stage["curve"]), "the loss was in the training"
    heads = [stage["identity"]["head"] for stage in stages]
    assert {len(head["code"]) for head in heads if head["name"] == "first_last"} == {64}


@pytest.mark.slow
@pytest.mark.parametrize(("page", "least"), [(HEAD, 20), (LOSS, 7), (STUDENT, 5)], ids=("head", "loss", "student"))
def test_plugins_pass_the_contract_checks(page: Path, least: int, tmp_path: Path) -> None:
    [(name, text)] = files(page).items()
    (tmp_path / name).write_text(text)
    [command] = [line for fence in fences(page) if fence.says == "contract" for line in lines(fence.text)]
    setting, python, *arguments = shlex.split(command)
    assert (setting, python) == ("PYTHONPATH=$PWD", "python")
    done = subprocess.run(
        [sys.executable, *arguments, "-rA", "--tb=short", "-p", "no:cacheprovider"], cwd=ROOT, text=True, timeout=240,
        env=path(tmp_path), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    stem = name.removesuffix(".py")
    passed = re.findall(rf"^PASSED .*\[(?:.*-)?{stem}(?:-.*)?\]$", done.stdout, flags=re.MULTILINE)
    assert len(passed) >= least


@pytest.mark.slow
@pytest.mark.parametrize("page", PLUGINS, ids=lambda page: page.stem)
def test_each_plugin_is_short(page: Path) -> None:
    [text] = [text for name, text in files(page).items() if name.endswith(".py")]
    assert len([line for line in text.splitlines() if line.strip()]) < 30
    assert len(re.findall(r"\.register\(", text)) == 1
