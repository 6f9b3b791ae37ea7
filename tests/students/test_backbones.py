"""Encoders: shapes, ImageNet trunks, patch enrichment."""

import pytest
import torch
import torchvision
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH, TokenEncoder, load_imagenet_trunk
from fewdistill.students.trunks import BACKBONES

SMALL = "mobilenetv3_small"


def frames(count: int, size: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def encoder(name: str = SMALL, **options: object) -> TokenEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return TokenEncoder(name, **{"width": 24, **options})


@pytest.mark.parametrize("name", list(BACKBONES))
def test_tokens_of_two_branches(name: str) -> None:
    network = encoder(name).eval()
    with torch.no_grad():
        flat = network(frames(4, 32))
        clips = network.clips(frames(4, 32), 2)
    assert list(flat) == [QUERY_BRANCH, LABEL_BRANCH]
    assert all(tokens.shape == (4, 24) and tokens.dtype == torch.float32 for tokens in flat.values())
    for branch, tokens in clips.items():
        assert torch.equal(tokens, flat[branch].reshape(2, 2, 24))
    assert not torch.equal(*flat.values())


@pytest.mark.parametrize("size", [32, 64, 224])
def test_pooling_is_the_mean_of_sixteen_maxima(size: int) -> None:
    network = encoder("resnet18").eval()
    with torch.no_grad():
        maps = network.trunk(frames(1, size))
        tokens = network(frames(1, size))
    height = maps.shape[-1]
    cells = [(i * height // 4, -(-(i + 1) * height // 4)) for i in range(4)]
    maxima = [maps[:, :, a:b, c:d].amax((2, 3)) for a, b in cells for c, d in cells]
    pooled = torch.stack(maxima).mean(0)
    for branch, linear in network.branches.items():
        torch.testing.assert_close(tokens[branch], linear(pooled).detach(), rtol=1e-5, atol=1e-5 * float(pooled.max()))


def test_branches_are_as_named() -> None:
    assert list(encoder(branches=("only",)).branches) == ["only"]
    with pytest.raises(StudentError, match="branch"):
        encoder(branches=())


@pytest.mark.parametrize("name", ["resnet18", SMALL])
def test_an_imagenet_trunk_is_loaded_and_its_classifier_left_out(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        classifier = BACKBONES[name].classifier().eval()
    network = encoder(name).eval()
    heads = {key: value.clone() for key, value in network.branches.state_dict().items()}
    load_imagenet_trunk(network, classifier.state_dict())
    seen: list[Tensor] = []
    classifier.avgpool.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        classifier(frames(2))
        assert torch.equal(network.trunk(frames(2)), seen[0])
    assert all(torch.equal(value, heads[key]) for key, value in network.branches.state_dict().items())


def test_weights_of_another_network_are_refused_and_leave_no_trace() -> None:
    network = encoder("resnet18")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for state in (torchvision.models.mobilenet_v3_small().state_dict(), {}):
        with pytest.raises(StudentError, match="resnet18"):
            load_imagenet_trunk(network, state)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_patch_enrichment_acts_on_the_cells_before_their_mean() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = TokenEncoder("mobilenetv3_small", 8, patch_enrichment=True).eval()
        frames = torch.randn(2, 3, 64, 64)
    assert encoder.enrich is not None
    with torch.no_grad():
        cells = encoder.pool(encoder.trunk(frames)).flatten(2).transpose(1, 2)  # (N, 16, channels)
        enriched = torch.stack([encoder.enrich(cell[None])[0].mean(0) for cell in cells])
        expected = encoder.branches["kl"](enriched)
        torch.testing.assert_close(encoder(frames)["kl"], expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(expected, encoder.branches["kl"](cells.mean(1)))
