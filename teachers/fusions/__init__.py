"""Fusions, one kind a file: cached per-frame tokens of several modalities to the tokens a teacher's head reads.

``forward(streams, part) -> tokens``: streams (k, N, T, D) in the order of the modalities, fused tokens
(N, T, ``out_width``). A new fusion is a file here with a class under ``@FUSIONS.register(name)``, built as
``cls(modalities, width, frames, **options)``; importing this package imports them all.
"""

from fewdistill.students.registry import Registry, import_all
from fewdistill.teachers.fusions.base import Fusion

FUSIONS: Registry[type[Fusion]] = Registry("fusion")

import_all(__name__, list(__path__))
