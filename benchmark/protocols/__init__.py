"""Protocols: what is measured, and how a suite of it becomes the rows of a stage graph. One package each."""

from fewdistill.benchmark.graph.protocol import PROTOCOLS
from fewdistill.benchmark.protocols import episodic, supervised  # noqa: F401  each registers itself

__all__ = ["PROTOCOLS"]
