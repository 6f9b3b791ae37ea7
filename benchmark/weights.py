"""Initial weights of a backbone's trunk: torchvision's ImageNet weights, or a state_dict file."""

import hashlib
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor

from benchmark.errors import UserError
from students.backbones import BACKBONES


def weights_identity(backbone: str, weights: str) -> str:
    """What the initial weights are, wherever they lie: "random", torchvision's file name, or a file's sha256."""
    if weights == "random":
        return weights
    if weights == "imagenet":
        name = BACKBONES[backbone].torchvision_name
        return torchvision.models.get_model_weights(name).DEFAULT.url.rsplit("/", 1)[-1]
    with _existing(weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _existing(weights: str) -> Path:
    path = Path(weights)
    if not path.is_file():
        raise UserError(f'weights = {weights!r}: no such file; use "random", "imagenet" or a state_dict file')
    return path


def trunk_weights(backbone: str, weights: str) -> dict[str, Tensor]:
    """The torchvision classifier's state_dict for a backbone.

    weights: "imagenet" downloads torchvision's default weights (kept in torch's hub folder), anything else is a
    file, .safetensors or a torch state_dict, read without executing code. UserError names what is missing and the
    command that fetches it.
    """
    name = BACKBONES[backbone].torchvision_name
    if weights == "imagenet":
        published = torchvision.models.get_model_weights(name).DEFAULT
        try:
            return dict(published.get_state_dict(progress=False, check_hash=True))
        except (URLError, OSError, RuntimeError) as error:
            file = published.url.rsplit("/", 1)[-1]
            raise UserError(
                f"cannot download the ImageNet weights of {backbone} ({error}). On a machine with a network run "
                f'`curl -LO {published.url}`, then set weights = "<folder>/{file}", or weights = "random"'
            ) from error
    path = _existing(weights)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged and unsafe files raise errors of many kinds
        raise UserError(f"{path}: not a state_dict that loads safely ({error})") from error
