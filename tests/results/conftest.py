from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.page import write_report
from fewdistill.results.summary.rows import Row, summarise
from tests.browser import Browser
from tests.results.made import Stores, believable, student, unfinished
from tests.results.pages import raw_records


@pytest.fixture(scope="session")
def believable_store(tmp_path_factory: pytest.TempPathFactory) -> RecordStore:
    """Read only: 74 finished records and a few which are not."""
    store = believable(RecordStore(tmp_path_factory.mktemp("records")))
    store.write(unfinished(student("resnet18", "tokens", 5, 3), "failed", "loss is nan at step 40"))
    store.write(unfinished(student("resnet50", "none", 5, 0), "skipped", "weights missing: run `fewdistill doctor`"))
    store.write(unfinished(student("mobilenetv3_small", "none", 1, 3), "started"))
    return store


@pytest.fixture
def new_store(tmp_path: Path) -> Stores:
    return lambda name: RecordStore(tmp_path / name)


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    """An empty one."""
    return RecordStore(tmp_path / "a")


@pytest.fixture(scope="session")
def report(believable_store: RecordStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(believable_store.root, tmp_path_factory.mktemp("report"))


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Browser]:
    with browser.showing(report):
        yield browser


@pytest.fixture(scope="session")
def rows(believable_store: RecordStore) -> list[Row]:
    return summarise(believable_store.scan()[0])


@pytest.fixture(scope="session")
def cells(believable_store: RecordStore) -> dict[str, dict[str, Any]]:
    """Every record as its files have it, read without the program."""
    return raw_records(believable_store.root)
