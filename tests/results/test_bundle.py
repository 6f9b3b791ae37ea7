"""Records packed into two files: the same when read back, and refused by name where the files are damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from fewdistill.results import ResultError
from fewdistill.results.comparison.compare import compare
from fewdistill.results.comparison.selection import find_selection
from fewdistill.results.records.bundle import OUTCOMES, RECORDS, RecordBundle, arrays_of, open_records, pack, unpack
from fewdistill.results.records.merge import merge
from fewdistill.results.records.record import Cost
from fewdistill.results.records.result import Result
from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.page import write_report
from fewdistill.results.summary.rows import summarise
from tests.command import fewdistill
from tests.results import made
from tests.results.test_damage import Damage, cut, flipped


def same(one: Result, two: Result) -> bool:
    """Equal to the bit: record, episodes, and every array's dtype, shape and content."""
    for ours, theirs in zip(arrays_of(one), arrays_of(two), strict=True):
        if ours.keys() != theirs.keys():
            return False
        for name, array in ours.items():
            other = theirs[name]
            if (array.dtype, array.shape, array.tobytes()) != (other.dtype, other.shape, other.tobytes()):
                return False
    return one.record == two.record and one.episodes == two.episodes


def few(root: Path) -> RecordStore:
    """Three seeds of one setting, an old record without answers and one that failed."""
    store = RecordStore(root)
    for seed in range(3):
        store.write(*made.finished(made.student(seed=seed), 0.7, count=60, cost=Cost(macs_per_episode=1e9)))
    old, arrays = made.finished(made.student("mobilenetv3_small"), 0.6, count=60)
    kept = {name: arrays[name] for name in ("correct", "classes", "query_class")}
    store.write(old.model_copy(update={"schema_version": 2}), kept)
    store.write(made.unfinished(made.student("resnet50"), "failed", "loss is nan at step 40"))
    return store


def test_packed_and_unpacked_records_are_the_same(tmp_path: Path) -> None:
    store = few(tmp_path / "records")
    before, _ = store.scan()
    records, outcomes = pack(store, tmp_path / "packed")
    bundle = open_records(tmp_path / "packed")
    assert isinstance(bundle, RecordBundle) and sorted(path.name for path in bundle.root.iterdir()) == [
        OUTCOMES,
        RECORDS,
    ]
    packed, problems = bundle.scan()
    assert not problems and all(map(same, before, packed)) and len(packed) == len(before) == 5
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    assert [line["key"] for line in lines] == [result.record.key for result in before]
    with np.load(outcomes, allow_pickle=False) as arrays:  # readable without the program
        key = next(result.record.key for result in before if result.predicted is not None)
        assert arrays[f"{key}/correct"].mean() == pytest.approx(
            lines[arrays["keys"].tolist().index(key)]["metrics"]["accuracy"]
        )
    unpacked, problems = unpack(bundle, tmp_path / "back").scan()
    assert not problems and all(map(same, before, unpacked))
    again = [path.read_bytes() for path in pack(RecordStore(tmp_path / "back"), tmp_path / "again")]
    assert again == [records.read_bytes(), outcomes.read_bytes()]


def test_a_bundle_is_taken_wherever_a_folder_of_records_is(tmp_path: Path) -> None:
    store = few(tmp_path / "runs" / "mine" / "records")
    pack(store, tmp_path / "kept" / "mine")
    results, problems = merge([store.root, tmp_path / "kept" / "mine"])
    assert len(results) == 5 and {problem.note for problem in problems} == {True}
    rows = [compare(*(find_selection(f"mine:{row}", runs) for row in ("resnet18", "mobilenetv3_small")))
            for runs in (tmp_path / "runs", tmp_path / "kept")]  # fmt: skip
    assert rows[0] == rows[1]
    page = write_report(tmp_path / "kept" / "mine", tmp_path / "kept" / "report")
    assert "../mine/records.jsonl" in page.read_text()


@pytest.mark.parametrize("damage", [cut, flipped])
@pytest.mark.parametrize("name", [RECORDS, OUTCOMES])
def test_no_figure_comes_of_a_damaged_bundle(name: str, damage: Damage, tmp_path: Path) -> None:
    pack(few(tmp_path / "records"), tmp_path / "packed")
    file = tmp_path / "packed" / name
    sound, refused = {result.record.key: result for result in RecordBundle(file.parent).scan()[0]}, 0
    for spoilt in damage(file.read_bytes()):
        file.write_bytes(spoilt)
        results, problems = RecordBundle(file.parent).scan()
        assert all(same(result, sound[result.record.key]) for result in results)
        if len(results) < len(sound):
            refused += 1
            assert problems and all(str(file.parent) in str(problem) for problem in problems)
            lost = sound.keys() - {result.record.key for result in results}
            assert not results or all(any(key in str(problem) for problem in problems) for key in lost)
        summarise(results)
    assert refused > (75 if damage is cut else 90)


@pytest.mark.parametrize("name", [RECORDS, OUTCOMES])
def test_an_empty_or_missing_file_is_named(name: str, tmp_path: Path) -> None:
    pack(few(tmp_path / "records"), tmp_path / "packed")
    file = tmp_path / "packed" / name
    file.write_bytes(b"")
    with pytest.raises(ResultError, match=f"{name}.*pack the records again"):
        open_records(file.parent).all()
    file.unlink()
    with pytest.raises(ResultError, match=f"{name}: cannot be read"):
        open_records(file.parent).all()


def test_records_that_left_the_file_or_came_from_another_are_named(tmp_path: Path) -> None:
    records, _ = pack(few(tmp_path / "records"), tmp_path / "packed")
    lines = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(b"".join(lines[:-1]))
    results, problems = RecordBundle(records.parent).scan()
    lost = json.loads(lines[-1])["key"]
    assert len(results) == 4 and any(lost in str(problem) for problem in problems)
    records.write_bytes(b"".join([*lines, lines[0]]))
    results, problems = RecordBundle(records.parent).scan()
    assert len(results) == 5 and "a second time" in str(problems[0])


def test_what_cannot_be_read_is_not_packed(tmp_path: Path) -> None:
    store = few(tmp_path / "records")
    (store.root / "notes.txt").write_text("mine")
    with pytest.raises(ResultError, match=r"notes.txt: not a record"):
        pack(store, tmp_path / "packed")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultError, match="no record to pack"):
        pack(RecordStore(tmp_path / "empty"), tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_the_command_packs_and_unpacks(tmp_path: Path) -> None:
    store = few(tmp_path / "records")
    shown = fewdistill("records", "pack", "records", "packed", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "") and "packed/records.jsonl: " in shown.stdout
    shown = fewdistill("records", "unpack", "packed", "back", cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, "back: 5 records\n")
    files = {path.name: path.read_bytes() for path in store.root.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()} == files
    failed = fewdistill("records", "pack", "nowhere", "packed", cwd=tmp_path)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1) and "nowhere: no such folder" in failed.stderr
