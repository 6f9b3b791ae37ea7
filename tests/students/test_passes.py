"""Training in groups of frames, and support and query apart: the gradients are those of the plain computation."""

import pytest
import torch
from torch import Tensor

from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.heads.trx import TRX

FRAMES, WAY = 2, 2
LABELS = torch.tensor([0, 1, 0, 1])


def student(passes: str = "one", micro_frames: int = 0) -> FewShotStudent:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        encoder = TokenEncoder("mobilenetv3_small", 16, token_norm=True)
        head = TRX(16, FRAMES, head_width=8, dropout=0.0)
    return FewShotStudent(encoder, head, FRAMES, passes=passes, micro_frames=micro_frames).double().train()


def episode() -> Tensor:
    return torch.rand(6 * FRAMES, 3, 32, 32, generator=torch.Generator().manual_seed(4)).double()


def gradients(network: FewShotStudent, tokens: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Of the sum of squared tokens: of the network's own pass, or of given tokens."""
    tokens = network(episode(), LABELS, WAY).tokens if tokens is None else tokens
    sum(value.square()[..., :5].sum() for value in tokens.values()).backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def same(ours: dict[str, Tensor], plain: dict[str, Tensor]) -> None:
    assert ours.keys() == plain.keys() and ours
    for name, value in plain.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-9, msg=name)


def in_parts(network: FewShotStudent, sizes: list[int]) -> dict[str, Tensor]:
    """Tokens of parts of the episode, each passed alone with nothing recomputed."""
    parts = [network.encoder.tokens(network.encoder.pooled(part)) for part in episode().split(sizes)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def test_groups_of_frames_have_the_gradient_of_their_own_batch_norm() -> None:
    plain = student()
    same(gradients(student(micro_frames=5)), gradients(plain, in_parts(plain, [5, 5, 2])))


def test_a_group_as_large_as_the_episode_is_one_pass() -> None:
    same(gradients(student(micro_frames=12)), gradients(student()))


def test_support_and_query_apart() -> None:
    plain = student()
    same(gradients(student("two")), gradients(plain, in_parts(plain, [8, 4])))


@pytest.mark.parametrize("options", [{"passes": "two"}, {"micro_frames": 5}])
@torch.no_grad()
def test_outside_training_nothing_changes(options: dict) -> None:
    ours, plain = (network.eval()(episode(), LABELS, WAY) for network in (student(**options), student()))
    for branch, logits in plain.logits.items():
        torch.testing.assert_close(ours.logits[branch], logits, rtol=1e-12, atol=1e-12)


def test_groups_keep_fewer_activations() -> None:
    """What autograd saves between the passes: the frames of a group instead of every layer's output."""

    def saved(network: FewShotStudent) -> int:
        total = 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network(episode(), LABELS, WAY)
        return total

    assert saved(student(micro_frames=4)) < saved(student()) / 4
