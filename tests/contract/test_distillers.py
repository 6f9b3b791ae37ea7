"""What every registered distiller promises, at its default settings."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from students.backbones import LABEL_BRANCH, QUERY_BRANCH
from students.distill import DISTILLERS
from students.output import EpisodeOutput

WAY, SUPPORT, QUERIES, FRAMES, WIDTH = 4, 8, 6, 3, 5
LABEL_PARTS = {"loss", "ce"}  # the rest of the parts distil

each_distiller = pytest.mark.parametrize("name", list(DISTILLERS))


def labels() -> Tensor:
    return torch.arange(QUERIES) % WAY


def student_tensors(seed: int) -> list[Tensor]:
    """Logits of both branches, support distances, tokens of both branches; float64, requiring gradients."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(QUERIES, WAY)] * 2 + [(WAY, WAY - 1)] + [(SUPPORT + QUERIES, FRAMES, WIDTH)] * 2
    return [torch.randn(*s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]


def student_of(tensors: list[Tensor]) -> EpisodeOutput:
    first, second, distances, *tokens = tensors
    names = QUERY_BRANCH, LABEL_BRANCH
    return EpisodeOutput(
        dict(zip(names, (first, second), strict=True)), distances, dict(zip(names, tokens, strict=True))
    )


def teacher_of(tensors: list[Tensor]) -> EpisodeOutput:
    first, _, distances, tokens, _ = tensors
    return EpisodeOutput({"fused": first}, distances, {"fused": tokens})


@each_distiller
def test_gradients_reach_the_student_and_never_the_teacher(name: str) -> None:
    ours, theirs = student_tensors(0), student_tensors(1)
    parts = DISTILLERS[name]()(student_of(ours), teacher_of(theirs), labels())
    assert parts["loss"].shape == ()
    parts["loss"].backward()
    reached = [value.grad for value in ours if value.grad is not None]
    assert reached and all(grad.isfinite().all() and (grad != 0).any() for grad in reached)
    assert all(value.grad is None for value in theirs)


@each_distiller
@settings(derandomize=True, deadline=None, max_examples=15)
@given(seed=st.integers(0, 999))
def test_distillation_is_least_where_the_student_is_the_teacher(name: str, seed: int) -> None:
    distiller, teacher = DISTILLERS[name](), student_tensors(seed)
    other = student_tensors(seed + 1000)
    same = [value.detach().clone().requires_grad_() for value in teacher]
    at_teacher = distiller(student_of(same), teacher_of(teacher), labels())
    elsewhere = distiller(student_of(other), teacher_of(teacher), labels())
    distilled = set(at_teacher) - LABEL_PARTS
    assert distilled
    for part in distilled:
        assert abs(at_teacher[part].item()) < 1e-6, part
        assert elsewhere[part].item() > 1e-6, part
    sum(at_teacher[part] for part in distilled).backward()
    assert all(value.grad is None or value.grad.abs().max() < 1e-4 for value in same)


@each_distiller
def test_gradients_agree_with_differences(name: str) -> None:
    distiller, teacher = DISTILLERS[name](), teacher_of(student_tensors(1))
    loss: Callable[..., Tensor] = lambda *tensors: distiller(student_of(list(tensors)), teacher, labels())["loss"]  # noqa: E731
    assert torch.autograd.gradcheck(loss, student_tensors(0), fast_mode=True)


@each_distiller
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_extreme_outputs_are_finite(name: str, scale: float) -> None:
    ours = [(scale * value.detach().float()).requires_grad_() for value in student_tensors(0)]
    theirs = [scale * value.detach().float() for value in student_tensors(1)]
    parts = DISTILLERS[name]()(student_of(ours), teacher_of(theirs), labels())
    parts["loss"].backward()
    assert all(part.isfinite() for part in parts.values())
    assert all(value.grad is None or value.grad.isfinite().all() for value in ours)
