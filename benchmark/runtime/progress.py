"""Progress bars on a terminal, plain lines elsewhere; everything goes to standard error."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

CONSOLE = Console(stderr=True)
_PLAIN_LINE_EVERY_S = 20.0
_SENT_EVERY_S = 0.2
_SENT_BYTES = 4000  # a pipe takes so many at once, whoever else writes
_COLUMNS = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())

Tick = Callable[[int, int], None]
"""Called with (done, total) as work goes on."""

_parent: "Forwarded | None" = None
"""Where a worker process sends what it has to show."""


@contextmanager
def bar(description: str, unit: str = "") -> Iterator[Tick]:
    """A bar for the work inside the block; the block calls the given tick with (done, total)."""
    if _parent is not None:
        with _parent.bar(description, unit) as tick:
            yield tick
    elif sys.stderr.isatty():
        with Progress(*_COLUMNS, console=CONSOLE, transient=True) as progress:
            task = progress.add_task(description, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
    else:
        yield _plain(description, unit)


def _plain(description: str, unit: str) -> Tick:
    started = last = time.monotonic()

    def tick(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PLAIN_LINE_EVERY_S:
            last = now
            CONSOLE.print(
                f"{description}: {done}/{total} {unit} ({now - started:.0f} s)",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    return tick


def say(text: str) -> None:
    """One line of status on standard error."""
    if _parent is not None:
        _parent.send({"say": text})
    else:
        CONSOLE.print(text, highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class Forwarded:
    """The end of a pipe that worker processes write to. They share it without a lock, which a killed one would keep."""

    pipe: Connection

    def take_over(self) -> None:
        """Send this process's bars and lines to the parent from now on."""
        global _parent
        _parent = self

    def send(self, event: dict[str, Any]) -> None:
        """One event, unless the parent has gone."""
        with suppress(OSError):
            self.pipe.send_bytes(json.dumps({"pid": os.getpid(), **event}).encode()[:_SENT_BYTES])

    @contextmanager
    def bar(self, description: str, unit: str) -> Iterator[Tick]:
        """A bar that the parent shows."""
        last = 0.0

        def tick(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _SENT_EVERY_S:
                last = now
                self.send({"bar": description, "unit": unit, "done": done, "total": total})

        yield tick
        self.send({"end": description})


@contextmanager
def show_forwarded() -> Iterator[Forwarded]:
    """Show what worker processes send, a bar each, until the block ends."""
    receiver, sender = get_context("spawn").Pipe(duplex=False)
    thread = threading.Thread(target=_show, args=(receiver,), daemon=True)
    thread.start()
    try:
        yield Forwarded(sender)
    finally:
        with suppress(OSError):
            sender.send_bytes(b"")
        thread.join(timeout=5)
        sender.close()


def _show(receiver: Connection) -> None:
    """Read events until an empty one comes."""
    terminal = sys.stderr.isatty()
    tasks: dict[tuple[int, str], TaskID] = {}
    ticks: dict[tuple[int, str], Tick] = {}
    with Progress(*_COLUMNS, console=CONSOLE, transient=True, disable=not terminal) as progress:
        while message := receiver.recv_bytes():
            try:
                event = json.loads(message)
            except ValueError:  # a line too long for the pipe
                continue
            if "say" in event:
                CONSOLE.print(event["say"], highlight=False, markup=False, soft_wrap=True)
                continue
            key = (event["pid"], event.get("bar") or event["end"])
            if "end" in event:
                ticks.pop(key, None)
                if key in tasks:
                    progress.remove_task(tasks.pop(key))
            elif terminal:
                if key not in tasks:
                    tasks[key] = progress.add_task(event["bar"], total=event["total"])
                progress.update(tasks[key], completed=event["done"], total=event["total"])
            else:
                ticks.setdefault(key, _plain(event["bar"], event["unit"]))(event["done"], event["total"])
    receiver.close()
