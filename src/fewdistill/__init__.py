"""Few-shot distillation benchmarks for action recognition.

>>> import fewdistill
>>> run = fewdistill.open_suite("demo")
>>> run.run(only=["resnet18/*/s0"])
>>> run.records()[["model", "distillation", "shot", "accuracy"]]
>>> fewdistill.compare("demo:resnet18/both", "demo:resnet18/none", shot=5)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewdistill.benchmark.api import Run, compare, open_suite, records

__all__ = ["Run", "compare", "open_suite", "records"]


def __getattr__(name: str) -> Any:
    """Loaded when asked for: torch takes seconds, which help and wrong usage on the command line must not."""
    if name in __all__:
        return getattr(import_module("fewdistill.benchmark.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
