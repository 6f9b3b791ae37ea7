"""Records on disk: what goes in comes out, and what is broken is named."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fewdistill.benchmark.episodes import ClassIndex, draw
from fewdistill.results import ResultError
from fewdistill.results.records.arrays import OWN, TIE, Arrays
from fewdistill.results.records.bundle import RecordBundle, arrays_of
from fewdistill.results.records.record import Record, key_of
from fewdistill.results.records.result import Result
from fewdistill.results.records.store import RecordStore
from fewdistill.results.summary.rows import summarise
from tests.results import made


def test_episodes_alone_have_a_shot() -> None:
    more: dict[str, Any] = {"query": 1, "way": 10, "image_size": 0, "protocol": "supervised"}
    cell = made.student(shot=None, **more)
    assert (cell.protocol, cell.at, made.student().at) == ("supervised", "supervised", "5-shot")
    assert made.student(shot=0, **more) == cell, "as records were once written"
    assert made.student().protocol == "episodic", "cells of old records have no protocol written"
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        made.student(shot=0)
    with pytest.raises(ValidationError, match="shot None in the episodic protocol"):
        made.student(shot=None)
    with pytest.raises(ValidationError, match="protocol 'federated' is not one of episodic, supervised"):
        made.student(shot=None, protocol="federated")
    with pytest.raises(ValidationError, match="shot 5 in the supervised protocol"):
        made.student(shot=5, protocol="supervised")


def test_a_record_comes_back_as_it_went_in(store: RecordStore) -> None:
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


def test_episodes_stand_once_for_all_records_on_them(store: RecordStore) -> None:
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


def test_damaged_episodes_are_named_and_written_anew(store: RecordStore) -> None:
    record, arrays = made.finished(made.student(), 0.7)
    store.write(record, arrays)
    [shared] = store.root.glob("episodes-*.npz")
    np.savez(shared, **{name: array[::-1] for name, array in arrays.items() if name not in OWN})  # type: ignore[arg-type]
    with pytest.raises(ResultError, match=f"{shared.name}: corrupt"):
        store.arrays(record.key)
    store.write(record, arrays)
    assert store.all() == [record] and np.array_equal(store.arrays(record.key)["classes"], arrays["classes"])


def test_the_same_record_gives_the_same_bytes(new_store: made.Stores) -> None:
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


def test_arrays_and_record_must_agree(store: RecordStore) -> None:
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


def test_a_failed_rerun_drops_the_old_arrays(store: RecordStore) -> None:
    record, arrays = made.finished(made.student(), 0.7)
    store.write(record, arrays)
    path = store.write(made.unfinished(made.student(), "failed", "out of memory"))
    assert path.exists() and not path.with_suffix(".npz").exists()
    assert store.read(record.key).status == "failed"


@pytest.mark.parametrize(
    ("version", "says"), [(4, "upgrade fewdistill"), (1, "delete it, run again"), (None, "no schema_version")]
)
def test_other_schema_versions_are_refused_by_name(store: RecordStore, version: int | None, says: str) -> None:
    record, arrays = made.finished(made.student(), 0.7)
    path = store.write(record, arrays)
    data = json.loads(path.read_text()) | {"schema_version": version, "a field of the future": 1}
    path.write_text(json.dumps(data))
    with pytest.raises(ResultError, match=says) as caught:
        store.read(record.key)
    assert str(path) in str(caught.value)


REFERENCE = Path("results/reference/embedded")


def test_committed_records_of_schema_2_are_read_without_answers() -> None:
    results, problems = RecordBundle(REFERENCE).scan()
    old = [result for result in results if result.record.schema_version == 2]
    assert old and not problems
    for result in old:
        assert result.predicted is None and result.no_answers == "record of schema 2 keeps no answers"
        assert result.record.cost is not None and result.record.cost.bytes is None and not result.record.settings
        assert result.correct is not None and result.record.metrics is not None
        assert result.correct.mean() == pytest.approx(result.record.metrics.accuracy, abs=1e-9)


def of_today(old: Result, identity: dict[str, Any]) -> tuple[Record, Arrays]:
    """What scoring would write today of an old record's episodes."""
    assert old.correct is not None and old.classes is not None and old.query_class is not None
    drawn: Arrays = {"classes": old.classes, "query_class": old.query_class}
    videos = np.arange(old.query_class.size, dtype=np.int32).reshape(old.query_class.shape)
    names: Arrays = {"class_names": np.array(made.CLASSES), "videos": np.array([str(i) for i in range(videos.size)])}
    new = old.record.identity | identity
    record = old.record.model_copy(update={"schema_version": 3, "identity": new, "key": key_of(new)})
    return record, drawn | made.answers(old.correct, drawn) | {"support": videos[:, :1], "query": videos} | names


def test_an_old_and_a_new_record_of_the_same_episodes_are_paired(tmp_path: Path) -> None:
    old = RecordBundle(REFERENCE).scan()[0][0]
    assert old.record.schema_version == 2
    store = RecordStore(tmp_path)
    store.write(*of_today(old, {"trained": "0" * 64}))
    store.write(*of_today(old, {"episodes": "1" * 64}))
    by_trained = {result.record.identity["trained"]: result for result in store.scan()[0]}
    same, other = by_trained.pop("0" * 64), by_trained.popitem()[1]
    assert same.predicted is not None and same.query is not None and not same.no_answers
    assert same.episodes == old.episodes != other.episodes


def test_an_old_record_is_written_again_as_it_was(tmp_path: Path) -> None:
    """As a variant that was renamed makes it."""
    store, before = RecordStore(tmp_path), RecordBundle(REFERENCE).scan()[0][0]
    own, drawn = arrays_of(before)
    store.write(before.record, own | drawn)
    [after], problems = store.scan()
    assert not problems and after.record == before.record and after.episodes == before.episodes


def test_confusion_follows_from_the_answers(store: RecordStore) -> None:
    store.write(*made.finished(made.student(), 0.6))
    [[result], _] = store.scan()
    assert result.predicted is not None and result.query_class is not None and result.class_names is not None
    assert result.correct is not None and result.record.metrics is not None
    assert (result.predicted == TIE).any()
    table = np.zeros((len(result.class_names), len(result.class_names) + 1), int)
    np.add.at(table, (result.query_class.ravel(), result.predicted.ravel()), 1)  # the last column: ties
    assert table.sum() == result.correct.size and table.trace() == result.correct.sum()
    recall = {
        str(name): row[i] / row.sum() for i, (name, row) in enumerate(zip(result.class_names, table, strict=True))
    }
    assert recall == pytest.approx(result.record.metrics.per_class)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"predicted": None}, r"missing \['predicted'\]"),
        ({"predicted": lambda a: np.full_like(a["predicted"], TIE)}, "contradict each other"),
        ({"predicted": lambda a: np.where(a["correct"] == 1, a["predicted"], np.int16(77))}, "not in their episode"),
        ({"query_class": lambda a: a["query_class"] + np.int16(50)}, "not in their episode"),
        ({"classes": lambda a: np.where(a["classes"] == 3, 13, a["classes"]).astype(np.int16)}, "not in their episode"),
        ({"videos": lambda a: a["videos"][:9]}, "outside the videos"),
        ({"class_names": lambda a: a["class_names"][:9]}, "outside the class_names"),
        ({"support": lambda a: a["support"] - 1000}, "outside the videos"),
        ({"videos": lambda a: a["videos"].astype(object)}, "videos is object"),
        ({"query": lambda a: a["query"][:, :2]}, "shape of query_class"),
        ({"colour": lambda a: a["query"]}, r"unknown \['colour'\]"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_answers_and_episodes_must_agree(change: dict[str, Any], says: str, store: RecordStore) -> None:
    record, arrays = made.finished(made.student(), 0.7)
    changed = arrays | {name: make(arrays) for name, make in change.items() if make}
    with pytest.raises(ResultError, match=says):
        store.write(record, {name: array for name, array in changed.items() if change.get(name, "") is not None})
    assert not store.root.exists() or not list(store.root.iterdir())


def test_files_of_ten_thousand_episodes_stay_small(tmp_path: Path) -> None:
    """24 classes of 100 videos, 5-way 5-shot: episodes, videos and names once, the answers for each record."""
    index = ClassIndex.of([np.arange(100) + 100 * number for number in range(24)])
    rng = np.random.default_rng(0)
    episodes = draw(index, way=5, shot=5, query=1, episodes=10_000, rng=rng)
    drawn: Arrays = {
        "classes": episodes.classes.astype(np.int16),
        "query_class": episodes.classes.astype(np.int16),
        "support": episodes.support.reshape(10_000, -1),
        "query": episodes.query.reshape(10_000, -1),
        "class_names": np.array([f"class {number}" for number in range(24)]),
        "videos": np.array([f"class_{number // 100:02d}/v_g{number % 100:03d}_c01" for number in range(2400)]),
    }
    correct = (rng.random((10_000, 5)) < 0.6).astype(np.uint8)
    record, _ = made.finished(made.student(query=1), 0.7)
    assert record.metrics is not None
    metrics = record.metrics.model_copy(update={"episodes": 10_000, "accuracy": correct.mean()})
    store = RecordStore(tmp_path)
    path = store.write(record.model_copy(update={"metrics": metrics}), drawn | made.answers(correct, drawn))
    [shared] = tmp_path.glob("episodes-*.npz")
    assert shared.stat().st_size < 500_000 and path.with_suffix(".npz").stat().st_size < 60_000
    [[back], _] = store.scan()
    assert np.array_equal(back.support, drawn["support"]) and np.array_equal(back.videos, drawn["videos"])  # type: ignore[arg-type]


def test_records_are_read_and_summarised_in_a_small_multiple_of_what_their_files_take(tmp_path: Path) -> None:
    """Ten thousand within ten seconds, on a processor that reads the bare files in four."""
    store = made.many(tmp_path, 2000, 100)
    before = time.process_time()  # of this core, whatever else the machine does
    results, problems = store.scan()
    rows = summarise(results)
    spent = time.process_time() - before
    assert len(results) == 2000 and not problems and sum(len(row.by_seed) for row in rows) == 2000
    before = time.process_time()
    for path in tmp_path.glob("*.json"):
        json.loads(path.read_bytes())
        hashlib.sha256(path.read_bytes()).hexdigest()
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            [arrays[name] for name in arrays]
    assert spent < 2.6 * (time.process_time() - before)
