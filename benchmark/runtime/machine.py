"""The machine: its processor, and the most memory that this process has held."""

import platform
import sys
from functools import lru_cache
from pathlib import Path

import psutil
import torch

if sys.platform != "win32":
    import resource


def peak_memory_mib(device: torch.device | None = None) -> float:
    """MiB at most held so far: torch's allocator on a CUDA device, else the resident set of this process."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


@lru_cache
def processor() -> str:
    """The processor's model, from where Linux tells it, else what Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
