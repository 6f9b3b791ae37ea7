"""Trackers: where a run's curves and results can be watched, beside its records."""

from fewdistill.benchmark.tracking.base import TRACKERS, Run, Tracker
from fewdistill.benchmark.tracking.guard import Followed, Trackers
from fewdistill.students.registry import import_all

import_all(__name__, __path__)

__all__ = ["TRACKERS", "Followed", "Run", "Tracker", "Trackers"]
