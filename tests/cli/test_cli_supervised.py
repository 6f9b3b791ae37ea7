"""A suite of the supervised protocol through the installed command: run, kill, resume, ensembles, report, compare."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewdistill.benchmark.graph.execute import status
from fewdistill.benchmark.protocols.supervised.cells import OpenedSupervised
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.results.records.arrays import npz
from fewdistill.results.records.record import Record
from fewdistill.results.records.store import RecordStore
from tests.command import fewdistill, start, succeeded
from tests.shared_runs import until
from tests.skeleton_suites import bench_of, run_here, write_suite

SUM = "light_dke_gcn-two/none/s0"
PIECES = ["--only", "*-joint/*", "--only", SUM]
JOINT = 6  # rows of a stream: the teacher; nine blocks alone, after it, after themselves; seven alone, after those


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pieces of the tiny suite, killed after the first record, then run to their end."""
    cwd = tmp_path_factory.mktemp("supervised")
    write_suite(cwd)
    run = cwd / "runs" / "tiny"
    process = start("run", "tiny.toml", *PIECES, cwd=cwd)
    until(lambda: any(run.glob("records/*.npz")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    stood = written(cwd)
    assert stood
    result = succeeded("run", "tiny.toml", *PIECES, "--save-scores", cwd=cwd)
    after = written(cwd)
    assert {path: after[path] for path in stood} == stood, "a finished stage was trained again"
    assert "supervised" in result.stdout
    return cwd


def written(cwd: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (cwd / "runs" / "tiny" / "stages").glob("*/done.json")}


def records(cwd: Path) -> dict[str, Record]:
    found = RecordStore(cwd / "runs" / "tiny" / "records").all()
    return {f"{r.cell.model}/{r.cell.distillation}/s{r.cell.seed}": r for r in found}


def test_every_row_has_an_honest_record(home: Path) -> None:
    found = records(home)
    assert len(found) == JOINT + 1 and all(record.status == "done" for record in found.values())
    assert len(written(home)) == JOINT + 1, (
        "the sum needs one more network, of the other stream, and trains nothing else"
    )
    for record in found.values():
        cell, metrics = record.cell, record.metrics
        assert metrics and (cell.protocol, cell.way, cell.shot, cell.image_size) == ("supervised", 10, None, 0)
        assert metrics.episodes == 6
        assert metrics.per_class.keys() == {"pick up with one hand", "pick up with two hands"}, "no others were tested"
        assert record.selection["split"] == "none" and record.selection["rule"] == "the last epoch"
        assert ("val_accuracy" in record.selection) == (record is not found[SUM])
        arrays = RecordStore(home / "runs" / "tiny" / "records").arrays(record.key)
        assert {name[-3:] for name in arrays["videos"]} == {"v03"}, "the test view"
    light = found["light_dke_gcn-joint/assistant/s0"]
    assert light.settings["teacher"]["network"] == "dke_gcn"
    assert light.settings["teacher of teacher"]["network"] == "ctr_gcn"
    assert light.cost and light.cost.parameters and light.cost.macs_per_video and light.cost.latency_ms_p50
    both = found[SUM].cost
    assert both and both.parameters == 2 * light.cost.parameters and both.latency_ms_p50 is None
    assert both.macs_per_video == 2 * light.cost.macs_per_video


def test_saved_scores_say_what_the_records_say(home: Path) -> None:
    logits = {}
    for name, record in records(home).items():
        (path,) = (home / "runs" / "tiny" / "scores").glob(f"{name.replace('/', '-')}-*.npz")
        with np.load(path) as kept:
            logits[name] = kept["logits"].astype(np.float64)
            assert record.metrics
            assert (kept["logits"].argmax(1) == kept["labels"]).mean() == record.metrics.accuracy
            assert kept["clips"].shape == (6,) and kept["classes"].shape == (10,)


def test_a_sum_is_the_weighted_sum_of_its_streams(home: Path) -> None:
    run = bench_of(home).run
    joint, bone = (
        run.logits(run.trained("light_dke_gcn", stream, "none", 0), stream, run.data.parts["test"])
        for stream in ("joint", "bone")
    )
    (path,) = (home / "runs" / "tiny" / "scores").glob("light_dke_gcn-two-none-s0-*.npz")
    with np.load(path) as kept:
        assert np.allclose(kept["logits"], joint + 0.5 * bone, atol=1e-4)


@pytest.fixture(scope="module")
def moved(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny suite as another machine gets it: records and scores of single streams, no weights."""
    cwd = tmp_path_factory.mktemp("moved") / "home"
    shutil.copytree(home, cwd)
    asked = ["--only", "light_dke_gcn-bone/none/s0", "--save-scores", "--no-report"]
    succeeded("run", "tiny.toml", *asked, cwd=cwd)
    run = cwd / "runs" / "tiny"
    shutil.rmtree(run / "stages")
    for path in (*run.glob(f"records/{records(cwd)[SUM].key}.*"), *run.glob("scores/*-two-*")):
        path.unlink()
    return cwd


@pytest.fixture
def elsewhere(moved: Path, tmp_path: Path) -> OpenedSupervised:
    shutil.copytree(moved, tmp_path / "home")
    return bench_of(tmp_path / "home", save_scores=True)


def test_a_sum_of_kept_scores_needs_no_weights(home: Path, elsewhere: OpenedSupervised) -> None:
    runs = elsewhere.context.runs
    (found,) = run_here(elsewhere, [SUM])
    assert found.done and not (runs / "stages").exists()
    ours, theirs = (records(cwd)[SUM] for cwd in (runs.parents[1], home))
    told = {"provenance": {}, "cost": None}
    assert ours.model_copy(update=told) == theirs.model_copy(update=told)
    assert ours.cost and theirs.cost and ours.cost.training_seconds == theirs.cost.training_seconds
    (one,), (two,) = (folder.glob("scores/*-two-*.npz") for folder in (runs, home / "runs" / "tiny"))
    assert one.name == two.name and one.read_bytes() == two.read_bytes()
    (path,) = runs.glob("scores/light_dke_gcn-bone-none-s0-*.npz")
    path.rename(path.with_name(path.name.replace("-none-s0", "-none-s0@renamed")))  # the key says which row it is
    one.unlink()
    run_here(elsewhere, [SUM])
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda kept: None, "corrupt"),
        (lambda kept: kept | {"clips": kept["clips"][::-1]}, "of other clips or classes"),
        (lambda kept: {name: kept[name] for name in ("labels", "clips", "classes")}, "logits are float64 (0,), wanted"),
        (lambda kept: kept | {"logits": kept["logits"][:, 1:]}, "logits are float32 (6, 9), wanted"),
        (lambda kept: kept | {"logits": np.full_like(kept["logits"], np.nan)}, "logits that are no numbers"),
    ],
)
def test_damaged_scores_are_named_and_not_summed(
    elsewhere: OpenedSupervised, damage: Callable[[Any], Any], says: str
) -> None:
    runs = elsewhere.context.runs
    (path,) = runs.glob("scores/light_dke_gcn-bone-none-s0-*.npz")
    content = damage(dict(np.load(path)))
    path.write_bytes(path.read_bytes()[:-200] if content is None else npz(content))
    (found,) = run_here(elsewhere, [SUM])
    assert found.by_cell == {"supervised": "failed"}
    reason = records(runs.parents[1])[SUM].reason
    assert path.name in reason and says in reason and not (runs / "stages").exists()


def test_what_stands_is_told_and_not_run_again(home: Path) -> None:
    told = json.loads(fewdistill("status", "tiny.toml", "--json", cwd=home).stdout)
    done = {row["row"] for row in told if row["status"] == {"supervised": "done"}}
    assert len(told) == 3 * JOINT and done == {name for name in records(home)}
    opened, stood = bench_of(home), written(home)
    before = {path: path.stat().st_mtime_ns for path in (opened.context.runs / "records").iterdir()}
    found = run_here(opened, ["light_dke_gcn-joint/*"])
    assert [each.done for each in found] == [True, True] and written(home) == stood
    assert {path: path.stat().st_mtime_ns for path in (opened.context.runs / "records").iterdir()} == before
    with pytest.raises(UserError, match="rows are called ctr_gcn-joint/-/s0"):
        status(opened, ["resnet18/*"])


def test_the_report_shows_the_suite_and_compare_pairs_it_by_clip(home: Path) -> None:
    page = (home / "runs" / "tiny" / "report" / "report.html").read_text()
    assert "light_dke_gcn-two" in page and "assistant" in page and "0-shot" not in page
    light = "tiny:light_dke_gcn-joint"
    compared = succeeded("compare", f"{light}/assistant", f"{light}/none", "--json", cwd=home)
    (found,) = json.loads(compared.stdout)["differences"]
    assert found["n_episodes"] == 6 and not found["unpaired"] and found["episodes"] is not None


def test_joints_are_not_derived(tmp_path: Path) -> None:
    write_suite(tmp_path, clips=False)
    derived = fewdistill("derive", "tiny.toml", cwd=tmp_path)
    assert derived.returncode == 2 and "its clips are joints" in derived.stderr
    assert not (tmp_path / "runs").exists()


def test_absent_data_are_one_line_that_says_where_to_get_them(tmp_path: Path) -> None:
    result = fewdistill("run", "dke_gcn_nwucla", cwd=tmp_path)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "https://wangjiangb.github.io/my_data.html" in result.stderr and "data/nw_ucla" in result.stderr
    assert not (tmp_path / "runs").exists()
