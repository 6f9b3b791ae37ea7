"""What a process of torchrun does that is not the first: it trains its share of the episodes, and nothing else."""

from collections.abc import Callable

import torch

from fewdistill.benchmark.protocols.episodic.student import reads_teacher, student_stage, student_training
from fewdistill.benchmark.protocols.episodic.teacher import (
    encoder_key,
    encoder_stage,
    encoder_training,
    fusion_stage,
    fusion_training,
    modality_tokens,
    train_teacher,
)
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.benchmark.runtime import progress
from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.runtime.process_group import ElsewhereError, Group, Stop
from fewdistill.feature_cache import CacheError


def follow(group: Group, opened: Callable[[], Workspace]) -> None:
    """Take part in what process 0 calls, until it ends; RunError when it ended by a failure.

    opened: opens the workspace, once process 0 has made what must stand in it.
    """
    progress.CONSOLE.quiet = True
    ws: Workspace | None = None
    while not isinstance(task := group.receive(), Stop):
        try:
            with group.together():
                ws = ws or opened()
                _take_part(ws, *task)
        except (ElsewhereError, RunError, CacheError, torch.OutOfMemoryError):
            continue  # told to process 0, which records the row and goes on
    if task.reason:
        raise RunError(f"process {group.rank} ends, for process 0 failed: {task.reason}")


def _take_part(ws: Workspace, variant: str, kind: str, seed: int, *names: str) -> None:
    at = ws.varied(variant)
    if kind == "encoder":
        (modality,) = names
        encoder_training(at, encoder_stage(at, modality, seed), modality, seed)
    elif kind == "fusion":
        modalities = at.suite.teacher.modalities
        entries = {name: modality_tokens(at, name, seed, encoder_key(at, name, seed)) for name in modalities}
        fusion_training(at, fusion_stage(at, seed), entries, seed)
    else:
        student, named = names
        teacher = train_teacher(at, seed) if reads_teacher(at, student, named) else None
        student_training(at, student_stage(at, student, named, seed), student, named, seed, teacher)
