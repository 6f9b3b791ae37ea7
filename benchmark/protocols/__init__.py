"""Protocols: what is measured, and how a suite of it becomes the rows of a stage graph. One package each."""

from fewdistill.benchmark.protocols import episodic, supervised  # noqa: F401  each registers itself
from fewdistill.benchmark.suite.registry import PROTOCOLS

__all__ = ["PROTOCOLS"]
