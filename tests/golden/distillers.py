"""Comparisons with the recorded losses: all of Lite-MKD's trainer, and decoupled KD."""

import dataclasses
import re
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH
from fewdistill.students.distill.combination import RELEASED, Combination
from fewdistill.students.distill.d2m import D2M
from fewdistill.students.distill.decoupled import DKD
from fewdistill.students.distill.measures import pearson_distance, softened_kl
from fewdistill.students.output import EpisodeOutput
from tests.golden.compare import close

AS_RELEASED = D2M(
    temperature=4.0, query_weight=1.0, support_weight=0.5, support_temperature=1.0, standardise=False,
    ce_weight=1 / 16, ce_branches=(LABEL_BRANCH,),
)  # fmt: skip
_ONE_BRANCH = ("ce", "KD", "Dist_KD", "wsl", "KL_feature", "support_sim")
_LOGITS = {  # our name -> recorded student, recorded teacher; a single branch is the label branch here
    QUERY_BRANCH: ("s_kl", "t_kl"),
    LABEL_BRANCH: ("s_ce", None),
    **{name: (f"s_{name}", None) for name in ("pat", "fr", "fr1", "fr2")},
    "sup_kl": ("s_supkl", "t_sup"),
    "sup_ce": ("s_supce", "t_sup"),
}


def _inputs(tensors: dict[str, Tensor], method: str) -> tuple[EpisodeOutput, EpisodeOutput, dict[str, Tensor]]:
    """Student and teacher under our names, and the student's leaves under the recorded ones."""
    leaves = {name[3:]: value.clone().requires_grad_() for name, value in tensors.items() if name.startswith("in/s")}
    if method in _ONE_BRANCH:
        logits, taught = {LABEL_BRANCH: leaves["s"]}, {"fused": tensors["in/t"]}
        if method == "support_sim":  # the query-specific prototypes' cosines, in the released reshape
            rows = leaves["s_sim"].shape[0]
            logits["sim"] = leaves["s_sim"].reshape(rows, -1)
            taught |= {LABEL_BRANCH: tensors["in/t"], "sim": tensors["in/t_sim"].reshape(rows, -1)}
    else:
        logits = {ours: leaves[recorded] for ours, (recorded, _) in _LOGITS.items()}
        taught = {ours: tensors[f"in/{recorded}"] for ours, (_, recorded) in _LOGITS.items() if recorded}
        taught |= {name: tensors["in/t_kl"] for name in ("pat", "fr", "fr1")}
    student = EpisodeOutput(logits, leaves["s_sup"], {"": leaves["s_feat"]})
    return student, EpisodeOutput(taught, tensors["in/t_sup"], {"": tensors["in/t_feat"]}), leaves


def released(case: SimpleNamespace) -> None:
    """Every recorded method through the combination of its name: total and gradients."""
    t = case.tensors
    recorded = {name.split("/")[1] for name in t if name.startswith("out/")} - {"prim"}
    strangers = recorded - set(RELEASED)
    if strangers:
        pytest.fail(f"{case.name}: unknown losses {', '.join(sorted(strangers))}")
    settings = case.meta["cfg"]
    assert (settings["soft_loss_weight"], settings["hard_loss_weight"], settings["feature_loss_weight"]) == (2, 1, 1)
    for method in sorted(recorded):
        student, teacher, leaves = _inputs(t, method)
        loss = Combination(released=method, temperature=float(settings["temperature"]))
        total = loss(student, teacher, t["in/y"])["loss"]
        total.backward()
        close(total, t[f"out/{method}/loss"], method)
        for name in (key for key in t if key.startswith(f"out/{method}/grad/")):
            gradient = leaves[name.rpartition("/")[2]].grad
            assert gradient is not None, name
            close(gradient, t[name], name)
    _d2m(case)
    _primitives(case)


def _d2m(case: SimpleNamespace) -> None:
    """The D2M of its own file is the released one and the figure's, with their parts."""
    t = case.tensors
    variants = {
        "fc_2_sup_dist": AS_RELEASED,
        "fc_2_sup_dist_cece": dataclasses.replace(AS_RELEASED, ce_branches=(QUERY_BRANCH, LABEL_BRANCH)),
    }
    for name, variant in variants.items():
        loss = dataclasses.replace(variant, temperature=float(case.meta["cfg"]["temperature"]))
        s = {k: t[f"in/s_{k}"].clone().requires_grad_() for k in ("kl", "ce", "sup")}
        student = EpisodeOutput({QUERY_BRANCH: s["kl"], LABEL_BRANCH: s["ce"]}, s["sup"], {})
        parts = loss(student, EpisodeOutput({"fused": t["in/t_kl"]}, t["in/t_sup"], {}), t["in/y"])
        parts["loss"].backward()
        close(parts["loss"], t[f"out/{name}/loss"], name)
        close(parts["query"], t[f"out/{name}/soft_loss"], f"{name} query level")  # the log leaves the support out
        weighted = t[f"out/{name}/loss"] - parts["query"].detach() - loss.ce_weight * parts["ce"].detach()
        close(loss.support_weight * parts["support"], weighted, f"{name} support level")
        for key, value in s.items():
            assert value.grad is not None
            close(value.grad, t[f"out/{name}/grad/s_{key}"], f"{name} gradient of {key}")


def _primitives(case: SimpleNamespace) -> None:
    t = case.tensors
    for temperature in (1, 4):
        ours = softened_kl(t["in/s"], t["in/t"], float(temperature))
        close(ours, t[f"out/prim/kd_loss_T{temperature}"], f"softened KL at {temperature}")
    ours = pearson_distance(t["in/s"].softmax(-1), t["in/t"].softmax(-1))
    close(ours, t["out/prim/inter_class_relation"], "Pearson distance")
    ours = pearson_distance(t["in/s_sup"].softmax(-1), t["in/t_sup"].softmax(-1))
    close(ours, t["out/prim/inter_class_relation_sup"], "Pearson distance of support rows")


def decoupled(case: SimpleNamespace) -> None:
    """DKD over 60 classes at the recorded alpha, beta and temperature: loss and gradient."""
    t = case.tensors
    recorded = [name for name in t if name.startswith("loss_")]
    assert recorded
    for name in recorded:
        alpha, beta, temperature = map(float, re.fullmatch(r"loss_a(\d+)_b(\d+)_T(\d+)", name).groups())  # type: ignore[union-attr]
        logits = t["student"].clone().requires_grad_()
        student = EpisodeOutput({QUERY_BRANCH: logits, LABEL_BRANCH: logits.detach()}, torch.empty(0), {})
        loss = DKD(alpha=alpha, beta=beta, temperature=temperature, ce_weight=0.0)
        total = loss(student, EpisodeOutput({"fused": t["teacher"]}, torch.empty(0), {}), t["target"])["loss"]
        total.backward()
        close(total, t[name], name)
        assert logits.grad is not None
        close(logits.grad, t[name.replace("loss", "grad")], f"{name}: gradient")
