"""Where and with what a record was made."""

import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewdistill.benchmark.cost import latency
from fewdistill.benchmark.graph.place import Place
from fewdistill.benchmark.training.precision import probes


def processor() -> str:
    """The processor's model, from where Linux tells it, else what Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def commit() -> str:
    """The checkout's commit, marked when files differ from it."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return "not known: no git"
    return found.stdout.strip() or "not a git checkout"


def provenance(ws: Place, row: str) -> dict[str, Any]:
    """Where and with what a record was made; no part of its identity."""
    hardware = torch.cuda.get_device_name(ws.device) if ws.device.type == "cuda" else processor()
    return {
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": ws.device.type,
        "hardware": hardware,
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": ws.group.size if ws.group else 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": np.__version__,
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "row": row,
        "bf16": list(ws.suite.bf16),
        "bf16_probes": probes(ws.runs / "precision"),
        "peak_memory_mib": round(latency.peak_memory_mib()),
    }
