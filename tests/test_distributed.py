"""One suite in one process; by two of torchrun; by two runs side by side; on a Ray cluster: the same weights, records.

Each of them on videos and on skeleton clips. And the recipe for Slurm.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray

from fewdistill.benchmark.graph.execute import run, run_stage
from fewdistill.benchmark.graph.protocol import OpenedSuite
from fewdistill.benchmark.graph.ray import RayCluster
from fewdistill.benchmark.graph.record_index import row_stage
from fewdistill.benchmark.graph.remote import divided
from fewdistill.benchmark.graph.torchrun import TorchrunProcesses
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.process_group import Group
from fewdistill.benchmark.stage import Stage, needed
from fewdistill.feature_cache import run_lock
from fewdistill.results.records.store import RecordStore
from tests.command import COMMAND, environment, fewdistill, start
from tests.curves import shown_as_stored
from tests.shared_runs import CASES, STUDENT, SUITE, Case, open_suite, outcome, stages, until, weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Finished:
    """A suite, run by two processes side by side. said: what each told; seen: when finished files were first seen."""

    case: Case
    cwd: Path
    said: tuple[str, str]
    seen: dict[Path, int]


def made(runs: Path) -> set[Path]:
    """The files that finish stages and scored rows."""
    return {*runs.glob("stages/*/done.json"), *runs.glob("records/[0-9a-f]*.npz")}


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run of the whole suite, one of a row of it, and a stage that both need held until both wait for it."""
    case, cwd = request.param, tmp_path_factory.mktemp("both")
    case.write(cwd)
    suite = open_suite(case, cwd)
    [first] = [stage for row in suite.rows() for stage in row.trained.walk() if stage.title == case.first][:1]
    said, seen = (cwd / "one", cwd / "two"), dict[Path, int]()

    def look() -> None:
        for path in made(case.runs(cwd)):
            seen.setdefault(path, path.stat().st_mtime_ns)

    with ExitStack() as stack:
        files = [stack.enter_context(path.open("w")) for path in said]
        with run_lock(first.folder):
            runs = []
            for file, only in zip(files, (["--only", case.row], []), strict=True):
                command, quiet = [COMMAND, "run", case.file, "--no-report", *only], subprocess.DEVNULL
                runs.append(subprocess.Popen(command, cwd=cwd, env=environment(), stdout=quiet, stderr=file, text=True))
                stack.callback(runs[-1].kill)
            told = f"[waiting for {first.title}: process {os.getpid()} on "
            until(lambda: all(told in path.read_text() for path in said), *runs)
        deadline = time.monotonic() + 240
        while any(process.poll() is None for process in runs):
            assert time.monotonic() < deadline
            look()
            time.sleep(0.01)
        look()
        assert [process.returncode for process in runs] == [0, 0], [path.read_text() for path in said]
    return Finished(case, cwd, (said[0].read_text(), said[1].read_text()), seen)


@pytest.fixture
def case(both: Finished) -> Case:
    return both.case


@pytest.fixture
def alone(both: Finished) -> Path:
    """A folder in which single processes trained every stage."""
    return both.cwd


@pytest.fixture
def fresh(alone: Path, case: Case, tmp_path: Path) -> Path:
    """A folder with the suite and its data, and no run."""
    (tmp_path / case.file).write_text((alone / case.file).read_text())
    (tmp_path / "data").mkdir()
    for source in (alone / "data").iterdir():
        if source.is_dir() and source.name != "cache":
            (tmp_path / "data" / source.name).symlink_to(source)
    return tmp_path


def torchrun(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [COMMAND.with_name("torchrun"), "--nproc-per-node", "2", "-m", "fewdistill", "run", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=240)


def trained_by_one(suite: OpenedSuite, stage: Stage) -> dict[str, Any]:
    """What a single process makes of a finished stage, from the weights that the same stages before it have."""
    finished = stage.folder.rename(stage.folder.with_name("set-aside"))
    assert run_stage(suite.context, stage, patient=False).state == "done"
    summary = stage.summary()
    shutil.rmtree(stage.folder)
    finished.rename(stage.folder)
    return summary


def test_two_processes_train_as_one(case: Case, alone: Path, fresh: Path) -> None:
    reported = case.name == "small"
    ours = () if reported else ("--no-report",)
    result = torchrun(case.file, "--only", case.row, "--track", "tensorboard", *ours, cwd=fresh)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(f"[1/1] {case.row}\n") == 1 and result.stdout.count("report:") == reported
    suite = open_suite(case, fresh)
    [row] = [row for row in suite.rows() if row.name == case.row]
    divided = {stage.key: stage.summary() for stage in row.trained.walk() if stage.folder.is_dir()}
    trainings = [stage for stage in row.trained.walk() if "curve" in divided.get(stage.key, {})]
    curves = [curve for stage in trainings for curve in ("curve", "base_curve") if divided[stage.key].get(curve)]
    assert len(curves) == case.trainings
    relative = 0.0 if case.name == "small" else 1e-5  # skeleton networks begin with losses of ten and more
    for stage in trainings:
        two, one = divided[stage.key], trained_by_one(suite, stage)
        for curve in ("curve", "base_curve"):  # of the base, too, which is divided by batches
            points = list(zip(two.get(curve, []), one.get(curve, []), strict=True))
            assert points or curve == "base_curve"
            for mine, single in points:
                assert mine == pytest.approx(single, rel=relative, abs=1e-5), stage.title
        assert two["selected_step"] == one["selected_step"]
    followed = [path.parent for path in (case.runs(fresh) / "tracking").rglob("events.out.tfevents.*")]
    assert len(followed) == len(set(followed)) == case.trainings + 1, "trainings and a row, each by the first process"
    records = RecordStore(case.runs(fresh) / "records").all()
    assert {record.provenance["processes"] for record in records} == {2}
    found = outcome(case.runs(fresh)).keys()  # how many processes there were is no part of the key
    assert found and found < outcome(case.runs(alone)).keys()


def test_steps_that_cannot_be_divided_are_refused_before_any_training(case: Case, alone: Path) -> None:
    before = stages(case.runs(alone))
    for change, says in case.undivided.items():
        group = Group(0, 2, "cpu")
        suite = open_suite(case, alone, change, group=group)
        with pytest.raises(UserError, match=rf"^{says} a step cannot be divided over 2 processes: set a multiple of 2"):
            run(suite, lambda rows, at=suite.context, group=group: TorchrunProcesses(at, group))  # type: ignore[misc]
    assert stages(case.runs(alone)) == before


def test_runs_of_one_folder_share_the_work(both: Finished) -> None:
    runs = both.case.runs(both.cwd)
    assert both.seen.keys() == made(runs)
    assert {path: path.stat().st_mtime_ns for path in both.seen} == both.seen, "something was made twice"
    names = {row.name for row in open_suite(both.case, both.cwd).rows()}
    assert {record.provenance["row"] for record in RecordStore(runs / "records").all()} == names
    assert not list((both.cwd / "runs").rglob(".run.json"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two workers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init("local", num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.mark.parametrize("both", CASES[:2], ids=lambda case: case.name, indirect=True)
def test_a_killed_ray_worker_is_replaced_and_nothing_is_lost(
    case: Case, alone: Path, fresh: Path, cluster: str
) -> None:
    runs = case.runs(fresh)
    for shared in case.shared:  # trained before, as in a run that was interrupted
        [stage] = (case.runs(alone) / "stages").glob(f"{shared}-*")
        shutil.copytree(stage, runs / "stages" / stage.name)
    ours = ["--engine", "ray", "--address", cluster, "--track", "tensorboard"]
    process = start("run", case.file, "--no-report", *ours, cwd=fresh)

    def training() -> int:
        """The process that trains."""
        for owner in runs.glob(f"stages/{case.killed}/.run.json"):
            return int(json.loads(owner.read_text())["pid"])
        return 0

    worker = until(training, process)
    os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert weights(runs) == weights(case.runs(alone)) and outcome(runs) == outcome(case.runs(alone))
    trained = stages(runs)
    for name, stage in trained.items():
        part = "supervised" if name.startswith("skeleton-base") else "episodic"
        if not name.startswith(("base-", *case.shared)):
            assert shown_as_stored(runs / "tracking", name, part, stage["curve"])
    assert f"] {case.row}\n" in said and "Traceback" not in said
    assert len(said.splitlines()) < 30, "Ray's own lines"


def test_what_stages_need_stands_before_them(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SUITE)
    suite = open_suite(CASES[0], tmp_path, 'teacher.modalities=["rgb", "skeleton"]')

    def planned() -> dict[str, Any]:
        each = divided(needed(row_stage(suite.context, row) for row in suite.rows()), 2)
        return {stage.title: stage for stage in each}

    stages = planned()
    for number, stage in enumerate(stages.values()):
        assert {parent.title for parent in stage.needs} <= set(list(stages)[:number])
    clips = ["clips-part skeleton 1/2", "clips-part skeleton 2/2", "clips skeleton"]
    taught = ["encoder rgb-s0", "tokens rgb-s0", "encoder skeleton-s0", "tokens skeleton-s0", "fusion s0", "fused s0"]
    rows = ["row teacher/-/s0", f"row {STUDENT}/none/s0", f"row {STUDENT}/d2m/s0"]
    assert list(stages)[:3] == clips and set(stages) >= {*clips, *taught, *rows}
    for title in clips[:2]:
        stages[title].run(stages[title])
    assert stages["clips skeleton"].done  # whose parts were all that there is to do
    assert not set(clips) & set(planned())


def test_what_is_no_cluster_and_no_engine_is_said(tmp_path: Path) -> None:
    for address, why in {"127.0.0.1:1": "refused", "head": "host:port"}.items():
        executor = RayCluster(lambda device: pytest.fail("opened"), address, "cpu")
        with pytest.raises(UserError, match=f"no Ray cluster at {address} .*{why}.*ray start"):
            executor.drive([], lambda stage: None, lambda stage, outcome: None)
    unknown = fewdistill("run", "embedded", "--engine", "spark", cwd=tmp_path)
    assert unknown.returncode == 2 and "choose local or ray" in unknown.stderr


@pytest.mark.parametrize("both", CASES[:1], ids=lambda case: case.name, indirect=True)
def test_the_slurm_recipe_takes_the_row_of_its_number(case: Case, alone: Path) -> None:
    recipe = Path(__file__).parents[1] / "recipes" / "slurm-array.sh"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    rows = [row.name for row in open_suite(case, alone).rows() if row.name.startswith(STUDENT)]
    changed = {"PATH": path, "SLURM_ARRAY_TASK_ID": str(rows.index(case.row)), "PREFIX": STUDENT}
    command = ["bash", recipe, case.file, "--dry-run"]
    taken = subprocess.run(command, cwd=alone, env=environment() | changed, capture_output=True, text=True)
    assert taken.returncode == 0, taken.stderr
    assert case.row in taken.stdout and "1 of 1 rows done" in taken.stdout
