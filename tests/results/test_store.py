"""Records on disk: what goes in comes out, and what is broken is named."""

import errno
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from results import ResultError
from results.arrays import OWN
from results.merge import merge
from results.record import Record, key_of
from results.store import RecordStore
from tests.results import made

Stores = Callable[[str], RecordStore]


def test_a_record_comes_back_as_it_went_in(new_store: Stores) -> None:
    store = new_store("a")
    record, arrays = made.finished(made.student(), 0.7)
    path = store.write(record, arrays)
    assert path.name == f"{record.key}.json" and record.key in store
    assert store.read(record.key) == record
    back = store.arrays(record.key)
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
    assert store.all() == [record]
    assert sorted(file.suffix for file in store.root.iterdir()) == [".json", ".npz", ".npz"]


def test_episodes_stand_once_for_all_records_on_them(new_store: Stores) -> None:
    store = new_store("a")
    for seed in range(3):
        store.write(*made.finished(made.student(seed=seed), 0.7))
    [shared] = store.root.glob("episodes-*.npz")
    store.write(*made.finished(made.student(shot=1), 0.7))
    assert len(list(store.root.glob("episodes-*.npz"))) == 2 and len(store.all()) == 4
    shared.unlink()
    with pytest.raises(ResultError, match=f"{shared.name}: the episodes of a done record are missing"):
        store.all()
    record, arrays = made.finished(made.student(), 0.7)
    store.write(record, arrays)
    assert len(store.all()) == 4


def test_damaged_episodes_are_named_and_written_anew(new_store: Stores) -> None:
    store = new_store("a")
    record, arrays = made.finished(made.student(), 0.7)
    store.write(record, arrays)
    [shared] = store.root.glob("episodes-*.npz")
    np.savez(shared, **{name: array[::-1] for name, array in arrays.items() if name not in OWN})  # type: ignore[arg-type]
    with pytest.raises(ResultError, match=f"{shared.name}: corrupt"):
        store.arrays(record.key)
    store.write(record, arrays)
    assert store.all() == [record] and np.array_equal(store.arrays(record.key)["classes"], arrays["classes"])


def test_the_same_record_gives_the_same_bytes(new_store: Stores) -> None:
    record, arrays = made.finished(made.student(), 0.7)
    files = [{f.name: f.read_bytes() for f in new_store(n).write(record, arrays).parent.iterdir()} for n in "ab"]
    assert files[0] == files[1]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(identity=st.dictionaries(st.text(), plain, max_size=4))
def test_key_depends_on_content_alone(identity: dict[str, object]) -> None:
    backwards = dict(reversed(identity.items()))
    key = key_of(identity)
    assert key_of(backwards) == key == key_of(json.loads(json.dumps(identity)))
    assert key_of(identity | {"one more": 1}) != key or identity.get("one more") == 1
    record = Record(key=key, identity=identity, status="started", cell=made.student())
    assert Record.model_validate_json(record.model_dump_json()).identity == identity


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"key": "0" * 64}, "key_of"),
        ({"status": "done"}, "needs metrics"),
        ({"status": "failed"}, "needs a reason"),
        ({"curve": [{"loss": 1.0}]}, "step"),
        ({"curve": [{"step": 1, "loss": float("nan")}]}, r"\[0\]\.loss is nan"),
        ({"provenance": {"where": Path("x")}}, "PosixPath"),
        ({"colour": "red"}, "Extra inputs"),
        ({"schema_version": 1}, "should be 2 or 3"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change: dict[str, object], says: str) -> None:
    good = made.unfinished(made.student(), "started").model_dump()
    with pytest.raises(ValidationError, match=says):
        Record.model_validate(good | change)


def test_arrays_and_record_must_agree(new_store: Stores) -> None:
    store = new_store("a")
    record, arrays = made.finished(made.student(), 0.7)
    with pytest.raises(ResultError, match="brings its arrays"):
        store.write(record)
    with pytest.raises(ResultError, match="missing \\['classes'\\]"):
        store.write(record, {name: array for name, array in arrays.items() if name != "classes"})
    with pytest.raises(ResultError, match="correct is float64"):
        store.write(record, arrays | {"correct": arrays["correct"].astype(np.float64)})
    with pytest.raises(ResultError, match="correct is uint8 \\(299, 5\\), wanted uint8 \\(300, 5\\)"):
        store.write(record, arrays | {"correct": arrays["correct"][:-1]})
    with pytest.raises(ResultError, match="rows"):
        store.write(record, arrays | {"classes": arrays["classes"][:-1]})
    with pytest.raises(ResultError, match="the record says"):
        store.write(record, arrays | {"correct": np.zeros_like(arrays["correct"])})
    assert not store.root.exists() or not list(store.root.iterdir())


def test_a_failed_rerun_drops_the_old_arrays(new_store: Stores) -> None:
    store = new_store("a")
    record, arrays = made.finished(made.student(), 0.7)
    store.write(record, arrays)
    path = store.write(made.unfinished(made.student(), "failed", "out of memory"))
    assert path.exists() and not path.with_suffix(".npz").exists()
    assert store.read(record.key).status == "failed"


def test_every_broken_file_is_named(new_store: Stores) -> None:
    store = new_store("a")
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


@pytest.mark.parametrize(
    ("version", "says"), [(4, "upgrade fewdistill"), (1, "delete it, run again"), (None, "no schema_version")]
)
def test_other_schema_versions_are_refused_by_name(new_store: Stores, version: int | None, says: str) -> None:
    store = new_store("a")
    record, arrays = made.finished(made.student(), 0.7)
    path = store.write(record, arrays)
    data = json.loads(path.read_text()) | {"schema_version": version, "a field of the future": 1}
    path.write_text(json.dumps(data))
    with pytest.raises(ResultError, match=says) as caught:
        store.read(record.key)
    assert str(path) in str(caught.value)


def test_cut_or_missing_arrays_are_named(new_store: Stores) -> None:
    store = new_store("a")
    record, arrays = made.finished(made.student(), 0.7)
    npz = store.write(record, arrays).with_suffix(".npz")
    npz.write_bytes(npz.read_bytes()[:200])
    with pytest.raises(ResultError, match=f"{record.key}.npz: corrupt"):
        store.arrays(record.key)
    npz.unlink()
    with pytest.raises(ResultError, match=f"{record.key}.npz: the arrays"):
        store.all()


@pytest.mark.parametrize("of", ["the record", "its episodes"])
def test_no_flipped_bit_in_the_arrays_gets_past(new_store: Stores, of: str) -> None:
    store = new_store("a")
    record, arrays = made.finished(made.student(), 0.7)
    npz = store.write(record, arrays).with_suffix(".npz")
    npz = npz if of == "the record" else next(store.root.glob("episodes-*.npz"))
    sound, before = npz.read_bytes(), store.scan()[0][0]
    for place in range(0, len(sound), max(1, len(sound) // 300)):
        spoilt = bytearray(sound)
        spoilt[place] ^= 0x10
        npz.write_bytes(spoilt)
        results, problems = store.scan()
        if problems:
            assert record.key in str(problems[0].path)
        else:  # a bit that carries nothing, such as a time stamp
            assert np.array_equal(results[0].correct, before.correct) and results[0].episodes == before.episodes


def test_a_pickle_in_disguise_is_not_loaded(new_store: Stores) -> None:
    store = new_store("a")
    record, arrays = made.finished(made.student(), 0.7)
    npz = store.write(record, arrays).with_suffix(".npz")
    np.savez(npz, **(arrays | {"correct": np.array([[object()]], dtype=object)}))  # type: ignore[arg-type]
    with pytest.raises(ResultError, match="corrupt"):
        store.arrays(record.key)


def test_a_write_cut_off_before_the_rename_changes_nothing(new_store: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store("a")
    record, arrays = made.finished(made.student(), 0.7)
    store.write(record, arrays)
    before = {file.name: file.read_bytes() for file in store.root.iterdir()}

    def full_disk(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(ResultError, match=f"{record.key}.npz: cannot be written .*No space"):
        store.write(*made.finished(made.student(), 0.2))
    assert {file.name: file.read_bytes() for file in store.root.iterdir()} == before


def test_arrays_reach_the_disk_before_their_record(new_store: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    rename = os.replace

    def noted(source: Path, target: Path) -> None:
        order.append(Path(target).suffix)
        rename(source, target)

    monkeypatch.setattr("os.replace", noted)
    new_store("a").write(*made.finished(made.student(), 0.7))
    assert order == [".npz", ".npz", ".json"]


def _write_for_ever(root: str) -> None:
    record, arrays = made.finished(made.student(), 0.7, count=20_000)
    while True:
        RecordStore(root).write(record, arrays)


def test_a_killed_writer_leaves_whole_files_only(tmp_path: Path) -> None:
    writer = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(str(tmp_path),))
    writer.start()
    record, _ = made.finished(made.student(), 0.7, count=20_000)
    store = RecordStore(tmp_path)
    try:
        for _ in range(2000):
            if record.key in store:
                break
            writer.join(0.01)
        for _ in range(20):
            assert store.arrays(record.key)["correct"].shape == (20_000, 5)
    finally:
        writer.kill()
        writer.join()
    assert store.all() == [record]


def test_merge_joins_folders_and_names_what_contradicts(new_store: Stores) -> None:
    a, b = new_store("a"), new_store("b")
    record, arrays = made.finished(made.student(), 0.7)
    a.write(made.unfinished(made.student(), "started"))
    b.write(record, arrays)
    b.write(*made.finished(made.student(seed=1), 0.7))
    results, problems = merge([a.root, b.root])
    assert [r.record.status for r in results] == ["done", "done"] and not problems
    a.write(record, arrays)
    assert len(merge([a.root, b.root])[0]) == 2  # the same twice is once
    other, others = made.finished(made.student(), 0.2)
    assert other.key == record.key
    a.write(other, others)
    with pytest.raises(ResultError, match="different results") as caught:
        merge([a.root, b.root])
    assert str(a.root) in str(caught.value) and str(b.root) in str(caught.value)
    with pytest.raises(ResultError, match="no such folder"):
        merge([a.root / "nowhere"])
