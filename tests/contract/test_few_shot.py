"""What training and evaluation count on in every few-shot model, whether it reads frames or joints."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH, TokenEncoder
from fewdistill.students.few_shot import FewShotModel, FewShotSkeleton, FewShotStudent, episode_output
from fewdistill.students.heads.base import TokenHead
from fewdistill.students.heads.otam import OTAM
from fewdistill.students.heads.trx import TRX
from fewdistill.students.skeletons import SKELETONS
from fewdistill.students.skeletons.encoder import JointEncoder
from tests.skeletons import joint_graph

WAY, LABELS, CLIPS = 2, torch.tensor([1, 0, 0, 1]), 7  # four of support, three queries
FRAMES, JOINT_FRAMES, WIDTH = 2, 8, 16
GRAPH = joint_graph([-1, 0, 1, 1])


def frames_student(head: type[TokenHead]) -> tuple[FewShotModel, Tensor]:
    model = FewShotStudent(TokenEncoder("resnet18", WIDTH, token_norm=True), head(WIDTH, FRAMES), FRAMES)
    return model, torch.rand(CLIPS * FRAMES, 3, 32, 32)


def joints_student(head: type[TokenHead]) -> tuple[FewShotModel, Tensor]:
    encoder = JointEncoder("light_dke_gcn", GRAPH, WIDTH, (QUERY_BRANCH, LABEL_BRANCH), frames=JOINT_FRAMES)
    return FewShotStudent(encoder, head(WIDTH, FRAMES), FRAMES), torch.randn(CLIPS, 3, JOINT_FRAMES, 4, 1)


def skeleton(name: str) -> Callable[[type[TokenHead]], tuple[FewShotModel, Tensor]]:
    def build(head: type[TokenHead]) -> tuple[FewShotModel, Tensor]:
        network = SKELETONS[name](GRAPH, 3, bodies=1)
        made = head(network.width, network.token_frames(JOINT_FRAMES))
        return FewShotSkeleton(network, made), torch.randn(CLIPS, 3, JOINT_FRAMES, 4, 1)

    return build


MODELS = {"frames": frames_student, "joints": joints_student, **{name: skeleton(name) for name in SKELETONS}}


@pytest.fixture(
    params=[(name, head) for name in MODELS for head in (TRX, OTAM)], ids=lambda p: f"{p[0]}-{p[1].__name__}"
)
def made(request: pytest.FixtureRequest) -> tuple[FewShotModel, Tensor]:
    name, head = request.param
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, inputs = MODELS[name](head)
    return model.eval(), inputs


@torch.no_grad()
def test_an_episode_is_the_head_on_the_tokens(made: tuple[FewShotModel, Tensor]) -> None:
    model, inputs = made
    tokens, output = model.tokens(inputs), model(inputs, LABELS, WAY)
    assert LABEL_BRANCH in tokens and tokens.keys() == output.logits.keys()
    assert all(value.ndim == 3 and len(value) == CLIPS and value.dtype == torch.float32 for value in tokens.values())
    expected = episode_output(tokens, model.head, LABELS, WAY)
    for branch, logits in expected.logits.items():
        assert logits.shape == (CLIPS - len(LABELS), WAY)
        assert torch.equal(output.logits[branch], logits) and torch.equal(output.tokens[branch], tokens[branch])


@torch.no_grad()
def test_tokens_of_a_clip_do_not_depend_on_the_others(made: tuple[FewShotModel, Tensor]) -> None:
    model, inputs = made
    support = model.rows(len(LABELS))
    assert model.rows(CLIPS) == len(inputs)
    together = model.tokens(inputs)
    for branch, alone in model.tokens(inputs[support:]).items():
        torch.testing.assert_close(alone, together[branch][len(LABELS) :], rtol=1e-4, atol=1e-4)


def test_encoder_and_head_are_all_there_is_to_train(made: tuple[FewShotModel, Tensor]) -> None:
    model, inputs = made
    assert {key.split(".")[0] for key in model.state_dict()} <= {"encoder", "head"}
    output = model.train()(inputs, LABELS, WAY)
    sum(logits.square().sum() for logits in output.logits.values()).backward()
    reached = {name.split(".")[0] for name, value in model.named_parameters() if value.grad is not None}
    assert reached == {key.split(".")[0] for key, _ in model.named_parameters()}
