"""Support distances, query logits, and the two branches of one episode."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH, TokenEncoder
from fewdistill.students.encoding import frame_encoding
from fewdistill.students.few_shot import FewShotStudent, episode_output
from fewdistill.students.heads.trx import TRX
from fewdistill.students.output import class_prototypes, query_logits, support_distances
from tests.oracles import class_distances

drawn = settings(derandomize=True, deadline=None, max_examples=30)


def support(seed: int, way: int, shot: int) -> tuple[Tensor, Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(way * shot, 3, 5, generator=generator, dtype=torch.float64)
    return tokens, torch.arange(way).repeat_interleave(shot), generator


@drawn
@given(seed=st.integers(0, 999), way=st.integers(2, 6), shot=st.integers(1, 5))
def test_distances_by_label_are_the_equation_in_any_order(seed: int, way: int, shot: int) -> None:
    tokens, labels, generator = support(seed, way, shot)
    expected = class_distances(tokens, labels, way)
    order = torch.randperm(len(labels), generator=generator)
    torch.testing.assert_close(support_distances(tokens, labels, way), expected)
    torch.testing.assert_close(support_distances(tokens[order], labels[order], way), expected)


def test_distances_by_hand() -> None:
    tokens = torch.tensor([[[0.0], [0.0]], [[3.0], [4.0]], [[0.0], [2.0]]])  # (S, T = 2, D = 1)
    ours = support_distances(tokens, torch.tensor([0, 1, 2]), 3)
    torch.testing.assert_close(ours, -torch.tensor([[25.0, 4.0], [25.0, 13.0], [4.0, 13.0]]) / 2)


def test_prototypes_weigh_unbalanced_classes_rightly() -> None:
    tokens = torch.tensor([[[1.0]], [[3.0]], [[10.0]]])
    assert class_prototypes(tokens, torch.tensor([1, 1, 0]), 2).flatten().tolist() == [10.0, 2.0]


def test_query_logits_add_the_branches() -> None:
    total = query_logits({"a": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([[10.0, -5.0]])})
    assert total.tolist() == [[11.0, -3.0]]


def test_branches_of_an_episode_are_separate_episodes_of_one_head() -> None:
    generator = torch.Generator().manual_seed(0)
    names = QUERY_BRANCH, LABEL_BRANCH
    tokens = {name: torch.randn(8, 4, 6, generator=generator) for name in names}
    labels, head = torch.tensor([1, 0, 2, 2, 1]), TRX(6, 4, head_width=8).eval()
    output = episode_output(tokens, head, labels, 3)
    for name in names:
        alone = head(tokens[name][:5], labels, tokens[name][5:], 3)
        torch.testing.assert_close(output.logits[name], alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.support_distances, support_distances(tokens[LABEL_BRANCH][:5], labels, 3))


def test_a_student_answers_one_episode_of_frames() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = FewShotStudent(TokenEncoder("resnet18", 16), TRX(16, 2, head_width=8), 2).eval()
    frames = torch.rand(6 * 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output = student(frames, torch.tensor([1, 0, 1, 0]), 2)
        tokens = student.encoder.clips(frames, 2)
    assert {name: tuple(value.shape) for name, value in output.logits.items()} == {"kl": (2, 2), "ce": (2, 2)}
    assert output.support_distances.shape == (2, 1)
    assert all(torch.equal(output.tokens[name], tokens[name]) for name in tokens)


@pytest.mark.parametrize("width", [6, 7])
def test_frame_encoding_is_a_tenth_of_the_sinusoid(width: int) -> None:
    encoding = frame_encoding(5, width)
    assert encoding.shape == (5, width)
    for frame in range(5):
        for channel in range(width):
            angle = torch.tensor(frame / 10000 ** (2 * (channel // 2) / width))
            expected = 0.1 * (torch.cos(angle) if channel % 2 else torch.sin(angle))
            assert abs(encoding[frame, channel] - expected) < 1e-6
