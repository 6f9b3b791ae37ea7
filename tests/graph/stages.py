"""Stages that train nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fewdistill.benchmark.stage import Stage


def a_stage(runs: Path, name: str, *needs: Stage, run: Callable[[Stage], None] | None = None, **more: Any) -> Stage:
    """A stage that writes nothing but its done.json."""
    return Stage("toy", 1, {"name": name}, runs, name, run or (lambda stage: stage.finish({}, {})), needs, **more)
