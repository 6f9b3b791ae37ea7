"""A run's report is drawn again exactly where something behind it has changed."""

from pathlib import Path

import pytest

from fewdistill.results import ResultError
from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.fingerprint import refresh
from tests.results.made import finished, student


def a_record(store: RecordStore, seed: int) -> str:
    record, arrays = finished(student(seed=seed), 0.7, count=40)
    store.write(record, arrays)
    return record.key


def test_only_what_changed_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, out = RecordStore(tmp_path / "records"), tmp_path / "report"
    keys = {a_record(store, seed) for seed in (0, 1)}
    page = refresh(store.root, out, keys)

    def drawn() -> bool:
        page.write_text("old")
        assert refresh(store.root, out, keys) == page
        return page.read_text() != "old"

    assert "resnet18" in page.read_text() and (out / "tables" / "main.md").exists()
    assert not drawn()
    page.unlink()
    refresh(store.root, out, keys)
    assert "resnet18" in page.read_text()
    last = keys.pop()
    assert drawn(), "fewer records are reported"
    keys.add(last)
    assert drawn() and not drawn()
    a_record(store, 2)
    assert not drawn(), "a record of other settings is not reported"
    damaged = store.root / f"{last}.npz"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert drawn(), "arrays are behind the page, too"
    monkeypatch.setattr(
        "fewdistill.results.report.page.write_report", lambda *_: (_ for _ in ()).throw(ResultError("no room"))
    )
    damaged.unlink()
    with pytest.raises(ResultError, match="no room"):
        refresh(store.root, out, keys)
    monkeypatch.undo()
    assert drawn(), "half a report was taken for a whole one"


def test_no_record_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no such folder of records"):
        refresh(tmp_path / "records", tmp_path / "report", {"a"})
