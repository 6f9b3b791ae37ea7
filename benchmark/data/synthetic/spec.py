"""What an embedded data set holds: its size, its seed, its classes and its splits."""

from dataclasses import dataclass

from fewdistill.benchmark.data.synthetic.actions import ACTIONS, actions
from fewdistill.benchmark.runtime.errors import UserError

SPLITS = {"train": 30, "val": 8, "test": 10}
"""Classes each split has at most; a smaller data set takes the first ones."""
assert sum(SPLITS.values()) == ACTIONS


@dataclass(frozen=True)
class EmbeddedSpec:
    """All that decides the data set's bytes.

    version: of the actions and the way they are filmed. seed: of the clips. size: picture height and width in pixels.
    container: "frames" (a JPEG each) or "video" (one MP4 a clip). Raises UserError for values out of range.
    """

    version: int = 1
    seed: int = 0
    size: int = 64
    frames: int = 8
    clips_per_class: int = 40
    train_classes: int = 30
    val_classes: int = 8
    test_classes: int = 10
    container: str = "frames"

    def __post_init__(self) -> None:
        ranges = {"version": (1, 1), "seed": (0, 2**31 - 1), "size": (32, 512), "frames": (2, 256)}
        ranges |= {"clips_per_class": (1, 9999)} | {f"{split}_classes": (1, most) for split, most in SPLITS.items()}
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not least <= value <= most:
                raise UserError(f"embedded data set: {name} = {value!r}; it is a whole number from {least} to {most}")
        if self.container not in ("frames", "video"):
            raise UserError(f'embedded data set: container = {self.container!r}; it is "frames" or "video"')
        if self.container == "video" and self.size % 2:
            raise UserError(f"embedded data set: size = {self.size}; videos need an even size")


def class_names(version: int) -> tuple[str, ...]:
    """The names of all 48 classes, such as ``a07_squat_both``; the number is the place in the order of the splits."""
    return tuple(f"a{i:02d}_{action.name}" for i, action in enumerate(actions(version)))


def split_classes(spec: EmbeddedSpec) -> dict[str, tuple[str, ...]]:
    """The classes of each split, in order."""
    names, out, start = class_names(spec.version), {}, 0
    for split, most in SPLITS.items():
        out[split] = names[start : start + getattr(spec, f"{split}_classes")]
        start += most
    return out


def split_videos(spec: EmbeddedSpec) -> dict[str, tuple[str, ...]]:
    """The video ids (class/video) of each split, in order."""
    return {
        split: tuple(f"{name}/v{index:04d}" for name in names for index in range(spec.clips_per_class))
        for split, names in split_classes(spec).items()
    }
