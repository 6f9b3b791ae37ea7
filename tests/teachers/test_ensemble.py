"""Score fusion: the weighted sum of the logits of each modality's own head."""

import pytest
import torch
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.heads.otam import OTAMReleased
from fewdistill.students.heads.trx import TRX
from fewdistill.teachers.ensemble import ScoreFusion
from fewdistill.teachers.fusions.baselines import Concat, Mean, SideBySide

WIDTH, FRAMES, WEIGHTS = 6, 3, (1.0, 0.3, 0.3)
LABELS = torch.tensor([1, 0, 1, 0])


def tokens(seed: int, videos: int) -> Tensor:
    return torch.randn(3, videos, FRAMES, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ensemble() -> ScoreFusion:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ScoreFusion(lambda: TRX(WIDTH, FRAMES, head_width=4), WEIGHTS).double().eval()


def test_logits_are_the_weighted_sum() -> None:
    head, join, support, query = ensemble(), SideBySide(3, WIDTH, FRAMES), tokens(0, 4), tokens(1, 5)
    together = head(join(support), LABELS, join(query), 2)
    parts = [w * h(s, LABELS, q, 2) for w, h, s, q in zip(WEIGHTS, head.heads, support, query, strict=True)]
    torch.testing.assert_close(together, parts[0] + parts[1] + parts[2])


def test_heads_are_drawn_one_by_one() -> None:
    first, second, _ = (next(head.parameters()) for head in ensemble().heads)
    assert not torch.equal(first, second)


def test_every_head_learns() -> None:
    head, join = ensemble().train(), SideBySide(3, WIDTH, FRAMES)
    head(join(tokens(0, 4)), LABELS, join(tokens(1, 5)), 2)[:, 0].square().sum().backward()
    assert all((p.grad != 0).any() for p in head.parameters())


def test_heads_without_weights_of_their_own() -> None:
    head, join = ScoreFusion(lambda: OTAMReleased(WIDTH, FRAMES), WEIGHTS), SideBySide(3, WIDTH, FRAMES)
    assert head(join(tokens(0, 4)), LABELS, join(tokens(1, 5)), 2).shape == (5, 2)


def test_wrong_uses_are_refused() -> None:
    with pytest.raises(StudentError, match="a weight for each modality"):
        ScoreFusion(lambda: TRX(WIDTH, FRAMES), ())
    with pytest.raises(StudentError, match="not those of 3 modalities"):
        ensemble().project(torch.zeros(2, FRAMES, 3 * WIDTH + 1, dtype=torch.float64))


def test_baselines_are_their_equations() -> None:
    streams = tokens(2, 4)
    centred = streams - streams.mean(-1, keepdim=True)
    normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(Mean(3, WIDTH, FRAMES)(streams), (normed[0] + normed[1] + normed[2]) / 3)
    concat = Concat(3, WIDTH, FRAMES).double().eval()
    weights = concat.linear.weight.split(WIDTH, dim=1)
    expected = sum(s @ w.T for s, w in zip(streams, weights, strict=True)) + concat.linear.bias
    torch.testing.assert_close(concat(streams), expected)
