"""The interface of modality experts: name, version, required source, and the derivation from source to clip."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fewdistill.students.registry import Registry
from fewdistill.teachers import TeacherError

Requirement = Literal["rgb", "depth", "joints"]

REQUIREMENTS: dict[str, str] = {
    "rgb": "pixels: l8/rgb_l8/<class>/<video>/00000001.jpg ..., or <class>/<video>.mp4",
    "depth": "sensor depth: l8/depth_l8/<class>/<video>/00000001.png ..., 16-bit millimetres",
    "joints": "3-D joints: joints/<class>/<video>.npy, float32 (T, V, 3, M), and joints/skeleton.toml",
}


class SourceFolder(Protocol):
    """The part of a data set that an expert checks before any work: its root and the sources it has."""

    @property
    def root(self) -> Path: ...

    def modalities(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Expert(ABC):
    """A modality expert; its options are the fields of the dataclass, and part of its identity.

    ``version`` changes whenever the same source would give another clip. ``weights`` is the sha256 of a learnt
    expert's weights, None for the others. ``mirror_channels`` and ``mirror_swap`` say what a left-right flip does
    to the clip's channels besides moving the pixels: the first change sign around 128, the second change places.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    weights: ClassVar[str | None] = None
    requires: ClassVar[Requirement]
    mirror_channels: ClassVar[tuple[int, ...]] = ()
    mirror_swap: ClassVar[tuple[int, int] | None] = None

    @abstractmethod
    def derive(self, source: Any) -> NDArray[Any]:
        """The modality clip, uint8 (T, H, W, C), of one source clip; a CoordinateExpert's is float32 (T', V, 3, M).

        ``source`` is uint8 (T, H, W, 3) where ``requires`` is "rgb", uint16 millimetres (T, H, W) for "depth" and
        a PosedClip for "joints". T is kept by images. Raises TeacherError for a source it cannot serve.
        """

    def identity(self) -> dict[str, Any]:
        """Name, version, weights and all options, as JSON values: for records."""
        options = asdict(self)
        return {"expert": self.name, "version": self.version, "weights": self.weights, "options": options}

    def clip_identity(self) -> dict[str, Any]:
        """The part of ``identity`` that decides the derived clip: for cache keys."""
        return self.identity()

    def check(self, folder: SourceFolder) -> None:
        """Raise TeacherError, saying what the data set must carry, unless it has this expert's source."""
        carried = folder.modalities()
        if self.requires not in carried:
            raise TeacherError(
                f"expert {self.name!r} needs {REQUIREMENTS[self.requires]}; "
                f"{folder.root} carries {', '.join(carried) or 'none of the sources'}"
            )


EXPERTS: Registry[type[Expert]] = Registry("expert")


def require_clip(clip: NDArray[np.uint8], name: str, *, at_least: int = 1) -> None:
    """Raise TeacherError unless ``clip`` is uint8 (T, H, W, 3) with T >= ``at_least``."""
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3:
        raise TeacherError(f"expert {name!r} needs a clip uint8 (T, H, W, 3), got {clip.dtype} {clip.shape}")
    if clip.shape[0] < at_least:
        raise TeacherError(f"expert {name!r} needs {at_least} frames or more, got {clip.shape[0]}")
