"""A protocol that one file brings: status, run, failure of a row, worker processes and the report serve it as it is."""

import json
from pathlib import Path

import pytest

import fewdistill
from fewdistill.benchmark.suite.registry import load_plugins
from fewdistill.results.records.store import RecordStore
from tests.command import installed as command

TOY = Path(__file__).with_name("toy.py")


def a_suite(folder: Path, students: str = '["near", "far"]') -> Path:
    load_plugins([str(TOY)])  # this process reads the records, too
    path = folder / "numbers.toml"
    path.write_text(f'protocol = "toy"\nname = "numbers"\nplugins = ["{TOY}"]\nseeds = [0, 1]\nstudents = {students}\n')
    return path


def test_a_protocol_plugs_in_with_one_file(tmp_path: Path) -> None:
    a_suite(tmp_path)
    missing = command("status", "numbers.toml", "--json", cwd=tmp_path)
    assert missing.returncode == 0, missing.stderr
    assert [row["status"] for row in json.loads(missing.stdout)] == [{"toy": "missing"}] * 6
    assert not (tmp_path / "runs").exists(), "to ask for the status writes nothing"
    done = command("run", "numbers.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "error" in done.stdout and "report.html" in done.stdout
    found = {(r.cell.model, r.cell.seed): r for r in RecordStore(tmp_path / "runs" / "numbers" / "records").all()}
    assert len(found) == 6
    near, far = (found[name, 0].metrics for name in ("near", "far"))
    assert near is not None and far is not None and near.value < far.value and near.bytes == 4  # type: ignore[attr-defined]
    assert set(found["near", 1].settings) == {"trained", "teacher"}
    page = (tmp_path / "runs" / "numbers" / "report" / "report.html").read_text()
    assert "near" in page and "error" in page
    again = command("run", "numbers.toml", "--no-report", cwd=tmp_path)
    assert again.returncode == 0 and "[1/" not in again.stderr, "finished work is reused"


def test_a_row_that_fails_by_any_exception_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    a_suite(tmp_path, '["broken", "near"]')
    done = command("run", "numbers.toml", "--no-report", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "2 rows did not finish: broken/copied/s0, broken/copied/s1" in done.stderr
    store = RecordStore(tmp_path / "runs" / "numbers" / "records")
    failed = {r.cell.model: r.reason for r in store.all() if r.status == "failed"}
    assert failed.keys() == {"broken"} and "TypeError: no number at all (traceback: " in failed["broken"]
    path = Path(failed["broken"].split("traceback: ")[1].rstrip(")"))
    assert "no number at all" in (tmp_path / path).read_text()
    assert sum(r.status == "done" for r in store.all()) == 4


@pytest.mark.slow
def test_worker_processes_give_the_same_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        monkeypatch.chdir(folder)
        run = fewdistill.open_suite(str(a_suite(folder)))
        assert all(row.done for row in run.run(workers=workers))
        frame = run.records()
        outcomes.append(frame.sort_values("key")[["key", "error", "bytes"]].to_dict("records"))
    assert outcomes[0] == outcomes[1] and len(outcomes[0]) == 6


def test_the_page_shows_this_file() -> None:
    page = Path(__file__).parents[2] / "docs" / "add-a-protocol.md"
    assert TOY.read_text() in page.read_text()
