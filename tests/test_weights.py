"""Initial weights: real architectures at random weights, and clear errors for what is missing."""

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.training.initial_weights import trunk_weights
from fewdistill.students.backbones import TokenEncoder, load_imagenet_trunk


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_state_dict_file_fills_the_trunk(tmp_path: Path, suffix: str) -> None:
    with torch_scope(torch.device("cpu"), 1, "weights"):
        state = torchvision.models.resnet18().state_dict()
    path = tmp_path / f"resnet18{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    encoder = TokenEncoder("resnet18", 8)
    load_imagenet_trunk(encoder, trunk_weights("resnet18", str(path)))
    assert torch.equal(encoder.trunk[0].weight, state["conv1.weight"])  # type: ignore[index]


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such file"):
        trunk_weights("resnet18", str(tmp_path / "nowhere.pt"))
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not a state_dict")
    with pytest.raises(UserError, match=r"broken\.pt"):
        trunk_weights("resnet18", str(broken))
    unsafe = tmp_path / "unsafe.pt"
    torch.save({"code": Path}, unsafe)
    with pytest.raises(UserError, match="loads safely"):
        trunk_weights("resnet18", str(unsafe))
    # a proxy nobody answers at stands for a machine without a network
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(UserError, match=r"curl -LO https://download\.pytorch\.org/.*mobilenet"):
        trunk_weights("mobilenetv3_small", "imagenet")
