"""Short measurements of the machine that decide how a network is run, never what it computes in scoring."""

import time
from functools import lru_cache
from typing import NamedTuple

import torch

from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.students.trunks import BACKBONES

CPU_FRAMES = 32  # larger batches lose time to page faults on CPUs
_CUDA_FRAMES = (32, 1024)
_GAIN = 1.05  # what a larger batch, or bfloat16, must gain to be taken
_ROUNDS = 3
_HOPELESS = 4  # times as slow in a first pass, which allocates too: processors without bfloat16 are hundreds
_SIDE = 256  # of the matrices that tell such a processor, in half a second at most


class Precision(NamedTuple):
    """Frames a second, forward and backward, of a trunk in float32 and under bfloat16 autocast."""

    float32: float
    bfloat16: float

    @property
    def bf16(self) -> bool:
        """Whether bfloat16 is worth it."""
        return self.bfloat16 > _GAIN * self.float32


def training_precision(backbone: str, image_size: int, device: torch.device) -> Precision:
    """Time one trunk on square frames."""
    with torch_scope(device, 0, "probe"):
        trunk = BACKBONES[backbone].build().to(device).to(memory_format=torch.channels_last)
        frames = torch.rand(CPU_FRAMES, 3, image_size, image_size, device=device)
    return precision_of(trunk, frames.contiguous(memory_format=torch.channels_last))


def precision_of(network: torch.nn.Module, batch: torch.Tensor) -> Precision:
    """Time a network on a batch of its own device, the two precisions in turn; the fastest round of each counts.

    Rows of the batch a second; the network is in training mode afterwards.
    """
    network.train()
    device = batch.device

    def seconds(bf16: bool) -> float:
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = network(batch).float().mean()
        loss.backward()
        _wait(device)
        return time.perf_counter() - start

    seconds(False)  # the first pass allocates
    full, half = len(batch) / seconds(False), len(batch) / seconds(True)
    if half * _HOPELESS < full:
        return Precision(full, half)
    rounds = [(seconds(False), seconds(True)) for _ in range(_ROUNDS)]
    full, half = (len(batch) / min(times) for times in zip(*rounds, strict=True))
    return Precision(full, half)


@lru_cache
def bfloat16_slowdown(device: torch.device) -> float:
    """How many times float32's time a matrix product takes in bfloat16, where the device only emulates it; else 0."""

    def seconds(dtype: torch.dtype) -> float:
        matrix = torch.zeros(_SIDE, _SIDE, dtype=dtype, device=device)
        times = []
        for _ in range(1 + _ROUNDS):  # the first one sets up
            start = time.perf_counter()
            matrix @ matrix
            _wait(device)
            times.append(time.perf_counter() - start)
        return min(times)

    ratio = seconds(torch.bfloat16) / seconds(torch.float32)
    return ratio if ratio > _HOPELESS else 0.0


@lru_cache
def embedding_frames(backbone: str, image_size: int, device: torch.device) -> int:
    """How many frames to embed at once on an accelerator: doubled from 32 while it gains five per cent and fits."""
    return largest_worthwhile(backbone, image_size, device, *_CUDA_FRAMES)


@torch.no_grad()
def largest_worthwhile(backbone: str, image_size: int, device: torch.device, first: int, last: int) -> int:
    """The batch, from ``first`` frames doubled up to ``last``, beyond which frames a second stop growing."""
    with torch_scope(device, 0, "probe"):
        trunk = BACKBONES[backbone].build().to(device).to(memory_format=torch.channels_last).eval()
    best, best_rate, count = first, 0.0, first
    while count <= last:
        try:
            frames = torch.rand(count, 3, image_size, image_size, device=device)
            frames = frames.contiguous(memory_format=torch.channels_last)
            rate = max(_rate(trunk, frames, device) for _ in range(_ROUNDS))
        except torch.OutOfMemoryError:
            break
        if rate < _GAIN * best_rate:
            break
        best, best_rate, count = count, rate, 2 * count
    return best


def _rate(trunk: torch.nn.Module, frames: torch.Tensor, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    trunk(frames)
    _wait(device)
    return len(frames) / (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
