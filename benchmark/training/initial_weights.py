"""Initial weights of a backbone's trunk: published ImageNet weights, or a state_dict file."""

import hashlib
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.feature_cache import write_atomic
from fewdistill.students.interop import Imported
from fewdistill.students.trunks import BACKBONES

IMPORTED = "fewdistill"
"""Key of a safetensors file's metadata: what was imported, see students/interop.py."""


def weights_identity(backbone: str, weights: str) -> str:
    """What the initial weights are, wherever they lie: "random", the published name, or a file's sha256."""
    if weights == "random":
        return weights
    if weights == "imagenet":
        return BACKBONES[backbone].published().name
    path = _existing(weights)
    status = path.stat()
    return _file_hash(path, status.st_size, status.st_mtime_ns)


@lru_cache
def _file_hash(path: Path, size: int, changed_ns: int) -> str:
    """sha256 of a file, remembered as long as its size and time stay the same."""
    with path.open("rb") as file:
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
    return read_state(_existing(weights))


def imported_weights(weights: str) -> dict[str, Tensor] | None:
    """A student's state as import-checkpoint wrote it; None for other weights. UserError names a missing file."""
    if weights == "imagenet" or (path := _existing(weights)).suffix != ".safetensors":
        return None
    try:
        with safe_open(path, "pt") as file:
            kind = (file.metadata() or {}).get(IMPORTED)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from error
    if kind is None:
        return None
    if kind != "student":
        raise UserError(f"{path} holds an imported {kind}; only an imported student can be a suite's weights")
    return load_file(path)


def write_imported(imported: Imported, path: Path) -> None:
    """Write an imported student as safetensors, whole or not at all."""
    stored = {key: value.contiguous() for key, value in imported.state.items()}
    write_atomic(path, [save(stored, {IMPORTED: "student"})])


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, executing no code: a state_dict, or one under model_state_dict or state_dict.

    UserError names a file that is no such thing.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
        for name in ("model_state_dict", "state_dict"):
            stored = stored.get(name, stored)
        return {key: value for key, value in stored.items() if isinstance(value, Tensor)}
    except Exception as error:  # damaged and unsafe files raise errors of many kinds
        raise UserError(f"{path}: not a state_dict that loads safely ({error})") from error
