from collections.abc import Callable
from pathlib import Path

import pytest

from results.store import RecordStore
from tests.results.made import believable, student, unfinished


@pytest.fixture(scope="session")
def believable_store(tmp_path_factory: pytest.TempPathFactory) -> RecordStore:
    """Read only: 74 finished records and a few which are not."""
    store = believable(RecordStore(tmp_path_factory.mktemp("records")))
    store.write(unfinished(student("resnet18", "tokens", 5, 3), "failed", "loss is nan at step 40"))
    store.write(unfinished(student("resnet50", "none", 5, 0), "skipped", "weights missing: run `fewdistill doctor`"))
    store.write(unfinished(student("mobilenetv3_small", "none", 1, 3), "started"))
    return store


@pytest.fixture
def new_store(tmp_path: Path) -> Callable[[str], RecordStore]:
    return lambda name: RecordStore(tmp_path / name)
