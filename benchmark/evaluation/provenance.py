"""Where and with what a record was made."""

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.runtime.machine import peak_memory_mib, processor


def commit() -> str:
    """The checkout's commit, marked when files differ from it."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return "not known: no git"
    return found.stdout.strip() or "not a git checkout"


def provenance(context: RunContext, row: str) -> dict[str, Any]:
    """Where and with what a record was made; no part of its identity."""
    hardware = torch.cuda.get_device_name(context.device) if context.device.type == "cuda" else processor()
    return {
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": context.device.type,
        "hardware": hardware,
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": context.group.size if context.group else 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": np.__version__,
        "argv": list(context.argv),
        "row": row,
        "bf16_probes": _probes(context.runs / "precision"),
        "peak_memory_mib": round(peak_memory_mib()),
    }


def _probes(folder: Path) -> dict[str, dict[str, Any]]:
    """The probes of bfloat16 in a run folder, by network and size."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
