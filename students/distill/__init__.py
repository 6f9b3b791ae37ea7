"""Distillation losses, one a file, each with a config of its own."""

from students.registry import Registry, import_all

DISTILLERS: Registry[type] = Registry("distiller")

import_all(__name__, list(__path__))
