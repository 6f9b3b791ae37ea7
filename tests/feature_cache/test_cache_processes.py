"""Real processes that are killed, that race, that run out of room."""

import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cache_rows import HERE, KEY, bytes_of, fill, filled, rows_of, start, videos

from fewdistill.feature_cache import CacheError, Store, run_lock
from fewdistill.feature_cache.atomic import explained, temporary_path
from fewdistill.feature_cache.lock import publish_lock

OPEN = """
import sys, numpy as np
from cache_rows import KEY, fill, rows_of, videos
from fewdistill.feature_cache import CacheError, Store, run_lock
def entry(count, rows): return Store(sys.argv[1]).entry(KEY, row_shape=(64, 64), dtype='float32', rows_per_shard=rows)
def ready():
    print('ready', flush=True)
    sys.stdin.readline()
"""
BIG = (64, 64)


def go(*processes):
    """Let processes that wait in ready() go on together."""
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def ended(*processes):
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        yield output


def test_killed_at_random_moments_and_resumed_ends_byte_for_byte_as_undisturbed(tmp_path):
    count, rows, rng = 400, 4, random.Random(3)
    script = OPEN + f"ready(); fill(entry({count}, {rows}), videos({count}))"
    undisturbed = Store(tmp_path / "calm").entry(KEY, row_shape=BIG, dtype="float32", rows_per_shard=rows)
    fill(undisturbed, videos(count))
    root, killed, leftovers = tmp_path / "storm", 0, 0
    for _ in range(40):
        process = start(script, root)
        go(process)
        time.sleep(rng.uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        leftovers += len(list(root.glob("**/.tmp-*")))
        if root.exists() and Store(root).entries():
            reader = Store(root).open(KEY)
            assert reader.verify() == []
            np.testing.assert_array_equal(reader.gather(reader.ids())[:, 0, 0], rows_of(reader.ids(), BIG)[:, 0, 0])
        if killed >= 6 and leftovers:
            break
    process = start(script, root)
    go(process)
    list(ended(process))
    entry = Store(root).open(KEY)
    assert bytes_of(entry.folder) == bytes_of(undisturbed.folder)
    assert killed >= 6 and leftovers > 0
    Store(root).collect()
    assert not list(root.glob("**/.tmp-*"))
    assert bytes_of(entry.folder) == bytes_of(undisturbed.folder)


def test_four_workers_share_a_plan_by_shard_number(tmp_path):
    script = OPEN + """
e = entry(60, 4)
ready()
for shard in e.plan(videos(60)):
    if shard.index % 4 == int(sys.argv[2]):
        e.write(shard, rows_of(shard.ids, (64, 64)))
"""  # fmt: skip
    workers = [start(script, tmp_path, number) for number in range(4)]
    go(*workers)
    list(ended(*workers))
    entry = Store(tmp_path).open(KEY)
    assert entry.ids() == sorted(videos(60)) and entry.verify() == []
    assert len(list(entry.folder.glob("*.npy"))) == 15
    np.testing.assert_array_equal(entry.gather(videos(60)), rows_of(videos(60), BIG))


def test_workers_that_write_the_same_shards_leave_each_whole(tmp_path):
    # Each adds its own number to the rows, as two machines' rounding might: a shard must be one worker's throughout.
    script = OPEN + """
e = entry(60, 4)
plan = e.plan(videos(60))
ready()
for shard in plan:
    e.write(shard, rows_of(shard.ids, (64, 64)) + 1000 * int(sys.argv[2]))
"""  # fmt: skip
    workers = [start(script, tmp_path, number) for number in range(3)]
    go(*workers)
    list(ended(*workers))
    entry = Store(tmp_path).open(KEY)
    assert entry.verify() == [] and len(list(entry.folder.glob("*.npy"))) == 15
    ids = entry.ids()
    author = (entry.gather(ids) - rows_of(ids, BIG)) / 1000
    for chunk in range(0, 60, 4):
        assert np.unique(author[chunk : chunk + 4]).size == 1
    assert not list(entry.folder.glob(".tmp-*"))


def test_a_shard_takes_its_number_under_the_lock(tmp_path):
    worker = start(OPEN + "fill(entry(4, 4), videos(4))", tmp_path)
    entry = Store(tmp_path).entry(KEY, row_shape=BIG, dtype="float32", rows_per_shard=4)
    with publish_lock(entry.folder):
        while not list(entry.folder.glob(".tmp-*.json")):
            assert worker.poll() is None, worker.stderr.read()
            time.sleep(0.01)
        time.sleep(0.2)
        assert bytes_of(entry.folder).keys() == {"entry.json"}
    list(ended(worker))
    assert bytes_of(entry.folder).keys() == {"entry.json", "00000.npy", "00000.json"}


def test_one_entry_made_by_many_at_once(tmp_path):
    script = OPEN + "ready(); print(entry(1, int(sys.argv[2])).rows_per_shard)"
    makers = [start(script, tmp_path / "deep" / "cache", number + 1) for number in range(5)]
    go(*makers)
    assert len(set(ended(*makers))) == 1
    assert [path.name for path in (tmp_path / "deep" / "cache").iterdir()] == [KEY.digest]


def test_a_second_run_is_refused_and_a_killed_one_holds_nothing(tmp_path):
    script = OPEN + "\nwith run_lock(sys.argv[1]):\n    ready()"
    holder = start(script, tmp_path / "runs")
    assert holder.stdout.readline() == "ready\n"
    told = f"process {holder.pid} on {socket.gethostname()}"
    with pytest.raises(CacheError, match=told), run_lock(tmp_path / "runs"):
        pytest.fail("two runs at once")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    told = f"process {os.getpid()}"
    with run_lock(tmp_path / "runs"), pytest.raises(CacheError, match=told), run_lock(tmp_path / "runs"):
        pytest.fail("two runs at once")
    with run_lock(tmp_path / "runs"):
        assert (tmp_path / "runs" / ".run.json").exists()
    assert not (tmp_path / "runs" / ".run.json").exists()


LIMITED = OPEN + """
import resource
e = entry(20, 16)
fill(e, videos(20)[:1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    fill(e, videos(20))
except CacheError as error:
    print(error)
"""  # fmt: skip


def test_a_file_size_limit_leaves_no_partial_shard(tmp_path):
    (said,) = ended(start(LIMITED, tmp_path))
    entry = Store(tmp_path).open(KEY)
    needed = 128 + 16 * 64 * 64 * 4
    assert f"no room in {entry.folder}" in said and f"{needed} bytes needed" in said and "bytes free" in said
    assert bytes_of(entry.folder).keys() == {"entry.json", "00000.npy", "00000.json"}
    assert not list(entry.folder.glob(".tmp-*")) and entry.verify() == []
    fill(entry, videos(20))
    np.testing.assert_array_equal(entry.gather(videos(20)), rows_of(videos(20), BIG))


FULL = OPEN + """
e = entry(40, 8)
try:
    fill(e, videos(40))
except CacheError as error:
    print(error)
fresh = Store(sys.argv[1]).open(KEY)
np.testing.assert_array_equal(fresh.gather(fresh.ids()), rows_of(fresh.ids(), (64, 64)))
print(len(fresh.ids()), fresh.verify(), [path.name for path in fresh.folder.glob('.tmp-*')])
"""  # fmt: skip


def test_a_full_disk_keeps_what_was_finished(tmp_path):
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=400k none {shlex.quote(str(tmp_path))}"
    if not shutil.which("unshare") or subprocess.run([*alone, mount], capture_output=True).returncode:
        pytest.skip("no file system of a chosen size can be mounted here")
    command = [*alone, f'{mount} && exec "$0" "$@"', sys.executable, "-c", FULL, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
    assert result.returncode == 0, result.stderr
    said, left = result.stdout.splitlines()
    assert "no room in" in said and f"{128 + 8 * 64 * 64 * 4} bytes needed" in said
    assert left == "16 [] []"


def test_no_space_is_told_with_the_bytes(tmp_path):
    said = rf"no room in {tmp_path} for x\.npy: 77 bytes needed, \d+ bytes free"
    with pytest.raises(CacheError, match=said), explained(tmp_path / "x.npy", 77):
        Path("/dev/full").write_bytes(b"\0" * 77)


def test_collect_takes_only_what_is_abandoned(tmp_path):
    entry = filled(tmp_path, count=4)
    before = bytes_of(entry.folder)
    dead = start("pass")
    dead.communicate()
    mine = temporary_path(entry.folder / "00007.npy")
    gone = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
    host = mine.name.split("-")[1]
    elsewhere = gone.with_name(gone.name.replace(host, "0" * 8))
    ancient = elsewhere.with_name(elsewhere.name + "x")
    aside = tmp_path / gone.name
    orphan = entry.folder / "00009.npy"
    for path in (mine, gone, elsewhere, ancient, orphan):
        path.write_bytes(b"part of a shard")
    aside.mkdir()
    (aside / "entry.json").write_text("{}")
    os.utime(ancient, (time.time() - 3700,) * 2)
    assert set(Store(tmp_path).collect()) == {gone, ancient, aside, orphan}
    assert mine.exists() and elsewhere.exists() and not aside.exists()
    assert bytes_of(entry.folder) == before
    assert entry.ids() == sorted(videos(4)) and entry.verify() == []
