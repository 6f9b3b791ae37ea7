"""A headless Chromium, driven by Playwright: the report is tried as a reader would try it."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.async_api import ConsoleMessage, Page, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 120_000  # milliseconds: a busy machine starts a browser slowly


class Browser:
    """One page. ``errors`` collects what the page complained of, ``requests`` the addresses it asked for.

    The browser is the system's, Playwright downloads none. Its asynchronous interface runs in an event loop of its
    own, only while a call lasts: the synchronous one would leave a running loop in the thread of all other tests.
    """

    def __init__(self) -> None:
        found = next((path for name in NAMES if (path := shutil.which(name))), None)
        if found is None:
            raise AssertionError(f"no browser ({', '.join(NAMES)}) on PATH: apt-get install -y chromium")
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._page: Page | None = None
        self._runner = asyncio.Runner()
        self._playwright = self._runner.run(async_playwright().start())
        launched = self._playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=PATIENCE
        )
        self._chromium = self._runner.run(launched)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._chromium.close())
        self._runner.run(self._playwright.stop())
        self._runner.close()

    @property
    def page(self) -> Page:
        assert self._page is not None, "open a file first"
        return self._page

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show a file in a new window of a size in CSS pixels, a phone's below 600, and wait until it has loaded."""
        self._runner.run(self._open(path.as_uri(), width, height, dark))

    async def _open(self, url: str, width: int, height: int, dark: bool) -> None:
        if self._page is not None:
            await self._page.context.close()
        context = await self._chromium.new_context(
            viewport={"width": width, "height": height},
            is_mobile=width < 600,
            has_touch=width < 600,
            color_scheme="dark" if dark else "light",
            permissions=["clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(PATIENCE)
        self._page = await context.new_page()
        self._page.on("console", self._note)
        self._page.on("pageerror", lambda error: self.errors.append(str(error)))
        self._page.on("request", lambda request: self.requests.append(request.url))
        await self._page.goto(url)

    @contextmanager
    def showing(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[None]:
        """See ``open``; by the end the page must have complained of nothing and asked for no other file."""
        self.errors.clear()
        self.requests.clear()
        self.open(path, width, height, dark)
        yield
        assert self.errors == []
        asked = {url.partition("#")[0] for url in self.requests if not url.startswith("data:")}
        assert asked == {path.as_uri()}

    def reload(self) -> None:
        """Load the page again at its present address, the part after # included."""
        self._runner.run(self.page.reload())

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression in the page, promises awaited."""
        return self._runner.run(self.page.evaluate(script))

    def hover(self, x: float, y: float) -> None:
        """Move the mouse to a place in the window."""
        self._runner.run(self.page.mouse.move(x, y))

    def tap(self, x: float, y: float) -> None:
        """Touch a place in a phone's window with a finger."""
        self._runner.run(self.page.touchscreen.tap(x, y))

    def press(self, key: str) -> None:
        """Press and let go a key, by its name in JavaScript."""
        self._runner.run(self.page.keyboard.press(key))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.errors.append(message.text)
