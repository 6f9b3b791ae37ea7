"""Comparisons with the recorded heads of Lite-MKD, TRX and STRM, one function a kind; cases as in lite_mkd.py."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH
from fewdistill.students.enrichment import FrameEnrichment, PatchEnrichment
from fewdistill.students.few_shot import episode_output
from fewdistill.students.heads.mean_token import EDist
from fewdistill.students.heads.strm import NearestPair
from fewdistill.students.heads.trx import TRX
from fewdistill.students.output import support_distances
from tests.golden.compare import close, det_fill


def as_drawn(tokens: Tensor, way: int) -> Tensor:
    """Support distances of tokens (S, T, D) taken as if they were sorted by class, as the released code takes them."""
    return support_distances(tokens, torch.arange(way).repeat_interleave(len(tokens) // way), way)


def trx(case: SimpleNamespace, prefixes: list[str]) -> TRX:
    """A TRX with the recorded weights, one prefix a tuple size; sizes and widths are read off the weights."""
    weights = [{k.removeprefix(p): v for k, v in case.tensors.items() if k.startswith(p)} for p in prefixes]
    width = weights[0]["pe.pe"].shape[-1]
    head_width = weights[0]["k_linear.weight"].shape[0]
    sizes = tuple(w["k_linear.weight"].shape[1] // width for w in weights)
    head = TRX(width, case.meta["args"]["seq_len"], tuple_sizes=sizes, head_width=head_width).eval()
    for matcher, state in zip(head.matchers, weights, strict=True):
        matcher.load_state_dict({name: state[name] for name in matcher.state_dict()})
    close(head.encoding, weights[0]["pe.pe"][0, : head.encoding.shape[0]], "position encoding")
    return head


def trx_student(case: SimpleNamespace) -> None:
    """TRX pairs, the two-branch student head, support distances as drawn and by label, gradients of the CE."""
    t, way = case.tensors, case.meta["args"]["way"]
    y, head = t["in/y"].long(), trx(case, ["w/transformers."])
    tokens = {QUERY_BRANCH: torch.cat([t["in/S1"], t["in/Q1"]]), LABEL_BRANCH: torch.cat([t["in/S2"], t["in/Q2"]])}
    output = episode_output(tokens, head, y, way)
    first, second = output.logits[QUERY_BRANCH], output.logits[LABEL_BRANCH]
    for name, ours in (
        ("TRX", first),
        ("TRX_fixed_flat_in", first),
        ("TRX_2fc/fc_1", first),
        ("TRX_2fc/fc_2", second),
        ("TRX_2fcsup/kl", first),
        ("TRX_2fcsup/ce", second),
        ("TRX_2fcsup_fixed/kl", first),
    ):
        if f"out/{name}" in t:
            close(ours, t[f"out/{name}"], name)
    drawn = {k: as_drawn(t[f"in/{k}"], way) for k in ("S1", "S2")}
    for name, branch in (("TRX_2fcsup", "S2"), ("TRX_2fcsup_fixed", "S1")):
        if f"out/{name}/sup" in t:  # the released code records these for five ways only
            close(drawn[branch], t[f"out/{name}/sup"], f"{name} support, as drawn")
    if "out/SupportDK_sorted_input" in t:
        close(output.support_distances, t["out/SupportDK_sorted_input"], "support distances, by label")
    if "out/SupportDK_shuffled_input" in t:
        close(drawn["S2"], t["out/SupportDK_shuffled_input"], "support distances, as drawn")

    support = t["in/S1"].clone().requires_grad_()
    loss = F.cross_entropy(head(support, y, t["in/Q1"], way), t["in/yq"].long())
    loss.backward()
    close(loss, t["out/TRX_ce"], "cross entropy")
    norms = support.grad.flatten(1).norm(dim=1)
    close(norms, t["out/TRX_ce_dS1_norm_per_video"], "gradient norms of the support videos")
    recorded = t["out/TRX_ce_dk_weight"]
    close(head.matchers[0].k_linear.weight.grad[: recorded.shape[0]], recorded, "gradient of the key map")
    close((first.argmax(1) == t["in/yq"]).float().mean(), t["out/acc"], "accuracy")


def trx_upstream(case: SimpleNamespace) -> None:
    """Each tuple size alone, and their mean."""
    t, way = case.tensors, case.meta["args"]["way"]
    sizes = case.meta["args"]["temp_set"]
    episode = t["in/S"], t["in/y"].long(), t["in/Q"], way
    for index, size in enumerate(sizes):
        close(trx(case, [f"w/{index}."])(*episode), t[f"out/card{size}"], f"tuples of {size}")
    close(trx(case, [f"w/{index}." for index in range(len(sizes))])(*episode), t["out/mean"], "mean over sizes")


def edist_cos(case: SimpleNamespace) -> None:
    """The e_dist rule on each branch, for students and the fixed teacher, and its support distances as drawn."""
    t, way = case.tensors, case.meta["args"]["way"]
    y = t["in/y"].long()
    head = EDist(t["in/S1"].shape[-1], t["in/S1"].shape[1])
    by_branch = [head(t[f"in/S{branch}"], y, t[f"in/Q{branch}"], way) for branch in (1, 2)]
    first = ("e_dist", "e_dist_flat", "fc2/fc_1", "fc2_sup/kl", "fc1_sup/kl", "fixed/kl", "cos")
    second = ("fc2/fc_2", "fc2_sup/ce")
    for name in (*first, *second):
        ours = by_branch[name in second]
        close(ours, t[f"out/{name}"], name)
    drawn = [as_drawn(t[f"in/S{branch}"], way) for branch in (1, 2)]
    for name, branch in (("fc2_sup", 1), ("fc1_sup", 0), ("fixed", 0)):
        if f"out/{name}/sup" in t:
            close(drawn[branch], t[f"out/{name}/sup"], f"{name} support, as drawn")


def strm_blocks(case: SimpleNamespace) -> None:
    """Patch and frame enrichment."""
    t = case.tensors
    patch = PatchEnrichment(t["in/xp"].shape[2], t["in/xp"].shape[1])
    names = {"query_proj": "query", "key_proj": "key", "value_conv": "value"}
    names |= {f"Bot_MLP.{old}": f"bottleneck.{place}" for place, old in enumerate(("inp_fc", "hid_fc", "out_fc"))}
    state = {f"{new}.{k}": t[f"w/patch.{old}.{k}"] for old, new in names.items() for k in ("weight", "bias")}
    patch.load_state_dict(state | {"weight": t["w/patch.gamma"]})
    close(patch(t["in/xp"]), t["out/patch"], "patch enrichment")
    frame = FrameEnrichment(t["in/xf"].shape[2], t["in/xf"].shape[1])
    mlps = {"Tok_MLP": "over_frames", "Bot_MLP": "over_channels"}
    layers = {f"{old}.{part}": f"{new}.{i}" for old, new in mlps.items() for i, part in enumerate(("inp_fc", "out_fc"))}
    frame.load_state_dict(
        {f"{new}.{k}": t[f"w/frame.{old}.{k}"] for old, new in layers.items() for k in ("weight", "bias")}
    )
    close(frame(t["in/xf"]), t["out/frame"], "frame enrichment")


def strm_classifiers(case: SimpleNamespace) -> None:
    """The nearest-pair rule, TRX on enriched frames for one and two branches, support distances as drawn."""
    t, way = case.tensors, case.meta["args"]["way"]
    y, head, frames = t["in/y"].long(), trx(case, ["w/transformers."]), t["in/Sp"].shape[1]
    nearest = NearestPair(t["in/Sp"].shape[2], frames).eval()
    det_fill(nearest, 3, {"linear": "DistanceLoss.clsW"})
    ours = nearest.match(nearest.project(t["in/Sp"])[None], y[None], nearest.project(t["in/Qp"])[None], way)[0]
    first, second = (head(t[f"in/Sf{branch}"], y, t[f"in/Qf{branch}"], way) for branch in ("", "2"))
    close(ours, t["out/strm/pat"], "nearest pair")
    close(ours, t["out/res18_sup/pat"], "nearest pair beside two branches")
    close(first, t["out/strm/fr"], "frames")
    close(first, t["out/res18_sup/fr1"], "frames, first branch")
    close(second, t["out/res18_sup/fr2"], "frames, second branch")
    drawn = as_drawn(t["in/Sf2"], way)
    close(drawn, t["out/res18_sup/sup"], "support, as drawn")
