"""What a tracker is: something that shows a run's curves and results, and of which no result depends."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.students.registry import Registry

Value = bool | int | float | str


@dataclass(frozen=True)
class Run:
    """What is tracked: one training of a stage, or one row of a suite with its test results.

    key: sha256 hex; the same key is the same run, at any time and on any machine. name: unique in the suite, fit for a
    path. kind: of the stage (encoder, fusion, base, student), or "row". config: its axes and its whole identity, plain
    JSON. folder: for a tracker's own files, shared by the suite's runs.
    """

    key: str
    name: str
    suite: str
    kind: str
    config: dict[str, Any]
    folder: Path


class Tracker(ABC):
    """Follows one run; made without arguments for each.

    All calls come from one thread, which is not the training's. What they raise is told, and the run goes on.
    """

    @classmethod  # noqa: B027  a tracker that needs nothing has nothing to check
    def check(cls) -> None:
        """UserError where the tracker cannot be used at all; called before anything trains."""

    @abstractmethod
    def open(self, run: Run) -> None:
        """Begin, or go on with, a run."""

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Values at a training step, by name.

        Steps ascend, but two calls may have the same one. A run that was interrupted starts again at its first step,
        with the same values: those that the tracker already holds, it must not hold twice.
        """

    @abstractmethod
    def close(self, status: str, summary: Mapping[str, Value]) -> None:
        """status: done, failed or interrupted. summary: what the run came to, numbers and words."""


TRACKERS: Registry[type[Tracker]] = Registry("tracker")


def need(name: str, package: str) -> None:
    """Import a tracker's package; UserError where it is not installed."""
    try:
        import_module(package)
    except ImportError:
        raise UserError(f"--track {name} needs {package}: pip install 'fewdistill[{name}]'") from None


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Value]]:
    """A nested configuration as dotted names and plain values; lists and None as text."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, bool | int | float | str) else str(value)


def numbers(summary: Mapping[str, Value]) -> dict[str, float]:
    """The numbers of a summary."""
    return {name: float(value) for name, value in summary.items() if not isinstance(value, str)}
