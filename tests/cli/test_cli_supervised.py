"""A suite of the supervised protocol through the installed command: run, kill, resume, ensembles, report, compare."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from results.record import Record
from results.store import RecordStore
from tests.command import fewdistill, start
from tests.skeleton_suites import SUITE, write_suite

LIGHT = ("light_dke_gcn-joint/none/s0", "light_dke_gcn-joint/assistant/s0")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite, killed after its first record, then run to its end."""
    cwd = tmp_path_factory.mktemp("supervised")
    write_suite(cwd)
    run = cwd / "runs" / "tiny"
    process = start("run", "tiny.toml", cwd=cwd)
    deadline = time.monotonic() + 100
    while not any(run.glob("records/*.npz")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    stood = written(run)
    assert stood
    result = fewdistill("run", "tiny.toml", "--save-scores", cwd=cwd)
    assert result.returncode == 0, result.stderr
    after = written(run)
    assert {path: after[path] for path in stood} == stood, "a finished stage was trained again"
    assert "supervised" in result.stdout
    return cwd


def written(run: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in run.glob("stages/*/done.json")}


def records(cwd: Path) -> dict[str, Record]:
    found = RecordStore(cwd / "runs" / "tiny" / "records").all()
    return {f"{r.cell.model}/{r.cell.distillation}/s{r.cell.seed}": r for r in found}


def test_every_row_has_an_honest_record(home: Path) -> None:
    found = records(home)
    assert len(found) == 6 * 3 and all(record.status == "done" for record in found.values())
    assert len(written(home / "runs" / "tiny")) == 6 * 2, "an ensemble trains nothing, and nothing is trained twice"
    for record in found.values():
        cell, metrics = record.cell, record.metrics
        assert metrics and (cell.protocol, cell.way, cell.shot, cell.image_size) == ("supervised", 10, 0, 0)
        assert metrics.episodes == 6
        assert metrics.per_class.keys() == {"pick up with one hand", "pick up with two hands"}, "no others were tested"
        assert record.selection["split"] == "val" and record.selection["rule"] == "the last epoch"
        arrays = RecordStore(home / "runs" / "tiny" / "records").arrays(record.key)
        assert {name[-3:] for name in arrays["videos"]} == {"v03"}, "the test view"
    light = found["light_dke_gcn-joint/assistant/s0"]
    assert (
        light.settings["teacher"]["network"] == "dke_gcn"
        and light.settings["teacher of teacher"]["network"] == "ctr_gcn"
    )
    assert light.cost and light.cost.parameters and light.cost.macs_per_video and light.cost.latency_ms_p50
    ensemble = found["light_dke_gcn-two/assistant/s0"]
    assert ensemble.cost and ensemble.cost.parameters == 2 * light.cost.parameters
    assert ensemble.cost.macs_per_video == 2 * light.cost.macs_per_video and ensemble.cost.latency_ms_p50 is None


def test_saved_scores_say_what_the_records_say_and_ensembles_are_their_sum(home: Path) -> None:
    logits = {}
    for name, record in records(home).items():
        (path,) = (home / "runs" / "tiny" / "scores").glob(f"{name.replace('/', '-')}-*.npz")
        with np.load(path) as kept:
            logits[name] = kept["logits"].astype(np.float64)
            assert record.metrics
            assert (kept["logits"].argmax(1) == kept["labels"]).mean() == record.metrics.accuracy
            assert kept["clips"].shape == (6,) and kept["classes"].shape == (10,)
    summed = logits["dke_gcn-joint/self/s0"] + 0.5 * logits["dke_gcn-bone/self/s0"]
    assert np.allclose(summed, logits["dke_gcn-two/self/s0"], atol=1e-4)


def test_a_finished_suite_is_not_run_again_and_pieces_of_it_can_be(home: Path) -> None:
    status = json.loads(fewdistill("status", "tiny.toml", "--json", cwd=home).stdout)
    assert len(status) == 18 and all(row["status"] == {"0": "done"} for row in status)
    stood = written(home / "runs" / "tiny")
    again = fewdistill("run", "tiny.toml", "--only", "light_dke_gcn-joint/*", cwd=home)
    assert again.returncode == 0 and "[1/" not in again.stderr
    more = fewdistill("run", "tiny.toml", "--only", LIGHT[0], "--set", "recipe.lr=0.02", "--dry-run", cwd=home)
    assert more.returncode == 0 and "0 of 1 rows done" in more.stdout and written(home / "runs" / "tiny") == stood
    nothing = fewdistill("run", "tiny.toml", "--only", "resnet18/*", cwd=home)
    assert nothing.returncode == 2 and "ctr_gcn-joint/-/s0" in nothing.stderr


def test_the_report_shows_the_suite_and_compare_pairs_it_by_clip(home: Path) -> None:
    page = (home / "runs" / "tiny" / "report" / "report.html").read_text()
    assert "light_dke_gcn-two" in page and "assistant" in page and "0-shot" not in page
    compared = fewdistill("compare", f"tiny:{LIGHT[1][:-3]}", f"tiny:{LIGHT[0][:-3]}", "--json", cwd=home)
    assert compared.returncode == 0, compared.stderr
    assert "0-shot" not in compared.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "tiny.toml", "--engine", "ray"], "runs in one process"),
        (["run", "tiny.toml", "--device", "gpu"], "choose auto, cpu or cuda"),
        (["derive", "tiny.toml"], "supervised protocol"),
        (["run", "demo", "--save-scores"], "is a suite of episodes"),
        (["run", "dke_gcn_nwucla"], "https://wangjiangb.github.io/my_data.html"),
        (["status", "dke_gcn_msr"], "put the txt files into"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_and_absent_data_are_one_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    write_suite(tmp_path, clips=False, text=SUITE)
    result = fewdistill(*arguments, cwd=tmp_path)
    assert result.returncode == 2 and says in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "runs").exists()
