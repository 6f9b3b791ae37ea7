"""What a head says it matched is what it matched: weights that sum as promised, and that rebuild its logits."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewdistill.students.heads import HEADS
from fewdistill.students.heads.base import Head, Keys, split_keys
from fewdistill.students.heads.matched import Matched
from fewdistill.students.heads.trx import TRX
from fewdistill.teachers.ensemble import ScoreFusion
from tests.contract.test_heads import FRAMES, close, episode, head_of


def explains(name: str) -> bool:
    return type(head_of(name)).explain is not Head.explain


MATCH_NO_FRAMES = {"e_dist", "protonet", "mean_cosine"}
# A head of a plug-in need not explain itself: those of this package do.
MATCHING = [name for name in HEADS if name not in MATCH_NO_FRAMES and explains(name)]
OWN = {"trx", "ctx", "strm", "hyrsm", "otam", "otam_released", "hausdorff", "chamfer", "linear", "max"}
drawn = settings(derandomize=True, deadline=None, max_examples=5)
each_matching = pytest.mark.parametrize("name", MATCHING)


def keys_of(head: Head, support: Tensor, query: Tensor) -> tuple[Keys, Keys]:
    return split_keys(head.project(torch.cat([support, query])), len(support))


def explained(head: Head, support: Tensor, labels: Tensor, query: Tensor, way: int) -> tuple[Matched, ...]:
    with torch.no_grad():  # as it is called
        support_keys, query_keys = keys_of(head, support, query)
        found = head.explain(support_keys, labels[None], query_keys, way)
    assert found is not None
    return found


def test_every_rule_of_this_package_that_matches_frames_says_which() -> None:
    assert set(MATCHING) >= OWN


@pytest.mark.parametrize("name", sorted(MATCH_NO_FRAMES))
def test_a_rule_without_frames_matches_none(name: str) -> None:
    head, (support, labels, query, way) = head_of(name), episode()
    support_keys, query_keys = keys_of(head, support, query)
    assert head.explain(support_keys, labels[None], query_keys, way) is None


@each_matching
@drawn
@given(seed=st.integers(0, 99), counts=st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_weights_sum_to_one_over_a_class(name: str, seed: int, counts: list[int]) -> None:
    head, way = head_of(name), len(counts)
    support, _, query, _ = episode(seed, way=sum(counts), shot=1)
    labels = torch.arange(way).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    for matched in explained(head, support, labels, query, way):
        tuples = len(matched.tuples)
        assert matched.weights.shape == (1, len(query), tuples, len(support), tuples)
        assert matched.tuples.dtype == torch.int64 and int(matched.tuples.max()) < FRAMES
        assert float(matched.weights.min()) >= 0
        for column in range(way):
            total = matched.weights[0, :, :, labels == column].sum((-2, -1))
            total = total if matched.rule == "attention" else total.sum(-1)
            close(total, torch.ones_like(total))


@each_matching
def test_the_order_of_support_and_other_queries_change_nothing(name: str) -> None:
    head, (support, labels, query, way) = head_of(name), episode()
    order = torch.randperm(len(support), generator=torch.Generator().manual_seed(1))
    plain = explained(head, support, labels, query, way)
    for one, other in zip(plain, explained(head, support[order], labels[order], query[:1], way), strict=True):
        close(other.weights, one.weights[:, :1, :, order])


def rebuilt(head: TRX, matched: tuple[Matched, ...], support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """TRX's logits from its weights and its value map alone."""
    way = int(labels.max()) + 1
    sizes = []
    for matcher, one in zip(head.matchers, matched, strict=True):
        tuples = [list(chosen) for chosen in combinations(range(support.shape[1]), matcher.tuple_size)]
        assert one.tuples.tolist() == tuples

        def values(videos: Tensor, tuples: list[list[int]] = tuples, linear: torch.nn.Module = matcher.v_linear):
            frames = videos + head.encoding
            return linear(torch.stack([frames[:, chosen].flatten(1) for chosen in tuples], dim=1))  # (N, P, h)

        columns = []
        for column in range(way):
            weights = one.weights[0, :, :, labels == column]
            prototypes = torch.einsum("qpsr,srh->qph", weights, values(support[labels == column]))
            columns.append(-(values(query) - prototypes).square().sum(-1).mean(-1))
        sizes.append(torch.stack(columns, dim=1))
    return torch.stack(sizes).mean(0) * head.logit_scale


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [2, 0, 1, 2, 1, 0], [1, 0, 0, 2, 1, 0]])
@pytest.mark.parametrize("name", ["trx", "trx two sizes", "ctx", "strm"])
def test_attention_rebuilds_the_logits(name: str, labels: list[int]) -> None:
    options = {"tuple_sizes": (2, 3)} if name == "trx two sizes" else {}
    whole = head_of(name.split()[0], head_width=8, logit_scale=0.5, **options).float()
    support, _, query, way = episode()
    support, query, labelled = support.float(), query.float(), torch.tensor(labels)
    found = explained(whole, support, labelled, query, way)
    with torch.no_grad():
        if name == "strm":  # its attention is TRX's on enriched tokens
            assert [one.rule for one in found] == ["attention", "nearest"]
            head, support, query, found = whole.trx, whole.enrich(support), whole.enrich(query), found[:1]
        else:
            head = whole
        logits = rebuilt(head, found, support, labelled, query)
        torch.testing.assert_close(logits, head(support, labelled, query, way), rtol=1e-5, atol=1e-5)


def test_nearest_pairs_rebuild_strms_other_rule() -> None:
    head, (support, labels, query, way) = head_of("strm"), episode()
    _, nearest = explained(head, support, labels, query, way)
    support_pairs, query_pairs = head.nearest.project(support), head.nearest.project(query)
    distance = (query_pairs[:, :, None, None] - support_pairs).square().sum(-1).sqrt()  # (Q, P, S, P)
    cost = (nearest.weights[0] * distance).sum((1, 3))
    expected = head.nearest.match(support_pairs[None], labels[None], query_pairs[None], way)[0]
    close(torch.stack([-cost[:, labels == column].sum(1) for column in range(way)], dim=1), expected, 1e-6)


@pytest.mark.parametrize(("name", "terms"), [("linear", 1), ("max", 1), ("chamfer", 2)])
def test_frame_pairs_rebuild_the_logits(name: str, terms: int) -> None:
    head, (support, labels, query, way) = head_of(name), episode()
    (matched,) = explained(head, support, labels, query, way)
    norm = torch.linalg.vector_norm
    product = torch.einsum("qtd,sud->qtsu", query, support)
    distance = 1 - product / (norm(query, dim=-1)[:, :, None, None] * norm(support, dim=-1) + 0.01)
    cost = terms * (matched.weights[0] * distance).sum((1, 3))
    expected = head(support, labels, query, way)
    close(torch.stack([-cost[:, labels == column].sum(1) for column in range(way)], dim=1), expected)


def test_a_prototypes_frames_are_those_of_its_videos() -> None:
    head, (support, labels, query, way) = head_of("hausdorff"), episode()
    (matched,) = explained(head, support, labels, query, way)
    prototypes = torch.stack([support[labels == column].mean(0) for column in range(way)])
    (alone,) = explained(head, prototypes, torch.arange(way), query, way)
    close(matched.weights, alone.weights[:, :, :, labels] / 2)  # two videos a class


def paths(rows: int, columns: int, down_in_first: bool) -> list[list[tuple[int, int]]]:
    """Every alignment of a (rows, columns) matrix between two columns of zeros, as its real cells."""
    found: list[list[tuple[int, int]]] = []

    def follow(row: int, column: int, cells: list[tuple[int, int]]) -> None:
        cells = [*cells, (row, column - 1)] if 1 <= column <= columns else cells
        if (row, column) == (rows - 1, columns + 1):
            found.append(cells)
            return
        down = column == columns + 1 or (down_in_first and column == 1)
        steps = [(row, column + 1), (row + 1, column + 1)] + ([(row + 1, column)] if down else [])
        for step in steps:
            if step[0] < rows and step[1] <= columns + 1:
                follow(*step, cells)

    for start in range(rows):  # the first column of zeros costs nothing, at whatever row it is left
        follow(start, 0, [])
    return found


@pytest.mark.parametrize("name", ["otam", "otam_released"])
def test_an_alignments_weights_are_the_shares_of_its_paths(name: str) -> None:
    head, (support, labels, query, way) = head_of(name, frames=3), episode(way=2, shot=1, queries=1, frames=3)
    (matched,) = explained(head, support, labels, query, way)
    cosine = torch.einsum("td,sud->stu", query[0], support)
    norms = torch.linalg.vector_norm(query[0], dim=-1)[:, None] * torch.linalg.vector_norm(support, dim=-1)[:, None]
    for video, distances in enumerate(1 - cosine / (norms + 0.01)):
        expected = torch.zeros(3, 3, dtype=torch.float64)
        for matrix, cells in ((distances, expected), (distances.T, expected.T)):
            ways = paths(3, 3, head.down_in_first)
            cost = torch.stack([sum(matrix[cell] for cell in way_) for way_ in ways])  # type: ignore[arg-type]
            for share, way_ in zip((-cost / head.smoothing).softmax(0), ways, strict=True):
                for cell in way_:
                    cells[cell] += share
        close(matched.weights[0, 0, :, video], expected / expected.sum(), 1e-6)


def test_score_fusion_explains_each_stream() -> None:
    support, labels, query, way = episode()
    streams = ScoreFusion(lambda: head_of("otam"), (1.0, 0.3)).eval()
    found = explained(streams, support.repeat(1, 1, 2), labels, query.repeat(1, 1, 2), way)
    (alone,) = explained(head_of("otam"), support, labels, query, way)
    assert [one.part for one in found] == ["stream 1", "stream 2"]
    close(found[1].weights, alone.weights)
    plain = ScoreFusion(lambda: head_of("protonet"), (1.0,)).eval()
    support_keys, query_keys = keys_of(plain, support, query)
    assert plain.explain(support_keys, labels[None], query_keys, way) is None
