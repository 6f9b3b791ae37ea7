"""Splits of the classes of a data set: which train, validate and test episodes."""

import tomllib
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("class_splits.toml")


def class_splits(layout: str) -> dict[str, dict[str, Any]]:
    """Those of a layout in `class_splits.toml`, by name: train, val and test (class names), and their source."""
    return tomllib.loads(FILE.read_text(encoding="utf-8")).get(layout, {})
