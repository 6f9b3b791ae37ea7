"""Skeleton data sets: one reader a file, each under ``@LAYOUTS.register(name)``; importing this package imports all.

`skeleton_set.load` reads a whole set, `splits` says what trains and tests, `sampling` makes batches, `streams` bones
and motion.
"""

from fewdistill.benchmark.data.skeletons.layout import LAYOUTS, ClipEntry, Layout, Listing
from fewdistill.students.registry import import_all

__all__ = ["LAYOUTS", "ClipEntry", "Layout", "Listing"]

import_all(__name__, list(__path__))
