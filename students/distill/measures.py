"""Distances and rescalings shared by several distillers; student first, teacher second."""

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-8


def softened_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), mean over rows; logits (Q, way) -> scalar."""
    log_student = F.log_softmax(student / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher / temperature, dim=-1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2


def softened_kl_rows(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The same row by row: (Q, way) -> (Q,)."""
    log_student = F.log_softmax(student / temperature, dim=-1)
    log_teacher = F.log_softmax(teacher / temperature, dim=-1)
    return F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(-1) * temperature**2


def pearson_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - mean over rows of the Pearson correlation; (R, C) each -> scalar in [0, 2]."""
    student = student - student.mean(-1, keepdim=True)
    teacher = teacher - teacher.mean(-1, keepdim=True)
    norm = (student.norm(dim=-1) * teacher.norm(dim=-1)).clamp_min(EPS)
    return 1 - ((student * teacher).sum(-1) / norm).mean()


def standardised(logits: Tensor) -> Tensor:
    """Each row with mean 0 and standard deviation 1 over the classes (logit standardisation, Sun et al., CVPR 2024)."""
    centred = logits - logits.mean(-1, keepdim=True)
    return centred / (logits.std(-1, keepdim=True, unbiased=False) + EPS)


def non_target(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (Q, way) without the true class's: (Q, way - 1)."""
    others = torch.ones_like(logits, dtype=torch.bool).scatter_(1, labels[:, None], False)
    return logits[others].view(logits.shape[0], -1)


def video_embeddings(tokens: Tensor) -> Tensor:
    """Tokens (N, T, D) -> one embedding a video, their mean over frames: (N, D)."""
    return tokens.mean(1)


def unit(embeddings: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays."""
    return embeddings / embeddings.square().sum(-1, keepdim=True).clamp_min(EPS).sqrt()


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """All squared Euclidean distances: (N, D), (M, D) -> (N, M), not below 0."""
    return (a.square().sum(-1)[:, None] + b.square().sum(-1) - 2 * a @ b.T).clamp_min(0)


def off_diagonal(square: Tensor) -> Tensor:
    """(N, N) -> (N, N - 1): each row without its own entry."""
    keep = ~torch.eye(len(square), dtype=torch.bool, device=square.device)
    return square[keep].view(len(square), -1)
