"""`fewdistill derive` killed, stopped and fed broken files: what is finished stands, and the rest is said in a line."""

import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from fewdistill.benchmark.protocols.episodic.derive import derive_clips
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.feature_cache import Store
from tests.command import TINY, fewdistill, start, succeeded
from tests.processes import wait_for, workers_of
from tests.video_suites import opened, small_shards

pytestmark = pytest.mark.slow

SUITE = TINY.replace("image_size = 32", "image_size = 96")  # a second of work, so that a kill comes in the middle
MODALITIES = ("depth", "flow", "skeleton")
Stamps = dict[Path, tuple[int, int]]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite, its data set, and its clips derived without a disturbance, two to a shard."""
    root = tmp_path_factory.mktemp("calm")
    (root / "tiny.toml").write_text(SUITE)
    derive_clips(small(root), workers=1)
    return root


@pytest.fixture
def cwd(calm: Path, tmp_path: Path) -> Path:
    """The same suite and data set with nothing derived."""
    shutil.copytree(calm, tmp_path / "run", ignore=shutil.ignore_patterns("cache"))
    small(tmp_path / "run")
    return tmp_path / "run"


def small(root: Path) -> VideoRun:
    """The suite's run, its empty entries made for shards of two clips, which they keep."""
    run = opened(root / "tiny.toml").run
    for modality in MODALITIES:
        small_shards(run, run.expert(modality), 2)
    return run


def contents(root: Path) -> dict[str, bytes]:
    cache = root / "data" / "cache"
    files = [path for path in cache.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(cache)): path.read_bytes() for path in files}


def stamps(root: Path) -> Stamps:
    """Inode and time of the files of every finished shard."""
    sidecars = (root / "data" / "cache").glob("*/[0-9]*.json")
    files = [path for sidecar in sidecars for path in (sidecar, sidecar.with_suffix(".npy"))]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def disturbed(cwd: Path, number: signal.Signals) -> tuple[int, str]:
    """A derivation by two workers that all get a signal when the first shards stand; exit code and what it said."""
    process = start("derive", "tiny.toml", "--workers", "2", cwd=cwd)
    wait_for(lambda: process.poll() is not None or len(workers_of(process.pid)) == 2)
    workers = workers_of(process.pid)
    wait_for(lambda: process.poll() is not None or len(stamps(cwd)) >= 8)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert len(workers) == 2, said
    assert not psutil.wait_procs(workers, timeout=30)[1], "a worker outlived the command"
    assert 8 <= len(stamps(cwd)) < 180, "the command ended before it could be disturbed"
    assert all(not entry.verify() for entry in Store(cwd / "data" / "cache").entries())
    return process.returncode, said


def test_killed_and_started_again_it_makes_only_what_is_missing(cwd: Path, calm: Path) -> None:
    disturbed(cwd, signal.SIGKILL)
    stood = stamps(cwd)
    result = succeeded("derive", "tiny.toml", "--workers", "2", "--json", cwd=cwd)
    told = json.loads(result.stdout)
    assert [entry["name"] for entry in told] == list(MODALITIES)
    assert all(entry["videos"] == 60 == entry["there"] + entry["made"] for entry in told)
    assert sum(entry["there"] for entry in told) == len(stood)  # two clips and two files a shard
    after = stamps(cwd)
    assert {path: after[path] for path in stood} == stood, "a shard that stood was written again"
    assert contents(cwd) == contents(calm)
    Store(cwd / "data" / "cache").collect()
    assert not list((cwd / "data" / "cache").rglob(".tmp-*"))


def test_a_killed_worker_is_one_line_that_says_what_to_do(cwd: Path, calm: Path) -> None:
    run = opened(cwd / "tiny.toml").run

    def kill_one() -> None:
        wait_for(lambda: len(stamps(cwd)) >= 8 and len(workers_of(os.getpid())) == 2)
        workers_of(os.getpid())[0].kill()

    with ThreadPoolExecutor(1) as beside:
        killing = beside.submit(kill_one)
        with pytest.raises(RunError, match=r"process that derives clips was killed.*with --workers 1"):
            derive_clips(run, workers=2)
        killing.result()
    assert not workers_of(os.getpid())
    stood = stamps(cwd)
    assert 8 <= len(stood) < 180 and not list((cwd / "data" / "cache").rglob("*.rows"))
    derive_clips(run, workers=1)
    assert contents(cwd) == contents(calm) and stood.items() <= stamps(cwd).items()


def test_ctrl_c_stops_the_workers_and_finished_shards_stand(cwd: Path) -> None:
    code, said = disturbed(cwd, signal.SIGINT)  # to the whole group, as a terminal sends it
    assert code == 130 and "Traceback" not in said
    assert "goes on from there" in said
    assert not list((cwd / "data" / "cache").rglob("*.rows"))


def test_a_broken_video_is_named_and_finished_shards_stand(cwd: Path) -> None:
    wrong = fewdistill("derive", "tiny.toml", "--part", "5/4", cwd=cwd)
    assert wrong.returncode == 2 and "--part '5/4': write i/n with i from 1 to n" in wrong.stderr
    (broken,) = sorted((cwd / "data").glob("embedded-*/joints/*/*.npy"))[40:41]
    broken.write_bytes(broken.read_bytes()[:200])
    text = SUITE.replace("[data]", f'[data]\nsource = "folder"\nroot = "{broken.parents[2]}"\nresize = 96')
    (cwd / "mine.toml").write_text(text)
    run = opened(cwd / "mine.toml").run
    entry = small_shards(run, run.expert("skeleton"), 2)
    result = fewdistill("derive", "mine.toml", "--modality", "skeleton", "--workers", "1", cwd=cwd)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert f"error: {broken}: " in result.stderr
    assert 10 <= len(entry.ids()) < 60 and not entry.verify()
    assert not list((cwd / "data" / "cache").rglob("*.rows"))
