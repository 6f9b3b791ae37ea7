"""Records on disk that are not whole: each is named, and no figure comes of it."""

import errno
import multiprocessing
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fewdistill.results import ResultError
from fewdistill.results.records.record import Cost
from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.page import write_report
from fewdistill.results.summary.rows import summarise
from tests.results import made


def test_every_broken_file_is_named(store: RecordStore) -> None:
    record, arrays = made.finished(made.student(), 0.7)
    good = store.write(record, arrays)
    whole = good.read_text()
    half = store.root / ("1" * 64 + ".json")
    half.write_text(whole[: len(whole) // 2])
    renamed = store.root / ("2" * 64 + ".json")
    renamed.write_text(whole)
    foreign = store.root / "notes.txt"
    foreign.write_text("mine")
    other = store.root / "other.json"
    other.write_text("[1, 2]")
    left = store.root / f".{record.key}.npz.17.tmp"
    left.write_bytes(b"half")
    results, problems = store.scan()
    assert [result.record for result in results] == [record]
    assert {problem.path for problem in problems} == {half, renamed, foreign, other, left}
    assert {problem.path for problem in problems if problem.unfinished} == {left}
    with pytest.raises(ResultError) as caught:
        store.all()
    for path in (half, renamed, foreign, other):
        assert str(path) in str(caught.value)
    assert str(left) not in str(caught.value)


def test_cut_or_missing_arrays_are_named(store: RecordStore) -> None:
    record, arrays = made.finished(made.student(), 0.7)
    npz = store.write(record, arrays).with_suffix(".npz")
    npz.write_bytes(npz.read_bytes()[:200])
    with pytest.raises(ResultError, match=f"{record.key}.npz: corrupt"):
        store.arrays(record.key)
    npz.unlink()
    with pytest.raises(ResultError, match=f"{record.key}.npz: the arrays"):
        store.all()


Damage = Callable[[bytes], Iterator[bytes]]


def cut(sound: bytes) -> Iterator[bytes]:
    for length in range(0, len(sound), max(1, len(sound) // 40)):
        yield sound[:length]
        yield sound[:length] + bytes(len(sound) - length)  # as a file system may leave it after a power cut


def flipped(sound: bytes) -> Iterator[bytes]:
    for place in range(0, len(sound), max(1, len(sound) // 150)):
        yield sound[:place] + bytes([sound[place] ^ (1 << place % 8)]) + sound[place + 1 :]


@pytest.mark.parametrize("damage", [cut, flipped])
@pytest.mark.parametrize("pattern", ["{key}.json", "{key}.npz", "episodes-*.npz"])
def test_no_figure_comes_of_a_damaged_file(pattern: str, damage: Damage, store: RecordStore) -> None:
    record, arrays = made.finished(made.student(), 0.7, count=60, cost=Cost(macs_per_episode=1e9))
    store.write(record, arrays)
    [file] = store.root.glob(pattern.format(key=record.key))
    [before], _ = store.scan()
    refused = 0
    for spoilt in damage(file.read_bytes()):
        file.write_bytes(spoilt)
        results, problems = store.scan()
        if problems:
            refused += 1
            assert results == [] == summarise(results) and record.key in str(problems[0])
        else:  # a bit that carries nothing, such as a time stamp
            assert results[0].record == before.record and results[0].episodes == before.episodes
            assert np.array_equal(results[0].correct, before.correct)  # type: ignore[arg-type]
            assert np.array_equal(results[0].predicted, before.predicted)  # type: ignore[arg-type]
    assert refused > (78 if damage is cut else 100)


def test_a_report_shows_what_is_sound_and_names_what_is_not(store: RecordStore, tmp_path: Path) -> None:
    cut, bare, lost, sound = (made.finished(made.student(f"net_{i}"), 0.5 + i / 10, count=60) for i in range(4))
    running = made.unfinished(made.student("net_4"), "started")
    for record, arrays in (cut, bare, lost, sound):
        store.write(record, arrays)
    store.write(running.model_copy(update={"provenance": {"date": "2026-01-02T03:04:05+00:00"}}))
    file = store.root / f"{cut[0].key}.json"
    file.write_text(file.read_text()[:-40])
    (store.root / f"{bare[0].key}.npz").unlink()
    (store.root / f"{lost[0].key}.json").unlink()
    (store.root / f".{lost[0].key}.json.1.tmp").write_text("{")
    results, problems = store.scan()
    told = {problem.path.name.strip(".")[:64]: problem for problem in problems}
    assert set(told) == {each[0].key for each in (cut, bare, lost)}
    assert told[lost[0].key].unfinished and not told[bare[0].key].unfinished
    rows = {row.setting.model: row for row in summarise(results)}
    assert set(rows) == {"net_3", "net_4"} and rows["net_3"].accuracy is not None
    assert rows["net_4"].accuracy is None
    assert rows["net_4"].why == "seed 0 started 2026-01-02T03:04:05+00:00, not finished"
    page = write_report(store.root, tmp_path / "out").read_text()
    assert all(f"{each[0].key}." in page for each in (cut, bare, lost))
    for record, _ in (cut, bare, lost):
        assert record.metrics is not None and f"{100 * record.metrics.accuracy:.2f}" not in page


def test_damaged_episodes_are_looked_at_once(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    for seed in range(5):
        store.write(*made.finished(made.student(seed=seed), 0.7, count=60))
    [shared] = store.root.glob("episodes-*.npz")
    shared.write_bytes(b"PK")
    real = zipfile.ZipFile
    monkeypatch.setattr(
        "fewdistill.results.records.arrays.zipfile.ZipFile",
        lambda path, *more: opened.append(path) or real(path, *more),
    )
    results, problems = store.scan()
    assert not results and len(problems) == 5 and opened.count(shared) == 1


def test_a_pickle_in_disguise_is_not_loaded(store: RecordStore) -> None:
    record, arrays = made.finished(made.student(), 0.7)
    npz = store.write(record, arrays).with_suffix(".npz")
    np.savez(npz, **(arrays | {"correct": np.array([[object()]], dtype=object)}))  # type: ignore[arg-type]
    with pytest.raises(ResultError, match="corrupt"):
        store.arrays(record.key)


def test_a_write_cut_off_before_the_rename_changes_nothing(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    record, arrays = made.finished(made.student(), 0.7)
    store.write(record, arrays)
    before = {file.name: file.read_bytes() for file in store.root.iterdir()}

    def full_disk(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(ResultError, match=f"{record.key}.npz: cannot be written .*No space"):
        store.write(*made.finished(made.student(), 0.2))
    assert {file.name: file.read_bytes() for file in store.root.iterdir()} == before


def test_arrays_reach_the_disk_before_their_record(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    rename = os.replace

    def noted(source: Path, target: Path) -> None:
        order.append(Path(target).suffix)
        rename(source, target)

    monkeypatch.setattr("os.replace", noted)
    store.write(*made.finished(made.student(), 0.7))
    assert order == [".npz", ".npz", ".json"]


def test_a_killed_writer_leaves_a_whole_record_or_a_named_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")  # imports once
    context.set_forkserver_preload(["tests.results.made"])
    store, whole = RecordStore(tmp_path), [made.finished(made.student(), each, count=2000) for each in (0.7, 0.2)]
    key, rng = whole[0][0].key, np.random.default_rng(0)
    for _ in range(6):
        for file in tmp_path.iterdir():
            file.unlink()
        writer = context.Process(target=made.write_for_ever, args=(str(tmp_path),))
        writer.start()
        while key not in store:
            writer.join(0.005)
        writer.join(rng.uniform(0, 0.03))
        writer.kill()
        writer.join()
        results, problems = store.scan()
        for result in results:
            assert any(
                result.record == record and np.array_equal(result.predicted, arrays["predicted"])  # type: ignore[arg-type]
                for record, arrays in whole
            )
        # new arrays, old record: killed between the two
        assert results or any(problem.path.name == f"{key}.json" for problem in problems)
        assert all(problem.unfinished for problem in problems if problem.path.suffix == ".tmp")
