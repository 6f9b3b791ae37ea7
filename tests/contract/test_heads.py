"""What every registered matching head promises, whatever its rule."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fewdistill.students import StudentError
from fewdistill.students.heads import HEADS
from fewdistill.students.heads.base import gather_keys, split_keys
from fewdistill.students.heads.trx import TRX
from tests.oracles import trx_logits

WIDTH, FRAMES = 16, 4
SINGLE_FRAME: dict[str, dict[str, Any]] = {"trx": {"tuple_sizes": (1,)}}  # what a head needs for clips of one frame
PAIRS_ONLY = {"strm"}
BOUNDS = {"otam": 4 * FRAMES, "otam_released": 4 * FRAMES}  # distances up to 2, a frame each, both directions
RELATE_CLASSES = {"hyrsm"}  # a class's logit depends on the other classes' support

each_head = pytest.mark.parametrize("name", list(HEADS))
drawn = settings(derandomize=True, deadline=None, max_examples=8)


def head_of(name: str, frames: int = FRAMES, **options: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return HEADS[name](width=WIDTH, frames=frames, **options).double().eval()


def episode(
    seed: int = 0, way: int = 3, shot: int = 2, queries: int = 4, frames: int = FRAMES
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Support, shuffled labels, query, way; float64."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(way).repeat(shot)[torch.randperm(way * shot, generator=generator)]

    def tokens(count: int) -> Tensor:
        return torch.randn(count, frames, WIDTH, generator=generator, dtype=torch.float64)

    return tokens(way * shot), labels, tokens(queries), way


def close(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@each_head
@drawn
@given(seed=st.integers(0, 99), way=st.integers(1, 6), shot=st.integers(1, 4))
def test_support_order_does_not_matter(name: str, seed: int, way: int, shot: int) -> None:
    head, (support, labels, query, _) = head_of(name), episode(seed, way, shot)
    order = torch.randperm(way * shot, generator=torch.Generator().manual_seed(seed))
    close(head(support[order], labels[order], query, way), head(support, labels, query, way))


@each_head
@drawn
@given(seed=st.integers(0, 99), way=st.integers(2, 6))
def test_renaming_classes_permutes_the_logits(name: str, seed: int, way: int) -> None:
    head, (support, labels, query, _) = head_of(name), episode(seed, way)
    renamed = torch.randperm(way, generator=torch.Generator().manual_seed(seed))
    close(head(support, renamed[labels], query, way)[:, renamed], head(support, labels, query, way))


@each_head
def test_labels_are_read(name: str) -> None:
    head, (support, labels, query, way) = head_of(name), episode()
    assert not torch.allclose(head(support, labels.roll(1), query, way), head(support, labels, query, way))


@each_head
def test_queries_do_not_see_each_other(name: str) -> None:
    head, (support, labels, query, way) = head_of(name), episode()
    together = head(support, labels, query, way)
    assert together.shape == (4, way)
    alone = torch.cat([head(support, labels, one[None], way) for one in query])
    close(together, alone)
    close(head(support, labels, query.flip(0), way), together.flip(0))


@each_head
def test_frame_order_is_an_input(name: str) -> None:
    head, (support, labels, query, way) = head_of(name), episode()
    scale = torch.linspace(0.5, 2, FRAMES, dtype=query.dtype)[:, None]
    assert not torch.allclose(head(support, labels, query * scale, way), head(support, labels, query, way))


@each_head
def test_project_then_match_is_forward(name: str) -> None:
    head, (support, labels, query, way) = head_of(name), episode()
    keys = head.project(torch.cat([support, query]))
    assert all(k.shape[0] == len(support) + len(query) for k in keys)
    support_keys, query_keys = split_keys(keys, len(support))
    close(head.match(support_keys, labels[None], query_keys, way)[0], head(support, labels, query, way))


@each_head
def test_a_batch_of_episodes_is_its_episodes(name: str) -> None:
    head, generator, (way, shot) = head_of(name), torch.Generator().manual_seed(5), (3, 2)
    videos = torch.randn(20, FRAMES, WIDTH, generator=generator, dtype=torch.float64)
    keys = head.project(videos)
    rows = torch.stack([torch.randperm(20, generator=generator)[:10] for _ in range(3)])
    labels = torch.stack([torch.arange(way).repeat(shot)[torch.randperm(6, generator=generator)] for _ in range(3)])
    batch = head.match(gather_keys(keys, rows[:, :6]), labels, gather_keys(keys, rows[:, 6:]), way)
    assert batch.shape == (3, 4, way)
    for index in range(3):
        close(batch[index], head(videos[rows[index, :6]], labels[index], videos[rows[index, 6:]], way))


@each_head
@drawn
@given(seed=st.integers(0, 99), counts=st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_unbalanced_classes_score_as_each_class_alone(name: str, seed: int, counts: list[int]) -> None:
    head, way = head_of(name), len(counts)
    support, _, query, _ = episode(seed, way=sum(counts), shot=1)
    labels = torch.arange(way).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    together = head(support, labels, query, way)
    if name in RELATE_CLASSES:
        assert together.isfinite().all()
        return
    alone = [head(support[labels == c], torch.zeros(counts[c], dtype=torch.int64), query, 1) for c in range(way)]
    close(together, torch.cat(alone, dim=1))


@each_head
def test_unbalanced_episodes_batch(name: str) -> None:
    head, (support, _, query, _) = head_of(name), episode(way=6, shot=1)
    labels = torch.tensor([[0, 0, 1, 1, 2, 2], [2, 0, 0, 1, 0, 0]])
    support_keys, query_keys = (
        tuple(k.expand(2, *k.shape[1:]) for k in part)
        for part in split_keys(head.project(torch.cat([support, query])), 6)
    )
    batch = head.match(support_keys, labels, query_keys, 3)
    for index in range(2):
        close(batch[index], head(support, labels[index], query, 3))


@each_head
def test_every_parameter_and_token_gets_a_finite_gradient(name: str) -> None:
    head, (support, labels, query, way) = head_of(name).train(), episode()
    support.requires_grad_(), query.requires_grad_()
    F.cross_entropy(head(support, labels, query, way), torch.tensor([0, 1, 2, 0])).backward()
    for what, value in [("support", support), ("query", query), *head.named_parameters()]:
        assert value.grad is not None, what
        assert value.grad.isfinite().all() and (value.grad != 0).any(), what


@each_head
@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 1]])
def test_gradients_agree_with_differences(name: str, labels: list[int]) -> None:
    head, (support, _, query, _) = head_of(name), episode(way=len(labels), shot=1, queries=1)
    inputs = support.requires_grad_(), query.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, q: head(s, torch.tensor(labels), q, 2), inputs, fast_mode=True)


@each_head
@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 0, 0]])
def test_bfloat16_autocast_runs(name: str, labels: list[int]) -> None:
    head, (support, _, query, way) = head_of(name).float(), episode()
    support, query, labelled = support.float(), query.float(), torch.tensor(labels)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = head(support, labelled, query, way)
    fine = head(support, labelled, query, way)
    assert coarse.isfinite().all()
    torch.testing.assert_close(coarse.float(), fine, rtol=0.1, atol=0.1 * float(fine.detach().abs().max()))


@each_head
@pytest.mark.parametrize("labels", [[0, 1, 0, 1], [0, 0, 0, 0], [2, 2, 1, 1]])
def test_a_class_without_support_is_refused(name: str, labels: list[int]) -> None:
    head, (support, _, query, _) = head_of(name), episode(way=4, shot=1)
    with pytest.raises(StudentError, match="3 classes"):
        head(support, torch.tensor(labels), query, 3)


@each_head
def test_tokens_of_another_shape_are_refused(name: str) -> None:
    with pytest.raises(StudentError, match="tokens"):
        head_of(name).project(torch.zeros(2, FRAMES + 1, WIDTH, dtype=torch.float64))


def _finite_forward_and_backward(head: nn.Module, support: Tensor, labels: Tensor, query: Tensor, way: int) -> Tensor:
    support, query = support.float().requires_grad_(), query.float().requires_grad_()
    logits = head.float()(support, labels, query, way)
    F.cross_entropy(logits, torch.arange(len(query)) % way).backward()
    assert logits.isfinite().all() and support.grad.isfinite().all() and query.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in head.parameters())
    return logits


@each_head
def test_identical_videos_tie(name: str) -> None:
    support, labels, query, way = episode()
    same = support[:1].expand_as(support)
    logits = _finite_forward_and_backward(head_of(name), same, labels, query, way)
    close(logits, logits[:, :1].expand_as(logits), 1e-4)


@each_head
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_features_are_finite(name: str, value: float) -> None:
    support, labels, query, way = episode()
    _finite_forward_and_backward(
        head_of(name), torch.full_like(support, value), labels, torch.full_like(query, value), way
    )


@each_head
def test_one_frame_and_one_shot(name: str) -> None:
    if name in PAIRS_ONLY:
        with pytest.raises(StudentError, match="one frame"):
            head_of(name, frames=1)
        return
    head = head_of(name, frames=1, **SINGLE_FRAME.get(name, {}))
    logits = _finite_forward_and_backward(head, *episode(shot=1, frames=1))
    assert logits.shape == (4, 3)


@each_head
def test_huge_logits_are_finite(name: str) -> None:
    support, labels, query, way = episode()
    logits = _finite_forward_and_backward(head_of(name), 1e4 * support, labels, 1e4 * query, way)
    assert logits.abs().max() > 1e4 or logits.abs().max() <= BOUNDS.get(name, FRAMES)  # as rules on cosines are


@drawn
@given(
    seed=st.integers(0, 999),
    counts=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    frames=st.integers(2, 5),
    sizes=st.sampled_from([(1,), (2,), (1, 2)]),
)
def test_trx_is_its_equations(seed: int, counts: list[int], frames: int, sizes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(seed)
    way = len(counts)
    labels = torch.arange(way).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    support = torch.randn(len(labels), frames, WIDTH, generator=generator)
    query = torch.randn(2, frames, WIDTH, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = TRX(WIDTH, frames, tuple_sizes=sizes, head_width=8).eval()
    with torch.no_grad():
        ours = head(support, labels, query, way)
        torch.testing.assert_close(ours, trx_logits(head, support, labels, query, way), rtol=1e-5, atol=1e-5)
        head, support, query = head.double(), support.double(), query.double()
        close(head(support, labels, query, way), trx_logits(head, support, labels, query, way))


def test_trx_triples_are_their_equations() -> None:
    head = head_of("trx", frames=5, tuple_sizes=(2, 3), head_width=8)
    support, labels, query, way = episode(way=2, frames=5)
    close(head(support, labels, query, way), trx_logits(head, support, labels, query, way))


def test_trx_refuses_tuples_longer_than_the_clip() -> None:
    with pytest.raises(StudentError, match="3 frames"):
        TRX(WIDTH, 2, tuple_sizes=(3,))
    with pytest.raises(StudentError, match="tuple size"):
        TRX(WIDTH, 2, tuple_sizes=())


def test_dropout_is_off_in_eval_and_on_in_training() -> None:
    head, (support, labels, query, way) = head_of("trx"), episode()
    close(head(support, labels, query, way), head(support, labels, query, way))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head.train()
        assert not torch.equal(head(support, labels, query, way), head(support, labels, query, way))
