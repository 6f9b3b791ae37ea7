"""Skeleton data sets: one reader a file, each under ``@LAYOUTS.register(name)``; importing this package imports all.

`packed.load` reads a whole set, `splits` says what trains and tests, `feeder` makes batches, `streams` bones and
motion.
"""

from fewdistill.benchmark.data.skeletons.layout import LAYOUTS, Entry, Layout, Listing
from fewdistill.students.registry import import_all

__all__ = ["LAYOUTS", "Entry", "Layout", "Listing"]

import_all(__name__, list(__path__))
