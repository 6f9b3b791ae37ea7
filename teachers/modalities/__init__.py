"""Modality experts, one a file: from a source clip to the images, or coordinates, that a teacher's encoder reads.

A new expert is a file here with a class under ``@EXPERTS.register(name)``; importing this package imports them all.
"""

from fewdistill.students.registry import import_all
from fewdistill.teachers.modalities.base import EXPERTS, Expert, SourceFolder
from fewdistill.teachers.modalities.coordinates import CoordinateExpert
from fewdistill.teachers.modalities.topology import Camera, PosedClip, Skeleton

__all__ = ["EXPERTS", "Camera", "CoordinateExpert", "Expert", "PosedClip", "Skeleton", "SourceFolder"]

import_all(__name__, list(__path__))
