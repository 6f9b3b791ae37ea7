"""Every distiller against its equation, written out in loops over queries, videos and frames."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH
from fewdistill.students.distill import build
from fewdistill.students.distill.base import Labelled
from fewdistill.students.distill.combination import Combination, Part
from fewdistill.students.output import EpisodeOutput

WAY, SUPPORT, QUERIES, FRAMES, WIDTH = 4, 8, 6, 3, 5
VIDEOS = SUPPORT + QUERIES


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


S, T = drawn(0, QUERIES, WAY), drawn(1, QUERIES, WAY)
S_TOKENS, T_TOKENS = drawn(2, VIDEOS, FRAMES, WIDTH), drawn(3, VIDEOS, FRAMES, WIDTH)
SUPPORT_LABELS, LABELS = torch.arange(SUPPORT) % WAY, torch.arange(QUERIES) % WAY
STUDENT = EpisodeOutput(
    {QUERY_BRANCH: S, LABEL_BRANCH: drawn(4, QUERIES, WAY)},
    drawn(5, WAY, WAY - 1),
    {QUERY_BRANCH: drawn(6, VIDEOS, FRAMES, WIDTH), LABEL_BRANCH: S_TOKENS},
    SUPPORT_LABELS,
)
TEACHER = EpisodeOutput(
    {"fused": T}, drawn(7, WAY, WAY - 1), {"fused": T_TOKENS}, streams={"rgb": T, "depth": drawn(8, QUERIES, WAY)}
)


def part(name: str, which: str, **options: Any) -> float:
    made = build(name, WIDTH, **options)
    made = made if isinstance(made, Labelled | Combination) else made.double()
    return made(STUDENT, TEACHER, LABELS)[which].item()


def soft(row: Tensor, temperature: float = 1.0) -> list[float]:
    top = [math.exp(float(value) / temperature) for value in row]
    return [value / sum(top) for value in top]


def kl(teacher: list[float], student: list[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(teacher, student, strict=True))


def pearson(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def mean(values: Any) -> float:
    found = list(values)
    return sum(found) / len(found)


def standard(row: Tensor) -> Tensor:
    return (row - row.mean()) / row.std(unbiased=False)


def test_kd() -> None:
    expected = mean(9 * kl(soft(T[q], 3), soft(S[q], 3)) for q in range(QUERIES))
    assert part("kd", "kd", temperature=3.0) == pytest.approx(expected)


def test_standardisation_wraps_any_logit_loss() -> None:
    expected = mean(4 * kl(soft(standard(T[q]), 2), soft(standard(S[q]), 2)) for q in range(QUERIES))
    assert part("kd", "kd", temperature=2.0, standardise=True) == pytest.approx(expected)
    far = EpisodeOutput({"fused": 50 * T + 3}, TEACHER.support_distances, {})
    for name in ("kd", "dkd", "nkd", "wsld", "dist", "multi_level"):
        loss = build(name, WIDTH, standardise=True)
        torch.testing.assert_close(loss(STUDENT, far, LABELS)["loss"], loss(STUDENT, TEACHER, LABELS)["loss"])


def test_wsld() -> None:
    def share(q: int) -> float:
        ours, theirs = (-math.log(soft(logits[q])[int(LABELS[q])]) for logits in (S, T))
        return 1 - math.exp(-ours / theirs)

    expected = mean(share(q) * 16 * kl(soft(T[q], 4), soft(S[q], 4)) for q in range(QUERIES))
    assert part("wsld", "wsld") == pytest.approx(expected, rel=1e-6)


def test_dkd_splits_kd() -> None:
    """KL(p || q) = TCKD + (1 - p_target) NCKD, query by query (Zhao et al., equation 7)."""
    for q in range(QUERIES):
        student = EpisodeOutput({k: v[q : q + 1] for k, v in STUDENT.logits.items()}, STUDENT.support_distances, {})
        teacher = EpisodeOutput({"fused": T[q : q + 1]}, TEACHER.support_distances, {})
        parts = build("dkd", WIDTH, temperature=1.0)(student, teacher, LABELS[q : q + 1])
        rest = 1 - soft(T[q])[int(LABELS[q])]
        assert float(parts["target"] + rest * parts["non_target"]) == pytest.approx(kl(soft(T[q]), soft(S[q])))
        assert float(parts["loss"] - parts["ce"]) == pytest.approx(float(parts["target"] + 8 * parts["non_target"]))


def test_nkd() -> None:
    target, others = [], []
    for q in range(QUERIES):
        y = int(LABELS[q])
        target.append(-soft(T[q])[y] * math.log(soft(S[q])[y]))
        rest = [c for c in range(WAY) if c != y]
        p, q_ = soft(T[q][rest], 2), soft(S[q][rest], 2)
        others.append(-4 * sum(a * math.log(b) for a, b in zip(p, q_, strict=True)))
    assert part("nkd", "target", temperature=2.0) == pytest.approx(mean(target))
    assert part("nkd", "non_target", temperature=2.0) == pytest.approx(mean(others))


def test_dist() -> None:
    ours, theirs = (torch.tensor([soft(row, 2) for row in logits]) for logits in (S, T))
    inter = 4 * (1 - mean(pearson(ours[q], theirs[q]) for q in range(QUERIES)))
    intra = 4 * (1 - mean(pearson(ours[:, c], theirs[:, c]) for c in range(WAY)))
    assert part("dist", "inter", temperature=2.0) == pytest.approx(inter, rel=1e-5)
    assert part("dist", "intra", temperature=2.0) == pytest.approx(intra, rel=1e-5)
    frames = [(S_TOKENS[v, t], T_TOKENS[v, t]) for v, t in product(range(VIDEOS), range(FRAMES))]
    assert part("dist_plus", "token_inter") == pytest.approx(1 - mean(pearson(a, b) for a, b in frames))
    channels = [(S_TOKENS[..., d].flatten(), T_TOKENS[..., d].flatten()) for d in range(WIDTH)]
    assert part("dist_plus", "token_intra") == pytest.approx(1 - mean(pearson(a, b) for a, b in channels))


def test_multi_level() -> None:
    batch, classes, instance = [], [], []
    for t in (1.0, 5.0):
        p, q = ([soft(row, t) for row in logits] for logits in (T, S))
        instance.append(mean(t * t * kl(p[i], q[i]) for i in range(QUERIES)))
        gram = [
            [sum(m[i][c] * m[j][c] for c in range(WAY)) for i in range(QUERIES) for j in range(QUERIES)] for m in (p, q)
        ]
        batch.append(sum((a - b) ** 2 for a, b in zip(*gram, strict=True)) / QUERIES)
        cov = [[sum(m[i][a] * m[i][b] for i in range(QUERIES)) for a in range(WAY) for b in range(WAY)] for m in (p, q)]
        classes.append(sum((a - b) ** 2 for a, b in zip(*cov, strict=True)) / WAY)
    options = {"temperatures": (1.0, 5.0)}
    assert part("multi_level", "instance", **options) == pytest.approx(mean(instance))
    assert part("multi_level", "batch", **options) == pytest.approx(mean(batch))
    assert part("multi_level", "class", **options) == pytest.approx(mean(classes))


def test_projected_features() -> None:
    fitnet = build("fitnet", WIDTH).double()
    expected = (S_TOKENS - T_TOKENS).square().mean()  # the projector starts as the identity
    torch.testing.assert_close(fitnet(STUDENT, TEACHER, LABELS)["feature"], expected)
    fitnet.projector.weight.data.mul_(2)
    expected = (2 * S_TOKENS - T_TOKENS).square().mean()
    torch.testing.assert_close(fitnet(STUDENT, TEACHER, LABELS)["feature"], expected)
    ours, theirs = S_TOKENS.flatten(0, 1), T_TOKENS.flatten(0, 1)
    normal = [(m - m.mean(0)) / (m.var(0, unbiased=False) + 1e-5).sqrt() for m in (ours, theirs)]
    expected = ((normal[0] - normal[1]) ** 4).sum()
    assert part("srd", "feature") == pytest.approx(math.log(float(expected) + 1e-4))


def test_a_projector_learns() -> None:
    fitnet = build("fitnet", WIDTH).double()
    before = fitnet(STUDENT, TEACHER, LABELS)["feature"]
    optimiser = torch.optim.SGD(fitnet.parameters(), lr=0.1)
    for _ in range(20):
        optimiser.zero_grad()
        fitnet(STUDENT, TEACHER, LABELS)["loss"].backward()
        optimiser.step()
    assert fitnet(STUDENT, TEACHER, LABELS)["feature"] < 0.9 * before


def test_attention_over_frames() -> None:
    def energy(tokens: Tensor, v: int) -> list[float]:
        found = [sum(float(x) ** 2 for x in tokens[v, t]) for t in range(FRAMES)]
        return [value / math.hypot(*found) for value in found]

    gaps = [
        (a - b) ** 2
        for v in range(VIDEOS)
        for a, b in zip(energy(S_TOKENS, v), energy(T_TOKENS, v), strict=True)
    ]  # fmt: skip
    assert part("attention", "attention") == pytest.approx(mean(gaps))


def huber(gap: float) -> float:
    return 0.5 * gap * gap if abs(gap) < 1 else abs(gap) - 0.5


def test_rkd() -> None:
    ours, theirs = S_TOKENS.mean(1), T_TOKENS.mean(1)
    pairs = [(i, j) for i, j in product(range(VIDEOS), repeat=2) if i != j]
    scaled = []
    for side in (ours, theirs):
        distances = [float((side[i] - side[j]).norm()) for i, j in pairs]
        scaled.append([d / mean(distances) for d in distances])
    expected = mean(huber(a - b) for a, b in zip(*scaled, strict=True))
    assert part("rkd", "distance") == pytest.approx(expected, rel=1e-5)

    def angle(side: Tensor, j: int, i: int, k: int) -> float:
        a, b = side[i] - side[j], side[k] - side[j]
        return 0.0 if j in (i, k) else float(a @ b / (a.norm() * b.norm()))

    every = list(product(range(VIDEOS), repeat=3))
    expected = mean(huber(angle(ours, *ijk) - angle(theirs, *ijk)) for ijk in every)
    assert part("rkd", "angle") == pytest.approx(expected, rel=1e-5)


def test_similarity_and_correlation() -> None:
    grams, kernels = [], []
    for side in (S_TOKENS.mean(1), T_TOKENS.mean(1)):
        gram = torch.tensor([[float(side[i] @ side[j]) for j in range(VIDEOS)] for i in range(VIDEOS)])
        grams.append([row / row.norm() for row in gram])
        units = [row / row.norm() for row in side]
        kernels.append([math.exp(-0.4 * float((a - b).square().sum())) for a in units for b in units])
    expected = mean(float((a - b).square().mean()) for a, b in zip(*grams, strict=True))
    assert part("similarity", "similarity") == pytest.approx(expected, rel=1e-5)
    expected = mean((a - b) ** 2 for a, b in zip(*kernels, strict=True))
    assert part("correlation", "correlation") == pytest.approx(expected)


def test_episode_distances() -> None:
    near: dict[str, list[list[Tensor]]] = {"support": [], "query": []}
    for side in (S_TOKENS, T_TOKENS):
        d = torch.tensor([[float((side[a] - side[b]).square().sum()) for b in range(SUPPORT)] for a in range(VIDEOS)])
        support = torch.stack([d[i][[j for j in range(SUPPORT) if j != i]] for i in range(SUPPORT)])
        near["support"].append(list(-support / support.mean()))
        near["query"].append(list(-d[SUPPORT:] / d[SUPPORT:].mean()))
    for which, (ours, theirs) in near.items():
        expected = mean(0.25 * kl(soft(t, 0.5), soft(s, 0.5)) for s, t in zip(ours, theirs, strict=True))
        assert part("episode", which) == pytest.approx(expected, rel=1e-5)


def test_contrast_over_the_episode() -> None:
    every = [*SUPPORT_LABELS.tolist(), *LABELS.tolist()]
    ours, theirs = ([row / row.norm() for row in side.mean(1)] for side in (S_TOKENS, T_TOKENS))
    losses = []
    for i in range(VIDEOS):
        p = soft(torch.stack([ours[i] @ key for key in theirs]), 0.1)
        losses.append(-mean(math.log(p[j]) for j in range(VIDEOS) if every[j] == every[i]))
    assert part("contrastive", "contrast") == pytest.approx(mean(losses))


def test_mutual() -> None:
    other = STUDENT.logits[LABEL_BRANCH]
    both = [kl(soft(other[q]), soft(S[q])) + kl(soft(S[q]), soft(other[q])) for q in range(QUERIES)]
    assert part("mutual", "mutual") == pytest.approx(mean(both))


def test_several_teachers_by_certainty() -> None:
    losses, silent = [], 0
    for q in range(QUERIES):
        own = soft(standard(S[q]))
        taught = [soft(standard(stream[q])) for stream in TEACHER.streams.values()]
        surer = [max(p) if max(p) > max(own) else 0.0 for p in taught]
        silent += surer.count(0.0)
        losses.append(sum(w / (sum(surer) + 1e-8) * kl(p, own) for w, p in zip(surer, taught, strict=True)))
    assert part("multi_teacher", "streams") == pytest.approx(mean(losses))
    assert 0 < silent < 2 * QUERIES  # the case holds both kinds


def test_a_combination_by_hand() -> None:
    parts = (Part("ce", LABEL_BRANCH, 0.5), Part("kd", QUERY_BRANCH, 1.0, 2.0, (LABEL_BRANCH, QUERY_BRANCH)))
    ce = {b: float(torch.nn.functional.cross_entropy(STUDENT.logits[b], LABELS)) for b in STUDENT.logits}
    gate = 1 - math.exp(-ce[LABEL_BRANCH] / ce[QUERY_BRANCH])
    expected = 0.5 * ce[LABEL_BRANCH] + (1 + 2 * gate) * part("kd", "kd")
    assert float(Combination(parts=parts)(STUDENT, TEACHER, LABELS)["loss"]) == pytest.approx(expected)


def test_missing_outputs_are_named() -> None:
    bare = EpisodeOutput(STUDENT.logits, STUDENT.support_distances, {})
    for name in ("rkd", "fitnet"):
        with pytest.raises(StudentError, match="tokens"):
            build(name, WIDTH)(bare, TEACHER, LABELS)
    unlabelled = EpisodeOutput(STUDENT.logits, STUDENT.support_distances, STUDENT.tokens)
    with pytest.raises(StudentError, match="support's labels"):
        build("contrastive", WIDTH)(unlabelled, TEACHER, LABELS)
    with pytest.raises(StudentError, match="by modality"):
        build("multi_teacher", WIDTH)(STUDENT, EpisodeOutput({"fused": T}, TEACHER.support_distances, {}), LABELS)
