"""Embed once, match many: the same logits as running every episode through the network."""

import numpy as np
import pytest
import torch

from fewdistill.benchmark.episodes import ClassIndex, Episodes, draw
from fewdistill.benchmark.evaluation.matching import embed, match, project, score
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.heads.trx import TRX
from fewdistill.students.output import query_logits

CPU = torch.device("cpu")
FRAMES, VIDEOS = 3, 12


@pytest.fixture(scope="module")
def student() -> FewShotStudent:
    with torch_scope(CPU, 0, "test"):
        encoder = TokenEncoder("mobilenetv3_small", 16, token_norm=True)
        return FewShotStudent(encoder, TRX(16, FRAMES, tuple_sizes=(1, 2), head_width=8), FRAMES).eval()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.standard_normal((VIDEOS, FRAMES, 3, 32, 32)).astype(np.float32))


def test_cached_keys_give_the_logits_of_the_whole_network(student: FewShotStudent, pixels: torch.Tensor) -> None:
    by_class = [np.arange(0, 4), np.arange(4, 8), np.arange(8, 12)]
    episodes = draw(ClassIndex.of(by_class), way=3, shot=2, query=2, episodes=9, rng=np.random.default_rng(1))

    def frames(videos: list[str]) -> torch.Tensor:
        return pixels[[int(video) for video in videos]].flatten(0, 1)

    tokens = embed(student.encoder, [str(i) for i in range(VIDEOS)], frames, FRAMES, CPU)
    logits = match(student.head, project(student.head, tokens), episodes)
    labels = torch.arange(3).repeat_interleave(2)
    with torch.no_grad():
        for e in range(len(episodes)):
            output = student(pixels[episodes.rows(e)].flatten(0, 1), labels, 3)
            torch.testing.assert_close(logits[e], query_logits(output.logits), rtol=1e-5, atol=1e-4)
    assert 0 <= score(logits, episodes).accuracy <= 1


def test_scoring_leaves_the_training_mode_as_it_was(student: FewShotStudent, pixels: torch.Tensor) -> None:
    student.train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    tokens = embed(student.encoder, ["0", "1"], lambda v: pixels[:2].flatten(0, 1), FRAMES, CPU)
    project(student.head, tokens)
    assert student.encoder.training and student.head.training
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    student.eval()


def test_the_answer_is_the_one_largest_logit_and_a_tie_is_none() -> None:
    classes = np.array([[7, 3, 5]], np.int32)
    episodes = Episodes(classes, np.zeros((1, 3, 1), np.int32), np.ones((1, 3, 2), np.int32))
    inf, nan = float("inf"), float("nan")
    logits = torch.tensor([[[2, 1, 0], [0, 2, 1], [1, 1, 0], [0, 1, 1], [-inf, -inf, 0], [0, nan, 1]]])
    scores = score(logits, episodes)
    assert scores.query_class.tolist() == [[7, 7, 3, 3, 5, 5]]
    assert scores.predicted.tolist() == [[7, 3, -1, -1, 5, -1]] and scores.predicted.dtype == np.int16
    assert scores.correct.tolist() == [[1, 0, 0, 0, 1, 0]] and scores.correct.dtype == np.uint8


def test_answers_agree_with_a_plain_count_of_the_logits() -> None:
    rng = np.random.default_rng(3)
    by_class = [np.arange(9 * c, 9 * c + 9) for c in range(12)]
    episodes = draw(ClassIndex.of(by_class), way=5, shot=1, query=3, episodes=200, rng=rng)
    logits = rng.integers(0, 6, (200, 15, 5)).astype(np.float32)  # small integers: ties are frequent
    scores = score(torch.from_numpy(logits), episodes)
    for e in range(200):
        for q in range(15):
            best = np.flatnonzero(logits[e, q] == logits[e, q].max())
            expected = episodes.classes[e, best[0]] if len(best) == 1 else -1
            assert scores.predicted[e, q] == expected
            assert scores.correct[e, q] == (list(best) == [q // 3])
