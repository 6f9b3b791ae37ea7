"""Curves as stages store them, and as trackers show them: (step, value) by name."""

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Points = dict[str, list[tuple[int, float]]]


def scalars(folder: Path) -> Points:
    """What TensorBoard shows of a folder."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def drawn(curve: list[dict[str, float]]) -> Points:
    """A stage's curve as trackers show it."""
    found: Points = {}
    for point in curve:
        for name, value in point.items():
            if name != "step":
                shown = "val/accuracy" if name == "val_accuracy" else f"train/{name}"
                found.setdefault(shown, []).append((int(point["step"]), value))
    return found


def in_float32(found: Points) -> Points:
    return {name: [(step, float(np.float32(value))) for step, value in points] for name, points in found.items()}


def shown_as_stored(tracking: Path, stage: str, part: str, curve: list[dict[str, float]]) -> bool:
    """Whether TensorBoard shows the curve that a training of a stage stored, each point once."""
    shown, stored = scalars(tracking / "tensorboard" / stage / part), in_float32(drawn(curve))
    return bool(stored) and {name: shown.get(name) for name in stored} == stored
