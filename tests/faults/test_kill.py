"""kill -9 in derivation, training and evaluation, then the same command again: nothing lost, nothing done twice."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fewdistill.feature_cache import Store
from fewdistill.results.records.store import RecordStore
from tests import shared_runs
from tests.command import MOBILE, fewdistill, start, succeeded
from tests.curves import shown_as_stored
from tests.processes import wait_for, workers_of

pytestmark = pytest.mark.slow


def a_folder(root: Path) -> Path:
    root.mkdir()
    (root / "tiny.toml").write_text(MOBILE.replace('["rgb", "depth", "flow", "skeleton"]', '["rgb", "skeleton"]'))
    return root


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite, run without a disturbance."""
    cwd = a_folder(tmp_path_factory.mktemp("undisturbed") / "calm")
    assert "3 of 3 rows done" in finished(cwd, "--no-report").stdout
    return cwd


def kill_when(happened: Callable[[], bool], cwd: Path) -> None:
    """Start the suite, tracked, kill -9 its whole process group as soon as something has happened."""
    process = start("run", "tiny.toml", "--track", "tensorboard", cwd=cwd)
    shared_runs.until(happened, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def there(folder: Path, pattern: str) -> bool:
    """Whether a file is there; a temporary folder may be renamed while it is listed."""
    try:
        return any(folder.glob(pattern))
    except FileNotFoundError:
        return False


def finished(cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return succeeded("run", "tiny.toml", *options, cwd=cwd)


def outcome(cwd: Path) -> dict[str, tuple[float, bytes]]:
    """See shared_runs.outcome; every record must be scored."""
    run = cwd / "runs" / "tiny"
    found = shared_runs.outcome(run)
    assert len(found) == len(RecordStore(run / "records").all())
    return found


def weights(cwd: Path) -> dict[str, bytes]:
    return shared_runs.weights(cwd / "runs" / "tiny")


def written(cwd: Path) -> dict[Path, int]:
    """When each finished file was written: shards, stages and records."""
    kept = [
        *(cwd / "data" / "cache").rglob("*.npy"),
        *(cwd / "runs").rglob("done.json"),
        *(cwd / "runs").rglob("*.npz"),
    ]
    return {path: path.stat().st_mtime_ns for path in kept}


@pytest.mark.timeout(600)
def test_killed_runs_end_as_an_undisturbed_one(calm: Path, tmp_path: Path) -> None:
    killed = a_folder(tmp_path / "killed")
    assert not (calm / "runs" / "tiny" / "report").exists()
    run = killed / "runs" / "tiny"

    kill_when(lambda: there(killed / "data" / "cache", "*/*.npy"), killed)  # deriving
    kill_when(lambda: there(run, "stages/encoder-*/*.pt"), killed)  # training an encoder
    kill_when(lambda: there(run, "stages/student-*/episodic.pt"), killed)  # training a student
    results, _ = RecordStore(run / "records").scan()
    left = [result.record.standing for result in results if result.record.status == "started"]
    assert left and all(re.match(r"started 20\d\d-\S+, not finished", line) for line in left)
    assert all(result.correct is None for result in results if result.record.status != "done")
    kill_when(lambda: there(run, "records/*.npz"), killed)  # between the records of a row
    stood = written(killed)
    assert stood
    finished(killed, "--track", "tensorboard", "--no-report")

    after = written(killed)
    assert {path: after[path] for path in stood} == stood, "something that stood was computed again"
    assert weights(killed) == weights(calm)
    assert outcome(killed) == outcome(calm)
    assert all(not entry.verify() for entry in Store(killed / "data" / "cache").entries())
    trained = {path.parent.name: json.loads(path.read_text())["curve"] for path in run.glob("stages/*/done.json")}
    for name, curve in trained.items():
        assert shown_as_stored(run / "tracking", name, "base" if name.startswith("base") else "episodic", curve), name
    unfinished = [*killed.rglob("*.tmp"), *killed.rglob(".tmp-*")]
    leftovers = [p for p in unfinished if "stages" in p.parts or "records" in p.parts]
    assert len(leftovers) <= 4  # at most the unit in flight of each kill, under a name nothing reads

    again = finished(killed)
    assert written(killed) == after, "a finished suite was run again"
    assert "[1/" not in again.stderr
    page = killed / "runs" / "tiny" / "report" / "report.html"
    assert page.exists() and str(page.relative_to(killed)) in again.stdout


def trainers(run: Path, pattern: str) -> set[int]:
    """The processes that work at the stages of some folders."""
    found = set()
    for owner in run.glob(f"stages/{pattern}/.run.json"):
        with suppress(OSError, ValueError):  # done in between
            found.add(int(json.loads(owner.read_text())["pid"]))
    return found


@pytest.mark.timeout(600)
def test_killed_workers_and_killed_parents_of_workers_end_as_an_undisturbed_run(calm: Path, tmp_path: Path) -> None:
    killed = a_folder(tmp_path / "killed")
    run, command = killed / "runs" / "tiny", ("run", "tiny.toml", "--no-report", "--workers", "2")

    first = start(*command, cwd=killed)
    wait_for(lambda: first.poll() is not None or bool(trainers(run, "encoder-*")))
    workers = workers_of(first.pid)
    assert len(workers) == 2 and trainers(run, "encoder-*") <= {worker.pid for worker in workers}
    os.kill(first.pid, signal.SIGKILL)  # the parent alone: its workers must notice
    first.communicate()
    assert not psutil.wait_procs(workers, timeout=30)[1], "a worker outlived the command"
    stood = written(killed)

    second = start(*command, cwd=killed)
    wait_for(lambda: second.poll() is not None or bool(trainers(run, "student-*")))
    workers = workers_of(second.pid)
    victim = trainers(run, "student-*").pop()
    assert victim in {worker.pid for worker in workers}
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: second.poll() is not None or bool({w.pid for w in workers_of(second.pid)} - {victim}))
    workers += workers_of(second.pid)  # those that came after
    _, said = second.communicate(timeout=200)
    assert second.returncode == 0 and "Traceback" not in said, said
    assert not psutil.wait_procs(workers, timeout=30)[1], "a worker outlived the command"

    after = written(killed)
    assert {path: after[path] for path in stood} == stood, "something that stood was computed again"
    assert weights(killed) == weights(calm)
    assert outcome(killed) == outcome(calm)
    assert all(not entry.verify() for entry in Store(killed / "data" / "cache").entries())


@pytest.mark.timeout(300)
def test_a_damaged_shard_is_named_repaired_and_recomputed(calm: Path, tmp_path: Path) -> None:
    cwd = shutil.copytree(calm, tmp_path / "run")
    before = outcome(cwd)
    victim = max((cwd / "data" / "cache").rglob("*.npy"), key=lambda path: path.stat().st_mtime_ns)
    content = bytearray(victim.read_bytes())
    content[-1] ^= 0x40
    victim.write_bytes(content)
    rerun = fewdistill("run", "tiny.toml", "--no-report", "--overwrite", cwd=cwd)
    assert rerun.returncode == 1 and victim.name in rerun.stderr and "--repair" in rerun.stderr
    assert outcome(cwd) == before, "a row that failed took finished records with it"
    found = fewdistill("cache", "verify", cwd=cwd)
    assert found.returncode == 1 and victim.name in found.stdout and "--repair" in found.stderr
    assert fewdistill("cache", "verify", "--repair", cwd=cwd).returncode == 0
    for record in (cwd / "runs" / "tiny" / "records").iterdir():
        record.unlink()
    finished(cwd, "--no-report")
    assert outcome(cwd) == before
    assert fewdistill("cache", "verify", cwd=cwd).returncode == 0
    status = json.loads(fewdistill("status", "tiny.toml", "--json", cwd=cwd).stdout)
    assert len(status) == 3 and all(set(row["status"].values()) == {"done"} for row in status)

    stages = written(cwd)
    other = fewdistill("run", "tiny.toml", "--set", "evaluate.episodes=100", cwd=cwd)
    assert other.returncode == 0, other.stderr  # records of both settings stand in the folder, these are reported
    assert {path: when for path, when in written(cwd).items() if path in stages} == stages
    entries = json.loads(fewdistill("cache", "ls", "--json", cwd=cwd).stdout)
    removed = fewdistill("cache", "rm", entries[0]["digest"][:12], cwd=cwd)
    assert removed.returncode == 0, removed.stderr
    assert len(json.loads(fewdistill("cache", "ls", "--json", cwd=cwd).stdout)) == len(entries) - 1
    for arrays in (cwd / "runs" / "tiny" / "records").glob("*.npz"):
        arrays.unlink()
    status = json.loads(fewdistill("status", "tiny.toml", "--json", cwd=cwd).stdout)
    assert all(set(row["status"].values()) == {"missing"} for row in status), "done without its arrays is not done"
    nothing = fewdistill("run", "tiny.toml", "--only", "resnet18/*", cwd=cwd)
    assert nothing.returncode == 2 and "mobilenetv3_small/none/s0" in nothing.stderr
