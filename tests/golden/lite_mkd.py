"""Comparisons with the recorded Lite-MKD and TRX classes, one function a kind.

A case has ``name`` (the file's stem), ``path``, ``meta`` (arguments) and ``tensors`` (``in/``, ``w/`` and ``out/``
entries).
"""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH, TokenEncoder
from fewdistill.students.heads.mean_token import EDist
from fewdistill.students.heads.otam import OTAMReleased, alignment_cost
from fewdistill.teachers.ensemble import ScoreFusion
from fewdistill.teachers.fusions.base import FrameEmbedding
from fewdistill.teachers.fusions.baselines import SideBySide
from fewdistill.teachers.fusions.sums import RELEASED, Released
from tests.golden.compare import NETWORKS_RTOL, close, det_fill
from tests.golden.heads import trx

_SCORE_HEADS = ("m1_branch", "skeleton_branch", "flow_branch")  # of the first, second and third modality
FUSIONS_LATER = (
    "ThreeCombinationTRX", "TwoCombinationTemTroShiftTRX", "FourStrm", "TwoCross", "ThreeCross", "TwoCombinationCTX",
    "ThreeFusionDGA", "ThreeFusionDGA2", "ThreeFusion3", "ThreeFusionTwoRoad", "TwoFusionBatchFusion",
    "OTAMThreeTRXShiftLoopTime", "TwoCTXShuffleTime",
)  # fmt: skip


def _streams(case: SimpleNamespace, count: int) -> dict[str, Tensor]:
    """Support "S" and query "Q" tokens (k, N, T, D) of the first modalities."""
    t, args = case.tensors, case.meta["args"]
    names = [args[f"m{position + 1}"] for position in range(count)]
    shape = (-1, args["seq_len"], case.meta["in_channels"])
    return {side: torch.stack([t[f"in/{side}/{name}"].reshape(shape) for name in names]) for side in "SQ"}


def _fusion_state(released: dict[str, Tensor]) -> dict[str, Tensor]:
    """The fusion's encoders under our names: each is known by its number of position encodings, whatever its name."""
    streams: dict[str, int] = {}
    for found in filter(None, (re.match(r"(.*?)positionEncoding(\d)\.", key) for key in released)):
        streams[found[1]] = max(streams.get(found[1], 0), int(found[2]))
    state = {}
    for key, value in released.items():
        prefix = next((name for name in streams if key.startswith(name)), None)
        if prefix is None:
            continue
        rest = key.removeprefix(prefix)
        rest = re.sub(r"^positionEncoding(\d)\.", lambda found: f"embeddings.{int(found[1]) - 1}.", rest)
        rest = rest.replace("position_embeddings", "position").replace("LayerNorm", "norm")
        rest = re.sub(r"^transformer_encoder\.", "encoder.", re.sub(r"^f1\.", "output.", rest))
        if rest.startswith(("embeddings.", "encoder.", "output.")):
            state[f"encoders.{streams[prefix]}.{rest}"] = value
    return state


def fusion(case: SimpleNamespace) -> None:
    """A fusion class: fused tokens, tokens as cached, and the logits of the TRX head behind it."""
    t, args = case.tensors, case.meta["args"]
    released = case.meta["cls"].rpartition(":")[2]
    if released in FUSIONS_LATER:
        pytest.skip(f"kind mfm_: {released}: known, not yet implemented")
    if released not in RELEASED:
        pytest.fail(f"{case.name}: unknown fusion class {released}; known: {', '.join(RELEASED)}")
    terms = RELEASED[released]
    modalities = 1 + max(position for term in terms for position in term.streams)
    streams = _streams(case, modalities)
    state = _fusion_state({key.removeprefix("w/"): v for key, v in t.items() if key.startswith("w/")})
    module = Released(
        modalities,
        case.meta["in_channels"],
        args["seq_len"],
        released=released,
        layers=args["trans_num"],
        feedforward=next(v.shape[0] for k, v in state.items() if k.endswith("layers.0.linear1.weight")),
        shift=args["shirt_num"],
    )
    module.load_state_dict(state)
    module.eval()
    support, query = module(streams["S"], "support"), module(streams["Q"], "query")
    head = trx(case, [f"w/bracnch.transformers.{index}." for index in range(len(args["temp_set"]))])
    close(head(support, t["in/y"].long(), query, args["way"]), t["out/logits"], "logits")
    if "out/fused_in_forward" in t:
        close(support, t["out/fused_in_forward"], "fused tokens")
    if "out/cached_extract_feature" in t:
        close(module(streams["S"], "cached"), t["out/cached_extract_feature"], "cached tokens")
    if "out/three" in t:
        close(module.encoders["3"](list(streams["S"])), t["out/three"], "joint encoder")
    first, *others = streams["S"]
    for name, other, shift in (("rolldepth", 0, True), ("flow_noshift", 1, False), ("rollflow", 1, True)):
        if f"out/pair_rgb_{name}" in t:
            rolled = torch.roll(others[other], -args["shirt_num"], 1) if shift else others[other]
            close(module.encoders["2"]([first, rolled]), t[f"out/pair_rgb_{name}"], f"pair encoder, {name}")


def score_fusion(case: SimpleNamespace) -> None:
    """Logits of three modalities' heads, weighted and added. The released class names its heads, not in order."""
    t, args = case.tensors, case.meta["args"]
    prefixes = sorted({key.partition(".transformers.")[0] for key in t if key.startswith("w/")})
    order = sorted(prefixes, key=lambda prefix: _SCORE_HEADS.index(prefix.removeprefix("w/")))
    heads = iter([trx(case, [f"{prefix}.transformers.{i}." for i in range(len(args["temp_set"]))]) for prefix in order])
    head = ScoreFusion(lambda: next(heads), [args[weight] for weight in "abc"])
    streams = _streams(case, len(order))
    join = SideBySide(len(order), case.meta["in_channels"], args["seq_len"])
    close(head(join(streams["S"]), t["in/y"].long(), join(streams["Q"]), args["way"]), t["out/logits"], "logits")


def teacher_misc(case: SimpleNamespace) -> None:
    """TRX, CTX, e_dist and OTAM of the teacher and its frame embedding; the other entries are parts not built yet."""
    t, way = case.tensors, case.meta["args"]["way"]
    episode = t["in/S"], t["in/y"].long(), t["in/Q"], way
    close(trx(case, ["w/b2.transformers.0."])(*episode), t["out/trxbranch_2"], "pairs")
    both = trx(case, ["w/b23.transformers.0.", "w/b23.transformers.1."])
    close(both(*episode), t["out/trxbranch_23"], "pairs and triples")
    if "out/ctxbranch" in t:
        close(trx(case, ["w/ctx.transformers."])(*episode), t["out/ctxbranch"], "single frames")
    width, frames = t["in/S"].shape[-1], t["in/S"].shape[1]
    close(EDist(width, frames)(*episode), t["out/CosDistance"], "e_dist")
    close(OTAMReleased(width, frames)(*episode).softmax(-1), t["out/otam"], "OTAM, softmaxed as released")
    close(alignment_cost(t["in/d"], 0.1, down_in_first=True), t["out/otam_cum"], "OTAM's cost")
    embedding = FrameEmbedding(t["in/S"].shape[-1], t["in/S"].shape[1], dropout=0.1).eval()
    embedding.load_state_dict(
        {
            "position.weight": t["w/tpe.position_embeddings.weight"],
            "norm.weight": t["w/tpe.LayerNorm.weight"],
            "norm.bias": t["w/tpe.LayerNorm.bias"],
        }
    )
    close(embedding(t["in/S"]), t["out/trainable_pe"], "frame embedding")


BACKBONE_NAMES = {  # as files are named -> ours, and where the released class keeps the trunk
    "resnet18": ("resnet18", "resnet."),
    "resnet50": ("resnet50", "resnet."),
    "mobile_large": ("mobilenetv3_large", "mobile.0."),
    "mobile_small": ("mobilenetv3_small", "mobile.0."),
}


@torch.no_grad()
def backbone(case: SimpleNamespace) -> None:
    """A student at the recorded image size, eval and train mode, support and query in separate passes as released."""
    found = re.match(rf"backbone_({'|'.join(BACKBONE_NAMES)})(_|$)", case.name)
    if not found:
        pytest.fail(f"{case.name}: unknown student; known: {', '.join(BACKBONE_NAMES)}")
    name, trunk = BACKBONE_NAMES[found[1]]
    t, frames, size = case.tensors, case.meta["args"]["seq_len"], case.meta["img"]
    two = "out/eval/c/context_features_1" in t
    branches = {QUERY_BRANCH: ("fc1.", "_1"), LABEL_BRANCH: ("fc2.", "_2")} if two else {LABEL_BRANCH: ("fc.", "")}
    first = t[f"out/eval/c/context_features{'_1' if two else ''}"]
    encoder = TokenEncoder(name, first.shape[-1], tuple(branches))
    if not two and sum(p.numel() for p in encoder.parameters()) > case.meta["params"]:  # tokens are pooled features
        encoder = TokenEncoder(name, first.shape[-1], tuple(branches), linear=False)
    assert sum(p.numel() for p in encoder.parameters()) == case.meta["params"]
    names = {"trunk.": trunk, **{f"branches.{branch}.": fc for branch, (fc, _) in branches.items()}}
    det_fill(encoder, int(re.search(r"det_fill\(seed=(\d+)\)", case.meta["weights"])[1]), names)
    generator = np.random.default_rng(int(re.search(r"default_rng\((\d+)\)", case.meta["inputs"])[1]))
    passes = {}
    for side in ("c/context", "t/target"):  # two draws of one generator, support first
        count = t[f"out/eval/{side}_features{'_1' if two else ''}"].shape[0] * frames
        passes[side] = torch.from_numpy(generator.integers(0, 256, (count, 3, size, size), np.uint8)).float() / 255
    for mode in ("eval", "train_bn"):
        encoder.train(mode == "train_bn")
        for side, pixels in passes.items():
            tokens = encoder.clips(pixels, frames)
            for branch, (_, suffix) in branches.items():
                what = f"out/{mode}/{side}_features{suffix}"
                close(tokens[branch], t[what], what, rtol=NETWORKS_RTOL)
