"""``bf16 = "auto"``: each network trains in bfloat16 where a probe of that very network says it is faster.

The precision of training is part of what a result is. So a probe is made once a run folder, written there, and kept:
a run that resumes, on whatever machine, goes on as it began.
"""

import json
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.runtime.probe import Precision, training_precision
from fewdistill.benchmark.runtime.progress import bar, say
from fewdistill.feature_cache import run_lock, write_atomic


def settled(suite: Suite, folder: Path, device: torch.device) -> Suite:
    """The suite with the names of its bfloat16 networks in the place of "auto"; others are returned as they are."""
    if suite.bf16 != "auto":
        return suite
    networks = dict.fromkeys(
        network for _, version in suite.versions() for network in (*version.students, version.teacher.encoder)
    )
    found: dict[str, dict[str, Any]] = {}
    with bar("probe of bfloat16", "networks") as tick:
        for done, network in enumerate(networks, start=1):
            found[network] = probed(
                folder / f"{network.replace('/', '-')}-{suite.data.image_size}px.json",
                partial(training_precision, network, suite.data.image_size, device),
                device,
            )
            tick(done, len(networks))
    return suite.model_copy(update={"bf16": tuple(name for name, probe in found.items() if probe["bf16"])})


def probes(folder: Path) -> dict[str, dict[str, Any]]:
    """The probes that stand in a run folder, by network and size: what a record's provenance tells."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def probed(path: Path, measure: Callable[[], Precision], device: torch.device) -> dict[str, Any]:
    """The probe that stands in a file, measured now where there is none; RunError for a damaged one."""
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
