"""What every comparison uses: tolerances, and weights by the recorded rule."""

import zlib

import numpy as np
import torch
from torch import Tensor, nn

ATOL = 1e-4
HEADS_RTOL = 1e-5
NETWORKS_RTOL = 1e-4


def close(ours: Tensor, theirs: Tensor, what: str, rtol: float = HEADS_RTOL) -> None:
    torch.testing.assert_close(
        ours.detach(), theirs.to(ours.dtype).reshape(ours.shape), rtol=rtol, atol=ATOL, msg=lambda m: f"{what}: {m}"
    )


def det_fill(module: nn.Module, seed: int, released_name: dict[str, str]) -> None:
    """Weights by the recorded rule: each tensor drawn from a generator seeded by its released name."""
    state = module.state_dict()
    for key, value in state.items():
        if not value.is_floating_point():
            continue
        prefix = next(p for p in released_name if key.startswith(p))
        released = released_name[prefix] + key.removeprefix(prefix)
        generator = np.random.default_rng(zlib.crc32(released.encode()) + seed)
        x = torch.from_numpy(generator.standard_normal(tuple(value.shape), np.float32))
        if key.endswith("running_var"):
            x = 1 + 0.1 * x.abs()
        elif value.dim() > 1:
            x = x / value[0].numel() ** 0.5
        else:
            x = 1 + 0.1 * x if key.endswith("weight") else 0.1 * x
        value.copy_(x)
    module.load_state_dict(state)
