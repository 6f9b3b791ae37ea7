"""What the machine can do at best, and what it is: measured in the run that reports it."""

import os
import platform
import statistics
import time
from typing import Any

import psutil
import torch

from fewdistill.benchmark.evaluation.provenance import commit
from fewdistill.benchmark.runtime.machine import processor
from tools.speed.cases import Bench, Sizes, timed

_COPY_BYTES = 1 << 30


def limits(bench: Bench) -> dict[str, float]:
    """GEMM speed (GFLOP/s) in float32 and bfloat16 on the shapes of a TRX projection, and copy speed (GB/s, read plus
    write)."""
    sizes = bench.sizes
    rows = sizes.way * (sizes.shot + sizes.query) * sizes.frames
    found: dict[str, float] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        left = torch.randn(rows, sizes.width).to(dtype)
        right = torch.randn(sizes.width, 4 * sizes.head_width).to(dtype)
        flop = 2 * rows * sizes.width * 4 * sizes.head_width
        start = time.perf_counter()
        left @ right
        seconds: tuple[float, ...] = (time.perf_counter() - start,)
        if flop / seconds[0] / 1e9 > found.get("gemm_float32_gflops", 0) / 20:  # else emulated, and once is enough
            seconds = timed(sizes, lambda a=left, b=right: a @ b, warm=True)  # type: ignore[misc]
        found[f"gemm_{name}_gflops"] = flop / statistics.median(seconds) / 1e9
    count = _COPY_BYTES // 8 if sizes.repeats > 2 else 1 << 20
    source, target = torch.ones(count), torch.empty(count)
    found["copy_gb"] = 8 * count / statistics.median(timed(sizes, lambda: target.copy_(source))) / 1e9
    return found


def environment() -> dict[str, Any]:
    """Processor, cores, threads, load, versions and commit."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(psutil.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit(),
    }


def trx_gflop(sizes: Sizes, tuple_size: int) -> float:
    """Work of the smallest exact TRX episode: every frame projected once a position, scores and prototypes by frames.

    Two maps of width x head_width a frame and position; one Gram matrix and one weighted sum over c x frames rows.
    """
    videos, queries = sizes.way * (sizes.shot + sizes.query), sizes.way * sizes.query
    support_rows = sizes.way * sizes.shot * tuple_size * sizes.frames
    tuples = 1
    for step in range(tuple_size):
        tuples = tuples * (sizes.frames - step) // (step + 1)
    project = 2 * videos * sizes.frames * tuple_size * sizes.width * sizes.head_width * 2
    gram = 2 * queries * tuple_size * sizes.frames * support_rows * sizes.head_width
    prototypes = 2 * queries * tuples * support_rows * sizes.head_width
    return (project + gram + prototypes) / 1e9
