"""What tests of several folders share."""

from collections.abc import Iterator

import pytest

from tests.browser import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of pages in this process."""
    with Browser() as browser:
        yield browser
