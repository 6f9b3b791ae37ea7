"""Comparisons with the recorded skeleton networks: CTR-GCN's parts, CTR-GCN and its students, ST-GCN, the graphs.

The names and shapes of a state stand in a json file beside the numbers, in the released order. Maps are recorded
(n, C, T, V), ours have time last.
"""

import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fewdistill.students.skeletons.skeleton_gcn import ChannelwiseGraphConvolution, CTRGCNBlock, TemporalConvolution
from tests.golden.compare import NETWORKS_RTOL, close
from tests.golden.released_skeletons import (
    Released,
    ctr_block,
    fill,
    graph_convolution,
    load_released,
    relations,
    temporal_convolution,
)
from tests.skeletons import NTU, UCLA

_STRENGTH = 0.3  # of every recorded graph convolution
_NETWORK_FRAMES = 16
_LEARNT_GRAPHS = ("PA", "edge_importance")


def graphs(case: SimpleNamespace) -> None:
    """CTR-GCN's graphs of both topologies."""
    recorded = {"A": NTU, "A_ucla": UCLA}
    assert set(case.tensors) <= set(recorded)
    for name, array in case.tensors.items():
        assert torch.equal(recorded[name].directed(), array.float()), name


def part(case: SimpleNamespace) -> None:
    """A part of CTR-GCN at recorded weights: outputs and input gradients, batch norm in eval and in train mode."""
    build = next((build for kind, build in _PARTS.items() if case.name.startswith(kind)), None)
    if build is None:
        pytest.fail(f"{case.name}: unknown part; known: {', '.join(_PARTS)}")
    t = case.tensors
    state = {name: t[f"w{place:03d}"] for place, (name, _) in enumerate(_names(case))}
    for mode in ("eval", "train"):
        if f"y_{mode}" not in t:
            continue
        if mode == "train":  # recorded after the rule had moved the learnt graphs once more than stored
            state |= {name: 2 * value - NTU.directed() for name, value in state.items() if name.endswith("PA")}
        forward = build(case, state, mode == "train")
        maps = t["x"].clone().requires_grad_()
        out = forward(maps.transpose(2, 3)).transpose(2, 3)
        close(out, t[f"y_{mode}"], f"output, {mode}")
        if f"gx_{mode}" in t:
            weights = torch.arange(out.numel()).sin().view(out.shape)
            (gradient,) = torch.autograd.grad(out, maps, weights)
            close(gradient, t[f"gx_{mode}"], f"gradient, {mode}")


Forward = Callable[[Tensor], Tensor]


def _relation(case: SimpleNamespace, state: dict[str, Tensor], train: bool) -> Forward:
    """One subset alone, on the second graph."""
    module = ChannelwiseGraphConvolution(*_widths(case), NTU.directed()[1:2]).train(train)
    fixed = {"strength": torch.tensor([_STRENGTH])}
    fill(module, module.state_dict() | fixed | relations(Released(state), [""]))
    return module.mixed


def _graph_convolution(case: SimpleNamespace, state: dict[str, Tensor], train: bool) -> Forward:
    module = ChannelwiseGraphConvolution(*_widths(case), NTU.directed()).train(train)
    fill(module, graph_convolution(Released(state)))
    return module


def _temporal(case: SimpleNamespace, state: dict[str, Tensor], train: bool) -> Forward:
    module = TemporalConvolution(_widths(case)[0], _stride(case)).train(train)
    fill(module, temporal_convolution(Released(state)))
    return module


def _block(case: SimpleNamespace, state: dict[str, Tensor], train: bool) -> Forward:
    residual = not case.name.endswith("_first")
    module = CTRGCNBlock(*_widths(case), NTU.directed(), _stride(case), residual=residual).train(train)
    fill(module, ctr_block(Released(state)))
    return module


_PARTS = {"ctr_ctrgc_": _relation, "ctr_unit_gcn_": _graph_convolution, "ctr_mstcn_": _temporal, "ctr_block_": _block}


@torch.no_grad()
def ctr_gcn(case: SimpleNamespace) -> None:
    """A whole CTR-GCN, of any depth: channel means behind every block, and logits."""
    network = load_released(_by_rule(case, moved=1), NTU)
    _has_recorded_size(case, network)
    means: list[Tensor] = []
    for block in network.blocks:
        block.register_forward_hook(lambda module, inputs, out: means.append(out.mean((2, 3))))
    logits = network(_clip())
    recorded = [case.tensors[f"l{place + 1}_mean"] for place in range(len(network.blocks))]
    for place, (ours, theirs) in enumerate(zip(means, recorded, strict=True)):
        close(ours, theirs[: len(ours)], f"block {place + 1}", NETWORKS_RTOL)
    close(logits, case.tensors["logits_eval"][:1], "logits", NETWORKS_RTOL)


@torch.no_grad()
def st_gcn(case: SimpleNamespace) -> None:
    """ST-GCN: its graph, logits, and the mean of its last map, recorded after the rule had run once more."""
    network = load_released(_by_rule(case, moved=1), NTU)
    _has_recorded_size(case, network)
    close(NTU.partitioned(), case.tensors["A"], "graph")
    close(network(_clip()), case.tensors["logits_eval"][:1], "logits", NETWORKS_RTOL)
    again = load_released(_by_rule(case, moved=2), NTU)
    close(again.tokens(_clip()).mean(1), case.tensors["feat_mean"][:1], "features", NETWORKS_RTOL)


def _clip() -> Tensor:
    """The first of the two recorded clips; the second does not follow the rule for inputs, and is not stored."""
    shape = (1, 3, _NETWORK_FRAMES, NTU.joints, 2)
    j = np.arange(math.prod(shape), dtype=np.float64)
    return torch.from_numpy(np.sin(0.11 * j) + 0.3 * np.cos(0.017 * j**2 % 6.28)).float().view(shape)


def _by_rule(case: SimpleNamespace, moved: int) -> dict[str, Tensor]:
    """The recorded weights, which follow a rule of their place and name; learnt graphs move from their start."""
    state = {}
    for place, (name, shape) in enumerate(_names(case)):
        s = torch.from_numpy(np.sin(0.37 * np.arange(math.prod(shape)) + 1.3 * place + 0.5)).view(shape)
        last = name.rpartition(".")[2]
        if name.startswith(_LEARNT_GRAPHS) or last in _LEARNT_GRAPHS:
            value = (NTU.directed() if last == "PA" else torch.ones(shape)) + moved * 0.01 * s
        elif name == "A":
            value = case.tensors["A"]
        elif last in ("running_mean", "bias"):
            value = 0.05 * s
        elif last == "running_var":
            value = 1 + 0.2 * s**2
        elif last == "alpha":
            value = torch.full(shape, _STRENGTH)
        elif last == "num_batches_tracked":
            value = torch.tensor(0)
        elif len(shape) == 1:
            value = 1 + 0.1 * s
        else:
            value = min(0.5, 1.7 / math.prod(shape[1:]) ** 0.5) * s
        state[name] = value if last == "num_batches_tracked" else value.float()
    return state


def _has_recorded_size(case: SimpleNamespace, network: nn.Module) -> None:
    assert sum(p.numel() for p in network.parameters()) == json.loads(_beside(case))["params"]


def _names(case: SimpleNamespace) -> list[tuple[str, list[int]]]:
    found = json.loads(_beside(case))
    return cast(list[tuple[str, list[int]]], found["state"] if isinstance(found, dict) else found)


def _beside(case: SimpleNamespace) -> str:
    return cast(str, case.path.with_suffix(".json").read_text())


def _widths(case: SimpleNamespace) -> tuple[int, int]:
    return case.tensors["x"].shape[1], case.tensors["y_eval"].shape[1]


def _stride(case: SimpleNamespace) -> int:
    frames, kept = (case.tensors[name].shape[2] for name in ("x", "y_eval"))
    return math.ceil(frames / kept)
