"""Weights of released Lite-MKD students under this project's names.

A released module keeps its parameters where its authors put them; what each of them is follows from the last parts of
its name and from its neighbours, so that wrappers and renamed attributes do not matter. Every key is mapped, or left
over with the reason.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.trunks import BACKBONES

UNKNOWN = "not known"
_COMPUTED = "a position encoding that is computed, not learnt"
_NEVER_APPLIED = "never applied in the released code"
_COUNTER = "num_batches_tracked"
_NEVER_USED = "built, but not used by this network"

_RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
_STRM = re.compile(  # which released students build, too; "gamma" is its patches' weight, beside a query_proj
    r"(?:^|\.)(?:(?:query_proj|key_proj|value_conv|(?:Bot|Tok)_MLP\.(?:inp|hid|out)_fc|clsW)\.(?:weight|bias)|gamma)$"
)


@dataclass(frozen=True)
class Imported:
    """A released student under this project's names.

    backbone: the trunk it has. state: tensors by the names of FewShotStudent (encoder., head.). mapped: released key ->
    new name; left: released key -> why nothing takes it.
    """

    backbone: str
    state: Mapping[str, Tensor]
    mapped: Mapping[str, str]
    left: Mapping[str, str]


def import_state(state: Mapping[str, Tensor]) -> Imported:
    """Map a released state_dict. StudentError when it is none of a student, or its trunk is no known backbone."""
    keys = {key: _plain(key) for key in state}
    mapped: dict[str, str] = {}
    left: dict[str, str] = {}
    for key, plain in keys.items():
        ours, why = _renamed(plain, keys.values())
        if ours is not None and ours in mapped.values():
            ours, why = None, f"a second {ours}"
        if ours is None:
            left[key] = why
        else:
            mapped[key] = ours
    if not mapped:
        raise StudentError("no key of a released Lite-MKD student in it")
    found = {ours: state[key] for key, ours in mapped.items()}
    return Imported(_backbone(found), found, mapped, left)


def _plain(key: str) -> str:
    """Without what DataParallel puts in."""
    return ".".join(part for part in key.split(".") if part != "module")


def _renamed(key: str, keys: Collection[str]) -> tuple[str | None, str]:
    """The name of a released key here, or None and why there is none. keys: all released ones."""
    if key.endswith("pe.pe"):
        return None, _COMPUTED
    if _STRM.search(key) and (not key.endswith("gamma") or f"{key.removesuffix('gamma')}query_proj.weight" in keys):
        return None, _NEVER_USED
    if found := re.search(r"(?:^|\.)transformers\.(?:(\d+)\.)?(k_linear|v_linear|norm_k|norm_v)\.(weight|bias)$", key):
        if found[2] == "norm_v":
            return None, _NEVER_APPLIED
        return f"head.matchers.{found[1] or 0}.{found[2]}.{found[3]}", ""
    if found := re.search(r"(?:^|\.)(?:resnet|mobile\.0)\.(.+)$", key):
        head, _, rest = found[1].partition(".")
        if head.isdigit():
            return f"encoder.trunk.{head}.{rest}", ""
        return (f"encoder.trunk.{_RESNET.index(head)}.{rest}", "") if head in _RESNET else (None, UNKNOWN)
    if found := re.search(r"(?:^|\.)fc([12]?)\.(weight|bias)$", key):
        branch = QUERY_BRANCH if found[1] == "1" else LABEL_BRANCH
        return f"encoder.branches.{branch}.{found[2]}", ""
    return None, UNKNOWN


def _backbone(state: Mapping[str, Tensor]) -> str:
    """The backbone whose trunk has exactly these parameters."""
    prefix = "encoder.trunk."
    shapes = _shapes({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    for name in BACKBONES:
        with torch.device("meta"):
            trunk = BACKBONES[name].build().state_dict()
        if _shapes(trunk) == shapes:
            return name
    raise StudentError(f"its trunk of {len(shapes)} tensors is none of {', '.join(BACKBONES)}")


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items() if not key.endswith(_COUNTER)}


def fill_student(student: FewShotStudent, state: Mapping[str, Tensor]) -> None:
    """Put an imported student's weights in place: its encoder, and its head where it brings one.

    StudentError names the first key that does not fit; nothing is filled in for one that is missing.
    """
    wanted = {key: value for key, value in student.state_dict().items() if not key.endswith(_COUNTER)}
    if not any(key.startswith("head.") for key in state):
        wanted = {key: value for key, value in wanted.items() if not key.startswith("head.")}
    for key, value in wanted.items():
        if key not in state:
            raise StudentError(f"the imported weights have no {key}")
        if state[key].shape != value.shape:
            raise StudentError(f"{key} is {tuple(state[key].shape)} in the imported weights, {tuple(value.shape)} here")
    if strangers := sorted(key for key in state if key not in wanted and not key.endswith(_COUNTER)):
        raise StudentError(f"the imported weights have {strangers[0]}, and this student has not")
    student.load_state_dict(dict(state), strict=False)
