"""One suite in one process; by two of torchrun; by two runs side by side; on a Ray cluster: the same weights, records.

And what fails on one of several processes, and the recipe for Slurm.
"""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from fewdistill.benchmark.graph.runner import open_workspace, run
from fewdistill.benchmark.graph.status import status

from fewdistill.benchmark.graph.ray import plan_tasks, run_on_ray
from fewdistill.benchmark.protocols.episodic.teacher import encoder_stage
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.process_group import Group
from fewdistill.benchmark.suite.load import load_suite
from fewdistill.feature_cache import run_lock
from fewdistill.results.records.store import RecordStore
from tests.command import COMMAND, environment, fewdistill, start
from tests.curves import shown_as_stored
from tests.gloo_pair import take_part

pytestmark = pytest.mark.slow

SUITE = """
name = "small"
seeds = [0]
students = ["mobilenetv3_small"]
distillation = ["none", "d2m"]
width = 16

[data]
clips_per_class = 4
train_classes = 4
val_classes = 3
test_classes = 3
frames = 2
image_size = 32

[head]
width = 8

[teacher]
modalities = ["rgb"]
encoder = "mobilenetv3_small"
base = {epochs = 1, batch = 8}
episodic = {way = 3, shot = 1, query = 1, episodes = 8, accumulate = 4, validate_every = 4}
fusion = {way = 3, shot = 1, query = 1, episodes = 40, accumulate = 4, layers = 1, feedforward = 8, validate_every = 20}

[base]
epochs = 2
batch = 8

[episodic]
way = 3
shot = 2
query = 1
adapt_episodes = 4
episodes = 24
accumulate = 4
validate_every = 8

[evaluate]
way = 3
shots = [1]
episodes = 100
val_shot = 2
val_episodes = 50
"""
STUDENT = "mobilenetv3_small"


@dataclass(frozen=True)
class Finished:
    """The suite, run by two processes side by side. said: what each told; encoder: the stage both had to wait for;
    written: when its end was first seen."""

    cwd: Path
    said: tuple[str, str]
    encoder: Path
    written: int


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run of the whole suite, one of a row of it, and a stage that both need held until both wait for it."""
    cwd = tmp_path_factory.mktemp("both")
    (cwd / "small.toml").write_text(SUITE)
    ws = open_workspace(load_suite(str(cwd / "small.toml")), cwd / "runs", cwd / "data", "cpu")
    encoder = encoder_stage(ws, "rgb", 0).folder
    said = cwd / "one", cwd / "two"
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("w")) for path in said]
        with run_lock(encoder):
            runs = []
            for file, only in zip(files, (["--only", f"{STUDENT}/d2m/*"], []), strict=True):
                command, quiet = [COMMAND, "run", "small.toml", "--no-report", *only], subprocess.DEVNULL
                runs.append(subprocess.Popen(command, cwd=cwd, env=environment(), stdout=quiet, stderr=file, text=True))
                stack.callback(runs[-1].kill)
            told = f"[waiting for {encoder.name}: process {os.getpid()} on "
            until(lambda: all(told in path.read_text() for path in said), *runs)
        done = encoder / "done.json"
        written = until(lambda: done.exists() and done.stat().st_mtime_ns, *runs)
        assert [process.wait(timeout=200) for process in runs] == [0, 0], [path.read_text() for path in said]
    return Finished(cwd, (said[0].read_text(), said[1].read_text()), encoder, written)


@pytest.fixture
def alone(both: Finished) -> Path:
    """A folder in which single processes trained every stage."""
    return both.cwd


@pytest.fixture
def fresh(alone: Path, tmp_path: Path) -> Path:
    """A folder with the suite and its data, and no run."""
    (tmp_path / "small.toml").write_text(SUITE)
    (tmp_path / "data").mkdir()
    embedded = next((alone / "data").glob("embedded-*"))
    (tmp_path / "data" / embedded.name).symlink_to(embedded)
    return tmp_path


def stages(cwd: Path) -> dict[str, dict[str, Any]]:
    return {p.parent.name: json.loads(p.read_text()) for p in (cwd / "runs/small/stages").glob("*/done.json")}


def weights(cwd: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in (cwd / "runs/small/stages").glob("*/weights.safetensors")}


def outcome(cwd: Path) -> dict[str, tuple[float, bytes]]:
    """Accuracy and per-query correctness of every record, by key."""
    store = RecordStore(cwd / "runs/small/records")
    return {r.key: (r.metrics.accuracy, store.arrays(r.key)["correct"].tobytes()) for r in store.all() if r.metrics}


def until(happened: Callable[[], Any], *processes: subprocess.Popen[str]) -> Any:
    """What ``happened`` gives as soon as it gives something; the processes must not end before."""
    deadline = time.monotonic() + 120
    while not (found := happened()):
        for process in processes:
            assert process.poll() is None, "ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def torchrun(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [
        COMMAND.with_name("torchrun"),
        "--nproc-per-node",
        "2",
        "-m",
        "fewdistill.benchmark.cli.main",
        "run",
        "small.toml",
    ]
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=240
    )


def test_two_processes_train_as_one(alone: Path, fresh: Path) -> None:
    result = torchrun("--only", f"{STUDENT}/d2m/s0", "--track", "tensorboard", cwd=fresh)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(f"[1/1] {STUDENT}/d2m/s0\n") == 1 and result.stdout.count("report:") == 1
    ours, theirs = stages(fresh), stages(alone)
    assert {name.split("-")[0] for name in ours} == {"encoder", "fusion", "base", "student"}
    for name, stage in ours.items():
        points = list(zip(stage["curve"], theirs[name]["curve"], strict=True))
        assert len(points) >= 4
        for mine, single in points:
            assert mine == pytest.approx(single, abs=1e-5)
        assert stage["selected_step"] == theirs[name]["selected_step"]
    followed = [path.parent for path in (fresh / "runs/small/tracking").rglob("events.out.tfevents.*")]
    assert len(followed) == len(set(followed)) == 7, "six trainings and a row, each tracked by the first process alone"
    records = RecordStore(fresh / "runs/small/records").all()
    assert [record.provenance["processes"] for record in records] == [2]
    assert outcome(fresh).keys() < outcome(alone).keys()  # how many processes there were is no part of the key


def test_episodes_that_cannot_be_divided_are_refused_before_any_training(alone: Path) -> None:
    suite = load_suite(str(alone / "small.toml"), ("episodic.accumulate=3",))
    ws = open_workspace(suite, alone / "runs", alone / "data", "cpu", group=Group(0, 2, "cpu"))
    before = stages(alone)
    with pytest.raises(UserError, match=r"^episodic.accumulate = 3 episodes a step cannot be divided over 2"):
        run(ws, [f"{STUDENT}/none/*"])
    assert stages(alone) == before


def test_runs_of_one_folder_share_the_work(both: Finished) -> None:
    assert (both.encoder / "done.json").stat().st_mtime_ns == both.written, "a stage was trained twice"
    row = f"] {STUDENT}/d2m/s0\n"
    assert sum(row in text for text in both.said) == 1, "a row was run twice"
    assert len(outcome(both.cwd)) == 3
    assert not list((both.cwd / "runs").rglob(".run.json"))


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of two workers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init("local", num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.mark.timeout(240)
def test_a_worker_killed_in_a_cell_is_replaced_and_nothing_is_lost(alone: Path, fresh: Path, cluster: str) -> None:
    run = fresh / "runs" / "small"
    for shared in ("encoder", "fusion"):  # trained before, as in a run that was interrupted
        [stage] = (alone / "runs" / "small" / "stages").glob(f"{shared}-*")
        shutil.copytree(stage, run / "stages" / stage.name)
    process = start(
        "run", "small.toml", "--no-report", "--engine", "ray", "--address", cluster, "--track", "tensorboard", cwd=fresh
    )

    def training() -> int:
        """The process that trains a student's episodes."""
        for owner in run.glob("stages/student-*/.run.json"):
            return int(json.loads(owner.read_text())["pid"])
        return 0

    worker = until(training, process)
    os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert weights(fresh) == weights(alone) and outcome(fresh) == outcome(alone)
    [(name, student)] = [(name, stage) for name, stage in stages(fresh).items() if "-d2m-" in name]
    assert shown_as_stored(run / "tracking", name, "episodic", student["curve"])
    assert f"] {STUDENT}/d2m/s0\n" in said and "Traceback" not in said
    assert len(said.splitlines()) < 30, "Ray's own lines"


def test_what_tasks_need_stands_before_them(fresh: Path) -> None:
    suite = load_suite(str(fresh / "small.toml"), ('teacher.modalities=["rgb", "skeleton"]',))
    ws = open_workspace(suite, fresh / "runs", fresh / "data", "cpu")
    tasks = plan_tasks(ws, status(ws), overwrite=False, workers=2)
    titles: list[str] = []
    for task in tasks.values():
        assert {tasks[need].title for need in task.needs} <= set(titles)
        titles.append(task.title)
    shared = ["clips 1/1", "encoder rgb s0", "encoder skeleton s0", "teacher s0"]
    assert titles == [*shared, "teacher/-/s0", f"base {STUDENT} plain s0", f"{STUDENT}/none/s0", f"{STUDENT}/d2m/s0"]
    clips = ws.clip_entry("skeleton")
    assert clips.missing(ws.all_videos) and tasks["clips 1"].work(ws, {}) == ""
    assert not clips.missing(ws.all_videos)
    assert "clips 1" not in plan_tasks(ws, status(ws), overwrite=False, workers=2)


def test_what_is_no_cluster_and_no_engine_is_said(tmp_path: Path) -> None:
    for address, why in {"127.0.0.1:1": "refused", "head": "host:port"}.items():
        with pytest.raises(UserError, match=f"no Ray cluster at {address} .*{why}.*ray start"):
            run_on_ray(None, [], False, address=address, device="cpu")  # type: ignore[arg-type]
    unknown = fewdistill("run", "embedded", "--engine", "spark", cwd=tmp_path)
    assert unknown.returncode == 2 and "choose local or ray" in unknown.stderr


def test_the_slurm_recipe_takes_the_row_of_its_number(alone: Path) -> None:
    recipe = Path(__file__).parents[1] / "recipes" / "slurm-array.sh"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    changed = {"PATH": path, "SLURM_ARRAY_TASK_ID": "1", "PREFIX": STUDENT}
    command = ["bash", recipe, "small.toml", "--dry-run"]
    second = subprocess.run(command, cwd=alone, env=environment() | changed, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert f"{STUDENT}/d2m/s0" in second.stdout and "1 of 1 rows done" in second.stdout


def test_gradients_add_up_and_a_failure_is_known_to_all(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    told = spawn.Queue()
    processes = [spawn.Process(target=take_part, args=(rank, str(tmp_path / "meet"), told)) for rank in range(2)]
    for process in processes:
        process.start()
    found = dict(told.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    for rank in range(2):
        assert found[rank][:4] == [5, [1.0, 1.0, 1.0, 7.0], {"loss": 3.0}, [3.0, 2.0, None]]
        assert found[rank][5] == [0, 1]
    assert found[0][4] == ("ElsewhereError", "process 1: no memory")
    assert found[1][4] == ("RunError", "no memory")
    assert found[0][6] == ("UserError", "no such data")
    assert found[1][6] == ("RunError", "process 1 ends, for process 0 failed: no such data")
