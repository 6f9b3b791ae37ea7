"""Token distillation: the student's frame tokens follow the teacher's, video by video.

Mean squared error between layer-normalised tokens, so that the scale of either network does not matter.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def token_loss(student: Mapping[str, Tensor], teacher: Tensor) -> Tensor:
    """Tokens by branch, each (N, T, D), and teacher tokens (N, T, D) -> scalar, mean over branches and entries."""
    width = (teacher.shape[-1],)
    target = F.layer_norm(teacher.detach(), width)
    return torch.stack([F.mse_loss(F.layer_norm(t, width), target) for t in student.values()]).mean()
