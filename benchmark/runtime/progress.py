"""Progress bars on a terminal, plain lines elsewhere; everything goes to standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

CONSOLE = Console(stderr=True)
_PLAIN_LINE_EVERY_S = 20.0

Tick = Callable[[int, int], None]
"""Called with (done, total) as work goes on."""


@contextmanager
def bar(description: str, unit: str = "") -> Iterator[Tick]:
    """A bar for the work inside the block; the block calls the given tick with (done, total)."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=CONSOLE, transient=True) as progress:
            task = progress.add_task(description, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    started = last = time.monotonic()

    def tick(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PLAIN_LINE_EVERY_S:
            last = now
            CONSOLE.print(f"{description}: {done}/{total} {unit} ({now - started:.0f} s)", highlight=False)

    yield tick


def say(text: str) -> None:
    """One line of status on standard error."""
    CONSOLE.print(text, highlight=False, markup=False)
