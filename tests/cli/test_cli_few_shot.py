"""Few-shot episodes of skeleton clips through the command: run, go on, records, report, compare."""

import json
from pathlib import Path

import numpy as np
import pytest

from fewdistill.benchmark.cli.run import run_command, status_command
from fewdistill.benchmark.graph.execute import status
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.results.records.record import Record
from fewdistill.results.records.store import RecordStore
from tests.command import succeeded
from tests.skeleton_suites import arena_of, run_here, write_few_shot

ROWS = ("ctr_gcn/-", "dke_gcn/none", "dke_gcn/dkd", "light_dke_gcn/none", "light_dke_gcn/assistant")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite, its teacher first, then all of it."""
    cwd = tmp_path_factory.mktemp("few_shot")
    write_few_shot(cwd)
    succeeded("run", "few.toml", "--only", "ctr_gcn/*", "--no-report", cwd=cwd)
    stood = written(cwd)
    assert len(stood) == 2, "the teacher's base and its episodes"
    result = succeeded("run", "few.toml", cwd=cwd)
    after = written(cwd)
    assert {path: after[path] for path in stood} == stood, "a finished stage was trained again"
    assert "1-shot accuracy" in result.stdout and "2-shot gain" in result.stdout
    return cwd


def written(cwd: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (cwd / "runs" / "few" / "stages").glob("*/done.json")}


def records(cwd: Path) -> dict[str, Record]:
    found = RecordStore(cwd / "runs" / "few" / "records").all()
    return {f"{r.cell.model}/{r.cell.distillation}/{r.cell.shot}": r for r in found}


def test_every_row_has_an_ordinary_record_of_episodes_at_every_shot(home: Path) -> None:
    found = records(home)
    assert found.keys() == {f"{row}/{shot}" for row in ROWS for shot in (1, 2)}
    assert len(written(home)) == 3 + len(ROWS), "the base of each network, and each row's episodes"
    store = RecordStore(home / "runs" / "few" / "records")
    frozen = {}
    for name, record in found.items():
        cell, metrics = record.cell, record.metrics
        assert record.status == "done" and metrics and metrics.episodes == 60
        assert (cell.protocol, cell.way, cell.query, cell.image_size, cell.frames) == ("episodic", 2, 1, 0, 6)
        assert cell.role == ("teacher" if name.startswith("ctr_gcn") else "student")
        assert metrics.per_class.keys() == {"draw x", "hand clap"}, "classes that nobody trained on"
        assert record.selection["split"] == "val" and record.selection["val_accuracy"] is not None
        arrays = store.arrays(record.key)
        assert {str(video)[:3] for video in arrays["videos"]} == {"a07", "a10"}
        assert arrays["support"].shape == (60, 2 * cell.shot) and arrays["query"].shape == (60, 2)
        frozen.setdefault(cell.shot, []).append((record.identity["episodes"], arrays["query"], arrays["support"]))
        paid = record.cost
        assert paid and paid.parameters and paid.macs_per_video and paid.latency_ms_p50 and paid.training_seconds
        assert paid.macs_per_episode and paid.macs_per_episode > paid.macs_per_video * 2 * (cell.shot + 1)
    for same in frozen.values():
        assert len({sha for sha, _, _ in same}) == 1, "all rows answer the same frozen episodes"
        assert all(np.array_equal(same[0][k], one[k]) for one in same for k in (1, 2))
    light, base = found["light_dke_gcn/assistant/1"].settings, "base"
    assert light["teacher"] == found["dke_gcn/dkd/1"].settings["trained"]
    assert light["teacher of teacher base"]["network"] == "ctr_gcn"
    assert found["light_dke_gcn/none/1"].settings[base] == light[base], "labels alone come first in every setting"


def test_compare_and_report_take_them_as_any_record(home: Path) -> None:
    light = "few:light_dke_gcn"
    compared = succeeded("compare", f"{light}/assistant", f"{light}/none", "--json", cwd=home)
    found = json.loads(compared.stdout)["differences"]
    assert [(each["n_episodes"], each["unpaired"]) for each in found] == [(60, "")] * 2
    page = (home / "runs" / "few" / "report" / "report.html").read_text()
    assert "light_dke_gcn" in page and "supervised" not in (home / "runs/few/report/tables/main.md").read_text()


def test_what_stands_is_told_and_not_run_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = [f'data.root="{home / "data" / "msr_action3d"}"']
    status_command(str(home / "few.toml"), root, home / "runs", home / "data", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told == [{"row": f"{row}/s0", "status": {"1-shot": "done", "2-shot": "done"}} for row in ROWS]
    opened, stood = arena_of(home), written(home)
    assert [each.done for each in run_here(opened, ["light*"])] == [True, True]
    assert written(home) == stood
    with pytest.raises(UserError, match="rows are called ctr_gcn/-/s0"):
        status(opened, ["resnet18/*"])


def test_scores_are_of_another_protocol(tmp_path: Path) -> None:
    for suite in (str(write_few_shot(tmp_path, clips=False)), "demo"):
        with pytest.raises(UserError, match="is a suite of episodes"):
            run_command(suite, save_scores=True, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
