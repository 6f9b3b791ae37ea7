"""D2M by hand, and its switches."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH
from fewdistill.students.distill.d2m import D2M, frame_relation
from fewdistill.students.distill.labels import LabelsOnly
from fewdistill.students.distill.measures import pearson_distance, softened_kl, standardised
from fewdistill.students.distill.tokens import token_loss
from fewdistill.students.output import EpisodeOutput


def output(kl: list[list[float]], ce: list[list[float]], support: list[list[float]]) -> EpisodeOutput:
    return EpisodeOutput({QUERY_BRANCH: torch.tensor(kl), LABEL_BRANCH: torch.tensor(ce)}, torch.tensor(support), {})


STUDENT = output([[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
TEACHER = EpisodeOutput(
    {"fused": torch.tensor([[0.0, 4 * math.log(3)]])}, torch.tensor([[0.0, 2.0, 4.0], [1.0, 3.0, 2.0]]), {}
)
ONE = torch.tensor([1])


def test_query_level_by_hand() -> None:
    # at T = 4 the teacher says (1/4, 3/4), the student (1/2, 1/2): 16 (1/4 ln 1/2 + 3/4 ln 3/2)
    expected = 16 * (0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    parts = D2M(standardise=False)(STUDENT, TEACHER, ONE)
    assert parts["query"].item() == pytest.approx(expected, rel=1e-5)


def test_support_level_by_hand() -> None:
    # rows correlate +1 and -1: their mean is 0, the distance 1
    assert D2M()(STUDENT, TEACHER, ONE)["support"].item() == pytest.approx(1.0, abs=1e-6)


def test_labels_and_total_by_hand() -> None:
    loss = D2M(standardise=False, query_weight=2.0, support_weight=3.0, ce_weight=0.5)
    parts = loss(STUDENT, TEACHER, ONE)
    assert parts["ce"].item() == pytest.approx(2 * math.log(2))
    expected = 0.5 * 2 * math.log(2) + 2 * parts["query"].item() + 3 * parts["support"].item()
    assert parts["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_the_teacher_is_the_sum_of_its_branches() -> None:
    halves = EpisodeOutput({name: TEACHER.logits["fused"] / 2 for name in ("a", "b")}, TEACHER.support_distances, {})
    whole = D2M()(STUDENT, TEACHER, ONE)
    torch.testing.assert_close(D2M()(STUDENT, halves, ONE)["loss"], whole["loss"])


def test_standardised_logits_ignore_scale_and_offset() -> None:
    logits = torch.tensor([[1.0, 2.0, 6.0], [-4.0, 0.0, 1.0]])
    once = standardised(logits)
    torch.testing.assert_close(once.mean(1), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(once.std(1, unbiased=False), torch.ones(2))
    torch.testing.assert_close(standardised(100 * logits - 7), once)


def test_support_softmax_is_the_released_one() -> None:
    rows = STUDENT.support_distances.softmax(-1), TEACHER.support_distances.softmax(-1)
    released = D2M(support_temperature=1.0)(STUDENT, TEACHER, ONE)
    torch.testing.assert_close(released["support"], pearson_distance(*rows))


def test_labels_alone_need_no_teacher() -> None:
    plain = LabelsOnly()(STUDENT, None, ONE)
    assert set(plain) == {"loss", "ce"}
    assert torch.equal(plain["loss"], D2M(query_weight=0.0, support_weight=0.0)(STUDENT, TEACHER, ONE)["loss"])
    with pytest.raises(StudentError, match="teacher"):
        D2M()(STUDENT, None, ONE)


def test_primitives_vanish_at_equality_and_are_bounded() -> None:
    a, b = torch.tensor([[1.0, 5.0, -2.0]]), torch.tensor([[0.0, 1.0, 7.0]])
    assert softened_kl(a, a, 4.0).item() == pytest.approx(0, abs=1e-6)
    assert softened_kl(a, b, 4.0) > 0
    assert pearson_distance(a, 3 * a + 2).item() == pytest.approx(0, abs=1e-6)
    assert pearson_distance(a, -a).item() == pytest.approx(2, abs=1e-6)


def test_token_loss_by_hand_and_scale_free() -> None:
    teacher = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])
    student = {"a": 10 * teacher + 3, "b": -teacher}  # normalised: the teacher itself, and its opposite
    assert token_loss({"a": student["a"]}, teacher).item() == pytest.approx(0, abs=1e-4)
    assert token_loss(student, teacher).item() == pytest.approx((0 + 4) / 2, rel=1e-3)


def test_token_loss_leaves_the_teacher_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 3, 4, generator=generator).requires_grad_() for _ in range(2))
    token_loss({"a": student}, teacher).backward()
    assert student.grad is not None and student.grad.isfinite().all() and (student.grad != 0).any()
    assert teacher.grad is None


def drawn(seed: int, videos: int = 3, width: int = 6) -> Tensor:
    return torch.randn(videos, 2, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_frame_relation_is_one_minus_the_correlation_with_other_videos_frame_by_frame() -> None:
    student, teacher = {"kl": drawn(0), "ce": drawn(1)}, drawn(2, width=4)

    def rows(tokens: Tensor) -> list[list[float]]:
        frames = [
            (video, (frame - frame.mean()) / (frame.var(unbiased=False) + 1e-5).sqrt())
            for video, of_video in enumerate(tokens)
            for frame in of_video
        ]
        return [[float((a - b).square().sum()) for w, b in frames if w != v] for v, a in frames]

    correlations = [
        np.corrcoef(row, taught)[0, 1]
        for tokens in student.values()
        for row, taught in zip(rows(tokens), rows(teacher), strict=True)
    ]
    assert len(correlations) == 12
    assert frame_relation(student, teacher).item() == pytest.approx(1 - np.mean(correlations), abs=1e-9)


def test_frame_relation_is_zero_at_the_teacher_and_reaches_the_student_alone() -> None:
    teacher = drawn(0).requires_grad_()
    assert frame_relation({"kl": teacher.flip(2)}, teacher).item() == pytest.approx(0, abs=1e-9)
    student = drawn(1).requires_grad_()
    frame_relation({"kl": student}, teacher).backward()
    assert teacher.grad is None and student.grad is not None and (student.grad != 0).any()
    assert torch.autograd.gradcheck(lambda s: frame_relation({"kl": s}, teacher.detach()), (student,), fast_mode=True)


def test_the_term_of_base_training_is_the_frame_relation() -> None:
    student, teacher = {"kl": drawn(0), "ce": drawn(1)}, drawn(2)
    assert D2M().base_reads == {"tokens"}
    assert D2M(support_weight=3.0).base_terms(student, teacher) == {"relation": (1.0, frame_relation(student, teacher))}
    assert LabelsOnly().base_terms(student, teacher) == {} and not LabelsOnly().base_reads


def test_frame_relation_of_constant_tokens_is_finite() -> None:
    student = torch.ones(3, 2, 6, requires_grad=True)
    frame_relation({"kl": student}, torch.zeros(3, 2, 6)).backward()
    assert student.grad is not None and student.grad.isfinite().all()
