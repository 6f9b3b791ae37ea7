"""Skeleton networks as encoders of clips: tokens as heads want them, made of coordinates and of their order."""

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from fewdistill.students import StudentError
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.heads.trx import TRX
from fewdistill.students.skeletons import SKELETONS
from fewdistill.students.skeletons.encoder import JointEncoder
from tests.skeletons import UCLA


def encoder(name: str = "light_dke_gcn", frames: int = 16, **options: bool) -> JointEncoder:
    """In eval mode, its batch norms fit for noise, its relations between joints awake."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = JointEncoder(name, UCLA, 24, ("only",), frames=frames, **options)
        for key, value in made.named_parameters():
            if key.endswith("spatial.norm.weight"):
                value.data.fill_(1)
        noise = torch.randn(8, 3, frames, 20, 1)
        update_bn([noise], made)
    return made.eval()


def joints(count: int, frames: int = 16, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, frames, 20, 1, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SKELETONS)
@pytest.mark.parametrize("tokens", [1, 3, 4])
def test_as_many_tokens_as_are_asked_for(name: str, tokens: int) -> None:
    made, clips = encoder(name, token_norm=True), joints(3)
    with torch.no_grad():
        found = made.clips(clips, tokens)["only"]
        again = made.clips(clips[[2, 0]], tokens)["only"]
    assert found.shape == (3, tokens, 24) and found.isfinite().all()
    torch.testing.assert_close(found.mean(-1), torch.zeros(3, tokens), atol=1e-5, rtol=0)
    torch.testing.assert_close(again, found[[2, 0]], rtol=1e-4, atol=1e-5)
    assert made.example(2, tokens, 64).shape == joints(2).shape and made.rows(7, tokens) == 7


def test_tokens_are_means_over_equal_parts_of_the_clip() -> None:
    made, clips = encoder(), joints(2)
    with torch.no_grad():
        found, fine = made.clips(clips, 4)["only"], made(clips)["only"]
    assert fine.shape[1] == 8
    torch.testing.assert_close(found, fine.unflatten(1, (4, 2)).mean(2), rtol=1e-4, atol=1e-5)


def test_too_few_tokens_are_refused_with_the_remedy() -> None:
    with pytest.raises(StudentError, match=r"16 frames of joints make 4 tokens, 8 are needed: .* at least 32 frames"):
        encoder("ctr_gcn").clips(joints(1), 8)
    assert encoder("ctr_gcn", 32).clips(joints(1, 32), 8)["only"].shape == (1, 8, 24)


@pytest.mark.parametrize("name", SKELETONS)
def test_coordinates_and_the_order_of_joints_and_frames_matter(name: str) -> None:
    made, clips = encoder(name), joints(2)
    swapped = clips[:, :, :, [*range(4), *range(8, 12), *range(4, 8), *range(12, 20)]]  # one arm for the other
    mirrored = clips * torch.tensor([-1.0, 1, 1])[:, None, None, None]
    backwards = clips.flip(2)
    with torch.no_grad():
        tokens = made.clips(clips, 4)["only"]
        for other in (swapped, mirrored, backwards, 1.1 * clips):
            assert (made.clips(other, 4)["only"] - tokens).abs().amax((1, 2)).min() > 1e-3


def test_bounded_memory_leaves_the_gradient_of_a_network_without_batch_statistics() -> None:
    made = encoder()
    made.train()
    for module in made.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    gradients = []
    for micro_frames in (0, 32):
        made.zero_grad()
        made.clips(joints(5), 4, micro_frames)["only"].square().sum().backward()
        gradients.append([p.grad.clone() for p in made.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_an_episode_of_clips_passes_in_one_or_two_parts() -> None:
    outputs = []
    for passes in ("one", "two"):
        student = FewShotStudent(encoder(), TRX(24, 4, head_width=8), 4, passes=passes).eval()
        with torch.no_grad():
            student.head.load_state_dict(outputs[0][1] if outputs else student.head.state_dict())
            outputs.append((student(joints(5), torch.tensor([0, 0, 1, 1]), 2), student.head.state_dict()))
    (one, _), (two, _) = outputs
    assert one.logits["only"].shape == (1, 2)
    torch.testing.assert_close(one.logits, two.logits, rtol=1e-4, atol=1e-4)
