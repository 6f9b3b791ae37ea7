"""Token distillation: the student's frame tokens follow the teacher's, video by video.

Mean squared error between layer-normalised tokens, so that the scale of either network does not matter. The part
that all teacher tokens have in common carries no information about a video and would dominate the error, so the
teacher's tokens are standardised first, channel by channel over the training videos.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

_EPS = 1e-6


def standardised_tokens(tokens: Tensor) -> Tensor:
    """Teacher tokens of the training videos (V, T, D), each channel with mean 0 and deviation 1 over V and T."""
    mean, deviation = tokens.mean((0, 1)), tokens.std((0, 1), unbiased=False)
    return (tokens - mean) / (deviation + _EPS)


def token_loss(student: Mapping[str, Tensor], teacher: Tensor) -> Tensor:
    """Tokens by branch and standardised teacher tokens, each (N, T, D) -> scalar, mean over branches and entries."""
    width = (teacher.shape[-1],)
    target = F.layer_norm(teacher.detach(), width)
    return torch.stack([F.mse_loss(F.layer_norm(t, width), target) for t in student.values()]).mean()
