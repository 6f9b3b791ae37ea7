"""`fewdistill data pack` as a user calls it: the same records from the pack, one-line errors, and kill -9."""

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import psutil
import pytest

from fewdistill.benchmark.data.synthetic import EmbeddedSpec, generate
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.results.records.store import RecordStore
from tests.command import TINY, fewdistill, start, succeeded
from tests.data.folders import picture, write_image, write_lists
from tests.shared_runs import until, weights
from tests.skeleton_suites import run_here
from tests.video_suites import opened

pytestmark = pytest.mark.slow

SETTINGS = ("base.epochs=2", "episodic.episodes=10", "evaluate.episodes=50")


def output(cwd: Path, *settings: str) -> dict[str, bytes]:
    """Weights and per-episode results of a student's run, by stage and record."""
    suite = opened(cwd / "mine.toml", *SETTINGS, *settings)
    assert all(row.done for row in run_here(suite, ["pico/none/*"]))
    runs = suite.context.runs
    store = RecordStore(runs / "records")
    return weights(runs) | {record.key: store.arrays(record.key)["correct"].tobytes() for record in store.all()}


def test_a_run_from_a_pack_is_the_run_from_the_files(tmp_path: Path) -> None:
    spec = EmbeddedSpec(size=40, frames=7, clips_per_class=6, train_classes=4, val_classes=3, test_classes=3)
    generate(tmp_path / "set", spec)
    (tmp_path / "mine.toml").write_text(
        TINY.replace("[data]", f'[data]\nsource = "folder"\nroot = "{tmp_path / "set"}"')
    )
    from_files = output(tmp_path)
    assert len(from_files) == 4
    (tmp_path / "runs").rename(tmp_path / "kept")

    asked = ["data", "pack", "set", "--frames", "4", "--resize", "37", "--out", "small"]
    packed = succeeded(*asked, cwd=tmp_path)
    assert "60 of 60 videos to pack into small: about" in packed.stderr
    assert 'set data.pack = "small"' in packed.stdout
    assert output(tmp_path, f"data.pack={tmp_path / 'small'}") == from_files

    shard = tmp_path / "small" / "00000.rgb"
    content = bytearray(shard.read_bytes())
    content[12345] ^= 4
    shard.write_bytes(content)
    found = fewdistill("data", "pack", "set", "--out", "small", "--verify", cwd=tmp_path)
    assert found.returncode == 2 and "00000.rgb: the bytes are not those that were written" in found.stdout
    frame = next((tmp_path / "set" / "l8" / "rgb_l8").rglob("*.jpg"))
    write_image(frame, picture(9, 9, 40, 40))
    with pytest.raises(DataError, match="have changed since they were packed; call `fewdistill data pack`"):
        output(tmp_path, f"data.pack={tmp_path / 'small'}")


def six_hundred(root: Path) -> list[str]:
    """Videos of one frame; what they are called."""
    lists = {split: [f"{split}/v{number}" for number in range(200)] for split in ("train", "val", "test")}
    write_lists(root, lists)
    for split, videos in lists.items():
        for seed, video in enumerate(videos):
            write_image(root / "l8" / "rgb_l8" / video / "1.png", picture(seed, len(split)))
    return [video for videos in lists.values() for video in videos]


@pytest.mark.timeout(300)
def test_a_killed_pack_goes_on_and_leaves_no_process(tmp_path: Path) -> None:
    videos = six_hundred(tmp_path / "set")
    asked = ["data", "pack", "set", "--frames", "1", "--resize", "64", "--workers", "2"]
    first = start(*asked, cwd=tmp_path)
    out = tmp_path / "set" / "pack"
    until(lambda: list(out.glob("0*.json")), first)
    workers = psutil.Process(first.pid).children(recursive=True)
    assert len(workers) >= 2
    os.kill(first.pid, signal.SIGKILL)  # the parent alone: its workers must notice
    first.communicate()
    psutil.wait_procs(workers, timeout=30)
    assert not [worker for worker in workers if worker.is_running()]
    assert not (out / "pack.json").exists()
    stood = {path: path.stat().st_mtime_ns for path in out.glob("0*.json")}
    assert 1 <= len(stood) <= 3
    succeeded(*asked[:-1], "1", cwd=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in stood} == stood
    assert not list(out.glob(".tmp-*"))
    sizes = {"frames": 1, "image_size": 64, "resize": 64}
    files = VideoFolder(tmp_path / "set", **sizes)
    pack = VideoFolder(tmp_path / "set", **sizes, pack=out)
    for video in videos:
        np.testing.assert_array_equal(files.raw(video), pack.raw(video))


def test_ctrl_c_while_packing_stops_at_once(tmp_path: Path) -> None:
    six_hundred(tmp_path / "set")
    asked = ["data", "pack", "set", "--frames", "1", "--resize", "800", "--workers", "2"]
    process = start(*asked, cwd=tmp_path)
    out = tmp_path / "set" / "pack"
    until(lambda: list(out.glob(".tmp-*.rgb")), process)
    process.send_signal(signal.SIGINT)
    try:
        _, said = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 130 and "Traceback" not in said
    assert not list(out.glob(".tmp-*")) and not (out / "pack.json").exists()
