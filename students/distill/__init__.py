"""Distillation losses, one family a file; see base.py for what each promises."""

import inspect
from typing import Any

from fewdistill.students.registry import Registry, import_all

DISTILLERS: Registry[type] = Registry("distiller")


def build(name: str, width: int, **options: Any) -> Any:
    """The distiller of this name; ``width``, of the tokens, goes to those that learn a projector."""
    kind = DISTILLERS[name]
    if "width" in inspect.signature(kind).parameters:
        options["width"] = width
    return kind(**options)


import_all(__name__, list(__path__))
