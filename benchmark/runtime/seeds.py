"""Randomness by name: every stream is derived from one seed and the axes it belongs to. No global state is used."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, *axes: str | int) -> int:
    """A 63-bit seed for the stream named by ``axes``; equal arguments give equal seeds on every machine."""
    text = "/".join([str(seed), *map(str, axes)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *axes: str | int) -> np.random.Generator:
    """A numpy generator for the stream named by ``axes``."""
    return np.random.default_rng(derive(seed, *axes))


@contextmanager
def torch_scope(device: "torch.device", seed: int, *axes: str | int) -> Iterator[None]:
    """Torch's generators seeded for the block and put back after it.

    Dropout and weight initialisation read torch's global generator; inside the scope they depend on the axes
    alone, so that a resumed run draws what an undisturbed one would have drawn.
    """
    import torch  # here, so that the command line can say its help without waiting for it

    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(seed, *axes))
        yield
