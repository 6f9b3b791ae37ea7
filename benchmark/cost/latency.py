"""Wall time of networks, on the machine as it is."""

import copy
import time
from collections.abc import Callable
from typing import NamedTuple

import psutil
import torch

from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.students.few_shot import FewShotStudent


class Latency(NamedTuple):
    """Median wall time in milliseconds, torch threads, and the 1-minute load average when timing began."""

    p50_ms: float
    threads: int
    load: float


def latency_p50(fn: Callable[[], object], repeats: int = 20, warmup: int = 3) -> Latency:
    """Median time of fn() on the CPU at torch's present thread count; a load near or above the threads spoils it."""
    if repeats < 1 or warmup < 0:
        raise UserError(f"timing needs at least one repeat and no negative warm-up, not {repeats} and {warmup}")
    load = psutil.getloadavg()[0]
    for _ in range(warmup):
        fn()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        fn()
        times.append(time.perf_counter() - start)
    middle = sorted(times)[(repeats - 1) // 2 : repeats // 2 + 1]
    return Latency(1e3 * sum(middle) / len(middle), torch.get_num_threads(), load)


def student_latency(student: FewShotStudent, image_size: int, repeats: int = 20) -> Latency:
    """Latency of encoding one video (its frames, all branches) on the CPU, in float32 and eval mode."""
    encoder = copy.deepcopy(student.encoder).to("cpu", torch.float32).eval()
    frames = torch.full_like(encoder.example(1, student.frames, image_size), 0.5, device="cpu")
    with torch.inference_mode():
        return latency_p50(lambda: encoder(frames), repeats)
