"""The position encoding that TRX and STRM add to frames and patches."""

import math

import torch
from torch import Tensor

_ENCODING_SCALE = 0.1  # the released head shrinks the sinusoid so that it does not drown the tokens


def frame_encoding(frames: int, width: int) -> Tensor:
    """Sinusoidal position encoding, float32 (frames, width), base 10000, scaled by 0.1."""
    position = torch.arange(frames, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))
    encoding = torch.zeros(frames, width)
    encoding[:, 0::2] = torch.sin(position * rate)
    encoding[:, 1::2] = torch.cos(position * rate)[:, : width // 2]
    return encoding * _ENCODING_SCALE
