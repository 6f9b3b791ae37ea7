"""Heads against their equations, written out for one query and one class at a time."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fewdistill.students import StudentError
from fewdistill.students.heads import HEADS
from fewdistill.students.heads.hyrsm import HyRSM
from fewdistill.students.heads.otam import alignment_cost
from fewdistill.students.heads.strm import STRM
from tests import oracles

WIDTH = 6
drawn = settings(derandomize=True, deadline=None, max_examples=10)


def unbalanced(seed: int, counts: list[int], frames: int) -> tuple[Tensor, Tensor, Tensor, int]:
    """Support, shuffled labels with counts[c] videos of class c, two queries, way; float64."""
    generator, way = torch.Generator().manual_seed(seed), len(counts)
    labels = torch.arange(way).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    shapes = (len(labels), frames, WIDTH), (2, frames, WIDTH)
    support, query = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return support, labels, query, way


def cosine_distances(query: Tensor, other: Tensor) -> Tensor:
    norms = query.norm(dim=1)[:, None] * other.norm(dim=1)[None]
    return 1 - query @ other.T / (norms + 0.01)


def one_logit(name: str, query: Tensor, support: Tensor) -> Tensor:
    """The rule for query tokens (T, D) and one class's support (K, T, D)."""
    mean, prototype = query.mean(0), support.mean(0)
    videos = [cosine_distances(query, video) for video in support]
    to_prototype = cosine_distances(query, prototype)
    if name == "e_dist":
        return -torch.stack([(mean - video.mean(0)).norm() for video in support]).mean()
    if name == "protonet":
        return -(mean - prototype.mean(0)).square().sum()
    if name == "mean_cosine":
        return F.cosine_similarity(mean, prototype.mean(0), dim=0)
    if name == "hausdorff":
        return -(to_prototype.min(1).values.mean() + to_prototype.min(0).values.mean())
    if name == "chamfer":
        return -torch.stack([d.min(1).values.mean() + d.min(0).values.mean() for d in videos]).mean()
    if name == "linear":
        return -torch.stack([d.diagonal().mean() for d in videos]).mean()
    if name == "max":
        return -torch.stack([d.min() for d in videos]).mean()
    assert name in ("otam", "otam_released")
    released = name == "otam_released"
    return -torch.stack([sum(oracles.alignment_cost(m, 0.1, released) for m in (d, d.T)) for d in videos]).mean()


@pytest.mark.parametrize("name", [name for name in HEADS if name not in ("trx", "ctx", "strm", "hyrsm")])
@drawn
@given(seed=st.integers(0, 999), counts=st.lists(st.integers(1, 3), min_size=1, max_size=4), frames=st.integers(1, 5))
def test_a_head_is_its_equation(name: str, seed: int, counts: list[int], frames: int) -> None:
    support, labels, query, way = unbalanced(seed, counts, frames)
    expected = torch.stack(
        [torch.stack([one_logit(name, video, support[labels == c]) for c in range(way)]) for video in query]
    )
    ours = HEADS[name](WIDTH, frames)(support, labels, query, way)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_the_two_otam_recurrences_differ() -> None:
    distances = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    paper, released = (alignment_cost(distances, 0.1, down_in_first=down) for down in (False, True))
    assert (released < paper).all()  # one move more can only find cheaper alignments


def test_an_alignment_skips_frames_at_its_ends_for_nothing() -> None:
    distances = torch.ones(4, 4)
    distances[[1, 2, 3, 3], [0, 1, 2, 3]] = 0  # the query is one frame late and stays in its last frame
    for down in (False, True):
        assert float(alignment_cost(distances, 1e-3, down_in_first=down)) == pytest.approx(0, abs=0.01)


def test_e_dist_and_protonet_differ_at_more_than_one_shot() -> None:
    support = torch.tensor([[4.0], [-4.0], [3.0], [3.0]])[:, None]  # class 0 around 0, class 1 at 3
    query, labels = torch.tensor([[[1.0]]]), torch.tensor([0, 0, 1, 1])
    assert HEADS["protonet"](1, 1)(support, labels, query, 2).argmax() == 0
    assert HEADS["e_dist"](1, 1)(support, labels, query, 2).argmax() == 1


@pytest.mark.parametrize("name", list(HEADS))
def test_logit_scale_multiplies(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    tokens, labels = torch.randn(5, 4, 8, generator=generator), torch.tensor([0, 1, 1])

    def logits(scale: float) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return HEADS[name](8, 4, logit_scale=scale).eval()(tokens[:3], labels, tokens[3:], 2)

    torch.testing.assert_close(logits(0.5), logits(1.0) / 2)


@drawn
@given(seed=st.integers(0, 999), counts=st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_strm_is_its_equations(seed: int, counts: list[int]) -> None:
    support, labels, query, way = unbalanced(seed, counts, 4)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = STRM(WIDTH, 4, head_width=5, pair_width=7).double().eval()

    def pairs(video: Tensor) -> Tensor:
        joined = torch.stack([torch.cat([video[i], video[j]]) for i in range(4) for j in range(i + 1, 4)])
        return head.nearest.linear(joined).relu()

    expected = torch.zeros(2, way, dtype=torch.float64)
    for column in range(way):
        of_class = torch.cat([pairs(video) for video in support[labels == column]])
        for row, video in enumerate(query):
            distance = (pairs(video)[:, None] - of_class[None]).square().sum(-1).sqrt()
            expected[row, column] = -0.1 * distance.min(1).values.mean()
    expected = expected + oracles.trx_logits(head.trx, head.enrich(support), labels, head.enrich(query), way)
    torch.testing.assert_close(head(support, labels, query, way), expected, rtol=1e-9, atol=1e-9)


@drawn
@given(seed=st.integers(0, 999), counts=st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_hyrsm_is_its_equations(seed: int, counts: list[int]) -> None:
    support, labels, query, way = unbalanced(seed, counts, 4)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = HyRSM(WIDTH, 4, attention_heads=2).double().eval()

    def related(relation: nn.Module, members: Tensor) -> Tensor:
        q, k, v = relation.project_in(members).chunk(3, dim=1)
        half = WIDTH // 2
        heads = []
        for part in (slice(0, half), slice(half, WIDTH)):
            heads.append((q[:, part] @ k[:, part].T / half**0.5).softmax(1) @ v[:, part])
        return relation.norm(members + relation.project_out(torch.cat(heads, dim=1)))

    rows = []
    for one in query:
        videos = [related(head.within, video) for video in (*support, one)]
        between = related(head.between, torch.stack([video.mean(0) for video in videos]))
        frames = [head.of_frames(v) + head.of_videos(b) for v, b in zip(videos, between, strict=True)]
        distances = [
            cosine_distances(frames[-1], torch.stack([frames[i] for i in torch.where(labels == c)[0]]).mean(0))
            for c in range(way)
        ]
        rows.append(torch.stack([-(d.min(1).values.mean() + d.min(0).values.mean()) for d in distances]))
    torch.testing.assert_close(head(support, labels, query, way), torch.stack(rows), rtol=1e-9, atol=1e-9)


def test_hyrsm_refuses_a_width_its_attention_heads_do_not_divide() -> None:
    with pytest.raises(StudentError, match="8 attention heads do not divide tokens of width 12"):
        HyRSM(12, 4)
