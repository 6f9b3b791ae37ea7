"""Weights of released CTR-GCN, DKE-GCN, light-DKE-GCN and ST-GCN checkpoints as networks of ours.

Sizes are read off the tensors. Ours run the subsets of a graph and the branches over time together, so several
released tensors become one, and time is the last axis of a map.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.skeletons.base import PLAN, SkeletonNetwork
from fewdistill.students.skeletons.graph import JointGraph
from fewdistill.students.skeletons.skeleton_gcn import SkeletonGCN
from fewdistill.students.skeletons.st_gcn import STGCN

State = dict[str, Tensor]
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class Released:
    """A released state, or the part of it below a prefix, that remembers which tensors were taken."""

    def __init__(self, state: Mapping[str, Tensor], taken: set[str] | None = None, prefix: str = "") -> None:
        self.state, self.prefix = state, prefix
        self.taken = set() if taken is None else taken

    def at(self, prefix: str) -> "Released":
        return Released(self.state, self.taken, f"{self.prefix}{prefix}.")

    def has(self, key: str) -> bool:
        return f"{self.prefix}{key}" in self.state

    def count(self, pattern: str) -> int:
        """How many different numbers the one group of the pattern takes in the keys."""
        found = (re.match(re.escape(self.prefix) + pattern, key) for key in self.state)
        return len({match[1] for match in found if match})

    def __getitem__(self, key: str) -> Tensor:
        try:
            value = self.state[self.prefix + key]
        except KeyError:
            raise StudentError(f"the released weights have no {self.prefix}{key}") from None
        self.taken.add(self.prefix + key)
        return value


def load_released(state: Mapping[str, Tensor], graph: JointGraph, *, bodies: int = 2) -> SkeletonNetwork:
    """The network of a released state_dict, with its weights, in eval mode, on the topology it was trained on.

    Blocks, classes and channels are read off the tensors. StudentError names a key that is missing, unknown or of
    another shape.
    """
    released = Released({key.removeprefix("module."): value for key, value in state.items()})
    st_gcn = released.has("A")
    if not st_gcn and not released.has("l1.gcn1.PA"):
        raise StudentError("no key of a released CTR-GCN, DKE-GCN or ST-GCN in it")
    classes = released["fcn.weight" if st_gcn else "fc.weight"].shape[0]
    channels = released["st_gcn_networks.0.gcn.conv.weight" if st_gcn else "l1.gcn1.convs.0.conv3.weight"].shape[1]
    depth = released.count(r"l(\d+)\.")
    ours = _st_gcn(released) if st_gcn else _ctr_gcn(released, depth)
    if unknown := sorted(set(released.state) - released.taken):
        raise StudentError(f"the released weights have {unknown[0]}, and the network has not")
    network: SkeletonNetwork
    with torch.random.fork_rng(devices=[]):  # what is drawn here is overwritten
        if st_gcn:
            network = STGCN(graph, classes, bodies=bodies, channels=channels)
        else:
            network = SkeletonGCN(graph, classes, depth=depth, bodies=bodies, channels=channels)
    fill(network, ours)
    return network.eval()


def fill(module: torch.nn.Module, ours: State) -> None:
    """Put tensors under our names in place, all of them; StudentError names the first that does not fit."""
    for key, value in module.state_dict().items():
        if key not in ours or ours[key].shape != value.shape:
            found = f"of shape {tuple(ours[key].shape)}" if key in ours else "missing"
            raise StudentError(f"{key} is of shape {tuple(value.shape)} here, {found} in the released weights")
    module.load_state_dict(ours)


def _ctr_gcn(released: Released, depth: int) -> State:
    ours = _norm(released, "data_bn", "norm")
    ours |= {f"classifier.{part}": released[f"fc.{part}"] for part in ("weight", "bias")}
    for place in range(depth):
        ours |= _below(f"blocks.{place}", ctr_block(released.at(f"l{place + 1}")))
    return ours


def ctr_block(released: Released) -> State:
    """One block: released gcn1, tcn1, residual."""
    ours = _below("spatial", graph_convolution(released.at("gcn1")))
    ours |= _below("temporal", temporal_convolution(released.at("tcn1")))
    if released.has("residual.conv.weight"):
        ours |= _convolution(released, "residual.conv", "residual.0") | _norm(released, "residual.bn", "residual.1")
    return ours


def graph_convolution(released: Released) -> State:
    """The subsets of a channel-wise graph convolution become one."""
    ours = {"graph": released["PA"], "strength": released["alpha"]}
    ours |= relations(released, [f"convs.{k}." for k in range(released.count(r"convs\.(\d+)\."))])
    ours |= _norm(released, "bn", "norm")
    if released.has("down.0.weight"):
        ours |= _convolution(released, "down.0", "shortcut.0") | _norm(released, "down.1", "shortcut.1")
    return ours


def relations(released: Released, subsets: list[str]) -> State:
    """W1 to W4 of the subsets found below each prefix."""

    def of_all(name: str) -> list[Tensor]:
        return [released[prefix + name] for prefix in subsets]

    both = [of_all(f"conv{one}.{part}") for part in ("weight", "bias") for one in (1, 2)]
    return {
        "relate.weight": torch.cat(both[0] + both[1])[..., 0],
        "relate.bias": torch.cat(both[2] + both[3]),
        "value.weight": torch.stack(of_all("conv3.weight"), 1).flatten(0, 1),
        "value.bias": torch.stack(of_all("conv3.bias"), 1).flatten(),
        "refine": torch.stack(of_all("conv4.weight"))[..., 0, 0],
        "refine_bias": torch.stack(of_all("conv4.bias")),
    }


def temporal_convolution(released: Released) -> State:
    """Four branches: dilation 1, dilation 2, maximum, the frame itself."""
    ours = _convolution(released, "branches.0.3.conv", "near") | _convolution(released, "branches.1.3.conv", "far")
    ours |= _convolution(released, "branches.3.0", "same")
    reduce = [_convolution(released, f"branches.{branch}.0", "reduce") for branch in range(3)]
    reduce_norm = [_norm(released, f"branches.{branch}.1", "reduce_norm") for branch in range(3)]
    last = ("branches.0.3.bn", "branches.1.3.bn", "branches.2.4", "branches.3.1")
    for parts in (reduce, reduce_norm, [_norm(released, name, "norm") for name in last]):
        ours |= {key: _joined([part[key] for part in parts]) for key in parts[0]}
    return ours


def _st_gcn(released: Released) -> State:
    ours = _norm(released, "data_bn", "norm")
    ours |= {f"classifier.{part}": released[f"fcn.{part}"].flatten(1 if part == "weight" else 0) for part in _NORM[:2]}
    partitions = released["A"].shape[0]
    for place in range(len(PLAN)):
        block, to = released.at(f"st_gcn_networks.{place}"), f"blocks.{place}"
        weight, bias = (block[f"gcn.conv.{part}"].unflatten(0, (partitions, -1)) for part in ("weight", "bias"))
        ours |= {
            f"{to}.spatial.graph": released["A"],
            f"{to}.spatial.importance": released[f"edge_importance.{place}"],
            f"{to}.spatial.value.weight": weight[..., 0, 0].permute(1, 2, 0).flatten(1)[..., None, None],
            f"{to}.spatial.value_bias": bias,
        }
        ours |= _norm(block, "tcn.0", f"{to}.spatial_norm") | _norm(block, "tcn.3", f"{to}.norm")
        ours |= _convolution(block, "tcn.2", f"{to}.temporal")
        if block.has("residual.0.weight"):
            ours |= _convolution(block, "residual.0", f"{to}.residual.0") | _norm(
                block, "residual.1", f"{to}.residual.1"
            )
    return ours


def _below(prefix: str, ours: State) -> State:
    return {f"{prefix}.{key}": value for key, value in ours.items()}


def _convolution(released: Released, name: str, ours: str) -> State:
    """Released kernels are (time, joint), ours (joint, time)."""
    return {f"{ours}.weight": released[f"{name}.weight"].transpose(2, 3), f"{ours}.bias": released[f"{name}.bias"]}


def _norm(released: Released, name: str, ours: str) -> State:
    return {f"{ours}.{part}": released[f"{name}.{part}"] for part in _NORM}


def _joined(parts: list[Tensor]) -> Tensor:
    """Channels one after the other; a counter of batches is the same in all."""
    return torch.cat(parts) if parts[0].ndim else parts[0]
