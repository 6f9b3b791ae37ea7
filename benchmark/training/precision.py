"""``bf16 = "auto"``: each network trains in bfloat16 where a probe of that very network says it is faster.

The precision of training is part of what a result is. So a probe is made once a run folder, written there, and kept:
a run that resumes, on whatever machine, goes on as it began.
"""

import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.runtime.probe import Precision
from fewdistill.benchmark.runtime.progress import bar, say
from fewdistill.feature_cache import run_lock, write_atomic


def resolve_bf16(
    measures: Mapping[str, tuple[str, Callable[[], Precision]]], folder: Path, device: torch.device
) -> tuple[str, ...]:
    """The networks for which bfloat16 is worth it. measures: by network, the name of its probe and how to make it."""
    taken = []
    with bar("probe of bfloat16", "networks") as tick:
        for done, (network, (name, measure)) in enumerate(measures.items(), start=1):
            if probed(folder / f"{name}.json", measure, device)["bf16"]:
                taken.append(network)
            tick(done, len(measures))
    return tuple(taken)


def probed(path: Path, measure: Callable[[], Precision], device: torch.device) -> dict[str, Any]:
    """The probe kept in a file, measured now where there is none; RunError for a damaged one."""
    if not path.exists():
        with run_lock(path.parent, lambda owner: say(f"[waiting for the probe of bfloat16: {owner}]")):
            _probe(path, measure, device)
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise RunError(f"{path}: not a readable probe ({error}); delete it to measure again") from error


def _probe(path: Path, measure: Callable[[], Precision], device: torch.device) -> None:
    """Measure and write, unless another run did meanwhile."""
    if not path.exists():
        measured = measure()
        content = {
            "bf16": measured.bf16,
            "float32_frames_per_second": round(measured.float32, 1),
            "bfloat16_frames_per_second": round(measured.bfloat16, 1),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
            "threads": torch.get_num_threads(),
        }
        write_atomic(path, [json.dumps(content).encode()])
