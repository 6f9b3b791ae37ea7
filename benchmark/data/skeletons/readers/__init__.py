"""Readers of skeleton data sets: one layout a file, each under ``@LAYOUTS.register(name)``."""

from fewdistill.students.registry import import_all

import_all(__name__, list(__path__))
