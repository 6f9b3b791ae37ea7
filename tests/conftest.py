"""What tests of several folders share."""

import os
from collections.abc import Iterator

import pytest

from tests.browser import Browser

os.environ |= {
    "OMP_NUM_THREADS": "1",  # so that a test beside another job keeps its time
    "FEWDISTILL_WORKERS": "1",  # train in the command's own process
    "COLUMNS": "200",  # consoles read these two as their modules are imported
    "NO_COLOR": "1",
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of pages in this process."""
    with Browser() as browser:
        yield browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What opens a page in the browser is slow."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
