"""timm models as trunks: real architectures at random weights."""

import pytest
import timm
import torch

from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.training.initial_weights import trunk_weights, weights_identity
from fewdistill.students import StudentError
from fewdistill.students.backbones import TokenEncoder, load_imagenet_trunk
from fewdistill.students.registry import UnknownNameError
from fewdistill.students.trunks import BACKBONES, IMAGENET_MEAN


def drawn(name: str) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return timm.create_model(name).eval()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mobilenetv3_small_050", 64),
        ("test_convnext", 96),
        ("test_vit", 64),  # not the size it was made for
        ("vit_tiny_r_s16_p8_224", 224),
        ("swin_tiny_patch4_window7_224", 224),  # channels last
    ],
)
@torch.no_grad()
def test_maps_of_any_layout(name: str, size: int) -> None:
    trunk = BACKBONES[f"timm/{name}"]
    frames = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    module = trunk.strip(drawn(name))
    maps = module.eval()(frames)
    assert maps.shape[:2] == (2, trunk.channels) and maps.shape[2] == maps.shape[3]
    if name == "swin_tiny_patch4_window7_224":  # whose features are the mean of the map, and nothing else
        model = drawn(name)
        pooled = model.forward_head(model.forward_features(frames), pre_logits=True)
        torch.testing.assert_close(maps.mean((2, 3)), pooled)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokens = TokenEncoder(f"timm/{name}", 8).eval()(frames)
    assert all(value.shape == (2, 8) and value.isfinite().all() for value in tokens.values())


@torch.no_grad()
def test_the_grid_of_a_transformer_is_put_back() -> None:
    model, trunk = drawn("test_vit"), BACKBONES["timm/test_vit"]
    frames = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    tokens = model.forward_features(frames)[:, model.num_prefix_tokens :]
    maps = trunk.strip(drawn("test_vit")).eval()(frames)
    side = 160 // model.patch_embed.patch_size[0]
    for row in range(side):
        for column in range(side):
            torch.testing.assert_close(maps[0, :, row, column], tokens[0, row * side + column])


def test_a_size_that_the_model_refuses_is_named() -> None:
    with pytest.raises(StudentError, match=r"timm/resmlp_12_224 cannot take frames of 64 pixels"):
        TokenEncoder("timm/resmlp_12_224", 8)(torch.zeros(1, 3, 64, 64))


def test_a_model_brings_its_own_normalisation() -> None:
    assert BACKBONES["timm/vit_tiny_patch16_224.augreg_in21k"].mean == (0.5, 0.5, 0.5)
    assert BACKBONES["timm/test_convnext"].mean == timm.get_pretrained_cfg("test_convnext").mean
    assert BACKBONES["resnet18"].mean == IMAGENET_MEAN


@torch.no_grad()
def test_weights_of_the_whole_model_fill_the_trunk() -> None:
    state = drawn("test_convnext").state_dict()
    encoder = TokenEncoder("timm/test_convnext", 8)
    load_imagenet_trunk(encoder, state)
    kept = encoder.trunk.state_dict()
    assert kept and all(torch.equal(value, state[key.removeprefix("model.")]) for key, value in kept.items())
    with pytest.raises(StudentError, match="timm/test_convnext"):
        load_imagenet_trunk(encoder, drawn("test_vit").state_dict())


def test_unknown_models_are_named() -> None:
    with pytest.raises(UnknownNameError, match="'test_convnextt': did you mean test_convnext"):
        BACKBONES["timm/test_convnextt"]
    with pytest.raises(UnknownNameError, match="no_such_tag"):
        BACKBONES["timm/resnet18.no_such_tag"]
    with pytest.raises(UnknownNameError, match="unknown backbone 'resnet19'"):
        BACKBONES["resnet19"]


def test_weights_out_of_reach_say_how_to_fetch_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(UserError, match=r"python -c .*create_model\('test_convnext', pretrained=True\).*safetensors"):
        trunk_weights("timm/test_convnext", "imagenet")
    assert weights_identity("timm/test_convnext", "imagenet").startswith("timm/test_convnext.")
