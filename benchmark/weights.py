"""Initial weights of a backbone's trunk: published ImageNet weights, or a state_dict file."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmark.errors import UserError
from students.trunks import BACKBONES


def weights_identity(backbone: str, weights: str) -> str:
    """What the initial weights are, wherever they lie: "random", the published name, or a file's sha256."""
    if weights == "random":
        return weights
    if weights == "imagenet":
        return BACKBONES[backbone].published().name
    with _existing(weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _existing(weights: str) -> Path:
    path = Path(weights)
    if not path.is_file():
        raise UserError(f'weights = {weights!r}: no such file; use "random", "imagenet" or a state_dict file')
    return path


def trunk_weights(backbone: str, weights: str) -> dict[str, Tensor]:
    """The ImageNet classifier's state_dict for a backbone.

    weights: "imagenet" downloads the default weights of torchvision or timm (kept in their own folders), anything else
    is a file, .safetensors or a torch state_dict, read without executing code. UserError names what is missing and the
    command that fetches it.
    """
    if weights == "imagenet":
        published = BACKBONES[backbone].published()
        try:
            return published.download()
        except Exception as error:  # every hub client fails in ways of its own where there is no network
            raise UserError(
                f"cannot download the ImageNet weights of {backbone} ({error}). On a machine with a network run "
                f'`{published.fetch}`, then set weights = "<folder>/{published.file}", or weights = "random"'
            ) from error
    path = _existing(weights)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged and unsafe files raise errors of many kinds
        raise UserError(f"{path}: not a state_dict that loads safely ({error})") from error
