"""Weights of released checkpoints under our names: Lite-MKD's students and fused teachers, TRX, STRM.

A released module keeps its parameters where its authors put them; what each of them is, is told by the last parts of
its name and by its neighbours, so that wrappers and renamed attributes do not matter. Every key is mapped, or left
over with the reason.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.trunks import BACKBONES

Kind = Literal["student", "teacher", "trx", "strm"]
KINDS: tuple[Kind, ...] = get_args(Kind)

UNKNOWN = "not known"
_COMPUTED = "a position encoding that is computed, not learnt"
_NEVER_APPLIED = "never applied in the released code"
_COUNTER = "num_batches_tracked"
_NEVER_USED = "built, but not used by this network"

_RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
_PATCH = {"query_proj": "query", "key_proj": "key", "value_conv": "value"}
_PATCH |= {f"Bot_MLP.{name}": f"bottleneck.{place}" for place, name in enumerate(("inp_fc", "hid_fc", "out_fc"))}
_FRAME = {f"Tok_MLP.{name}": f"over_frames.{place}" for place, name in enumerate(("inp_fc", "out_fc"))}
_FRAME |= {f"Bot_MLP.{name}": f"over_channels.{place}" for place, name in enumerate(("inp_fc", "out_fc"))}


@dataclass(frozen=True)
class Imported:
    """A released state under our names.

    kind: what it was read as. backbone: the trunk it has, None for a fused teacher. state: tensors by our names, those
    of FewShotStudent (encoder., head.) or of a fused teacher (fusion., head.). mapped: released key -> ours; left:
    released key -> why nothing of ours takes it.
    """

    kind: Kind
    backbone: str | None
    state: Mapping[str, Tensor]
    mapped: Mapping[str, str]
    left: Mapping[str, str]


def import_state(state: Mapping[str, Tensor], kind: Kind) -> Imported:
    """Map a released state_dict. StudentError when nothing in it is of this kind, or its trunk is no known backbone."""
    rules = _rules({_plain(key) for key in state}, kind)
    mapped: dict[str, str] = {}
    left: dict[str, str] = {}
    for key in state:
        ours, why = rules(_plain(key))
        if ours is not None and ours in mapped.values():
            ours, why = None, f"a second {ours}"
        if ours is None:
            left[key] = why
        else:
            mapped[key] = ours
    if not mapped:
        raise StudentError(
            f"no key of a released {kind} in it: is it one of {', '.join(k for k in KINDS if k != kind)}?"
        )
    found = {ours: state[key] for key, ours in mapped.items()}
    return Imported(kind, None if kind == "teacher" else _backbone(found), found, mapped, left)


def _plain(key: str) -> str:
    """Without what DataParallel puts in."""
    return ".".join(part for part in key.split(".") if part != "module")


Rule = Callable[[str], tuple[str | None, str]]
"""A released key -> our name, or None and why."""


def _rules(keys: set[str], kind: Kind) -> Rule:
    patch = {key.removesuffix("query_proj.weight") for key in keys if key.endswith("query_proj.weight")}
    frame = {key.removesuffix("Tok_MLP.inp_fc.weight") for key in keys if key.endswith("Tok_MLP.inp_fc.weight")}
    streams: dict[str, int] = {}
    for found in filter(None, (re.match(r"(.*?)positionEncoding(\d)\.", key) for key in keys)):
        streams[found[1]] = max(streams.get(found[1], 0), int(found[2]))
    matchers = "head.trx.matchers" if kind == "strm" else "head.matchers"

    def rule(key: str) -> tuple[str | None, str]:
        if key.endswith("pe.pe"):
            return None, _COMPUTED
        for prefixes, names, place in ((patch, _PATCH, "encoder.enrich"), (frame, _FRAME, "head.enrich")):
            for prefix in (p for p in prefixes if key.startswith(p)):
                inner, _, last = key.removeprefix(prefix).rpartition(".")
                ours = "weight" if last == "gamma" else f"{names[inner]}.{last}" if inner in names else None
                if ours is not None:
                    return (f"{place}.{ours}", "") if kind == "strm" else (None, _NEVER_USED)
        if found := re.search(r"(?:^|\.)clsW\.(weight|bias)$", key):
            return (f"head.nearest.linear.{found[1]}", "") if kind == "strm" else (None, _NEVER_USED)
        if found := re.search(
            r"(?:^|\.)transformers\.(?:(\d+)\.)?(k_linear|v_linear|norm_k|norm_v)\.(weight|bias)$", key
        ):
            if found[2] == "norm_v":
                return None, _NEVER_APPLIED
            return f"{matchers}.{found[1] or 0}.{found[2]}.{found[3]}", ""
        if kind == "teacher":
            return _of_fusion(key, streams)
        return _of_encoder(key, kind)

    return rule


def _of_fusion(key: str, streams: Mapping[str, int]) -> tuple[str | None, str]:
    """ENC_m: an encoder is known by the number of position encodings it has, whatever it is called."""
    prefix = next((name for name in streams if key.startswith(name)), None)
    if prefix is None:
        return None, UNKNOWN
    rest = key.removeprefix(prefix)
    rest = re.sub(r"^positionEncoding(\d)\.", lambda found: f"embeddings.{int(found[1]) - 1}.", rest)
    rest = rest.replace("position_embeddings", "position").replace("LayerNorm", "norm")
    rest = re.sub(r"^transformer_encoder\.", "encoder.", re.sub(r"^f1\.", "output.", rest))
    if not rest.startswith(("embeddings.", "encoder.", "output.")):
        return None, UNKNOWN
    return f"fusion.encoders.{streams[prefix]}.{rest}", ""


def _of_encoder(key: str, kind: Kind) -> tuple[str | None, str]:
    if found := re.search(r"(?:^|\.)(?:resnet|mobile\.0)\.(.+)$", key):
        head, _, rest = found[1].partition(".")
        if head.isdigit():
            return f"encoder.trunk.{head}.{rest}", ""
        return (f"encoder.trunk.{_RESNET.index(head)}.{rest}", "") if head in _RESNET else (None, UNKNOWN)
    if found := re.search(r"(?:^|\.)fc([12]?)\.(weight|bias)$", key):
        branch = QUERY_BRANCH if found[1] == "1" else LABEL_BRANCH
        return (f"encoder.branches.{branch}.{found[2]}", "") if kind == "student" else (None, _NEVER_USED)
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
