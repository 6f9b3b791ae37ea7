"""Embed once, match many: the same logits as running every episode through the network."""

import numpy as np
import pytest
import torch

from benchmark.episodes import ClassIndex, draw
from benchmark.evaluate import embed, match, project, score
from benchmark.seeds import torch_scope
from students.backbones import TokenEncoder
from students.few_shot import FewShotStudent
from students.heads.trx import TRX
from students.output import query_logits

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
