"""Skeleton networks beside the released formulation, their counts, initial weights, graphs and released weights."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fewdistill.benchmark.cost.published_gcn import published
from fewdistill.benchmark.cost.skeleton_cost import clip_cost
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.results.records.bundle import open_records
from fewdistill.students import StudentError
from fewdistill.students.skeletons import SKELETONS, JointGraph
from fewdistill.students.skeletons.base import PLAN
from fewdistill.students.skeletons.skeleton_gcn import ChannelwiseGraphConvolution, SkeletonGCN, TemporalConvolution
from fewdistill.students.skeletons.st_gcn import GraphConvolution, STGCNBlock
from tests.golden.released_skeletons import load_released
from tests.skeletons import NTU, UCLA, as_trained, joint_graph

CHAIN = joint_graph([-1, 0, 1])
REFERENCE = Path(__file__).parents[2] / "results" / "reference"
COPY = Path(__file__).parents[1] / "golden" / "copies" / "light_dke_gcn_7l.json"


# counts


@pytest.mark.parametrize(
    ("name", "ntu", "ntu120", "ucla"),
    [
        ("ctr_gcn", 1_446_672, 1_462_092, 1_426_892),
        ("dke_gcn", 1_064_444, 1_079_864, 1_045_339),
        ("light_dke_gcn", 372_788, 380_528, 361_433),
        ("st_gcn", 3_098_832, None, None),
    ],
)
def test_parameters(name: str, ntu: int, ntu120: int | None, ucla: int | None) -> None:
    with torch.device("meta"):
        networks = [SKELETONS[name](NTU, 60), SKELETONS[name](NTU, 120), SKELETONS[name](UCLA, 10, bodies=1)]
    for network, wanted in zip(networks, (ntu, ntu120, ucla), strict=True):
        assert wanted in (None, sum(p.numel() for p in network.parameters()))


@pytest.mark.parametrize(
    ("name", "graph", "bodies", "frames", "by_thop", "by_dispatcher"),
    [
        ("ctr_gcn", NTU, 2, 64, 1.786, 1.939),
        ("dke_gcn", NTU, 2, 64, 1.471, 1.611),
        ("light_dke_gcn", NTU, 2, 64, 0.755, 0.857),
        ("st_gcn", NTU, 2, 64, 3.482, 3.646),
        ("st_gcn", NTU, 2, 300, 16.321, 17.093),
        ("ctr_gcn", UCLA, 1, 52, 0.580, None),
        ("dke_gcn", UCLA, 1, 52, 0.478, None),
        ("light_dke_gcn", UCLA, 1, 52, 0.245, None),
    ],
)
def test_macs(name: str, graph: JointGraph, bodies: int, frames: int, by_thop: float, by_dispatcher: float) -> None:
    network = SKELETONS[name](graph, 60 if graph is NTU else 10, bodies=bodies)
    cost = clip_cost(network, frames)
    assert round(cost.thop_macs / 1e9, 3) == by_thop
    assert by_dispatcher in (None, round(cost.published_macs / 1e9, 3))
    assert cost.parameters == sum(p.numel() for p in network.parameters())
    saved, left, channels = 0, frames, network.channels
    for (width, stride), block in zip(PLAN, network.blocks, strict=False):
        joints = graph.joints * bodies
        if isinstance(block.spatial, ChannelwiseGraphConvolution):  # W1 and W2 in one frame instead of every one
            saved += block.spatial.relate.out_channels * channels * joints * (left - 1)
            saved -= channels * joints * left  # the mean over time as a product
            saved -= 3 * width * 2 * graph.joints * joints  # bias and graph as rows of the product with W4
        else:  # joints gathered on the narrower map; the bias has a graph of its own
            saved += 3 * graph.joints * joints * left * (width - channels) - 3 * width * graph.joints
        channels, left = width, -(-left // stride)
    assert cost.published_macs - cost.macs == saved > 0


def test_the_committed_episodes_cost_what_is_counted() -> None:
    records = [r for file in REFERENCE.glob("dke_gcn_*/records.jsonl") for r in open_records(file.parent).all()]
    cells = {(r.cell.model, r.cell.frames, r.cost.macs_per_video) for r in records if r.cost and r.cell.way == 5}
    assert {name for name, *_ in cells} == {"ctr_gcn", "dke_gcn", "light_dke_gcn"}
    for name, frames, macs in cells:
        network = SKELETONS[name](UCLA, 10, bodies=1)  # both data sets have 20 joints, no episode asks the classifier
        assert macs == clip_cost(network, frames).macs - network.classifier.weight.numel()


def test_a_clip_of_no_frames_has_no_cost() -> None:
    with pytest.raises(UserError, match="0 frames"):
        clip_cost(SkeletonGCN(CHAIN, 3, depth=1), 0)


# the released formulation


@pytest.mark.parametrize("name", SKELETONS)
@pytest.mark.parametrize("train", [False, True])
def test_logits_and_gradients_are_those_of_the_released_formulation(name: str, train: bool) -> None:
    ours = as_trained(SKELETONS[name], UCLA, 5).double().train(train)
    released = published(ours)
    joints = torch.randn(3, 3, 11, 20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = []
    for network in (ours, released):
        leaf = joints.clone().requires_grad_()
        logits = network(leaf)
        logits.square().sum().backward()
        found.append((logits, leaf.grad))
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-8, atol=1e-8 * float(there.detach().abs().max()))


def _maps(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, 3, 5, dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize("part", ["relations", "time", "partitions", "block"])
def test_gradients_are_those_of_finite_differences(part: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        built: dict[str, nn.Module] = {
            "relations": ChannelwiseGraphConvolution(2, 4, CHAIN.directed()),
            "time": TemporalConvolution(4, 2),
            "partitions": GraphConvolution(2, 3, CHAIN.partitioned()),
            "block": STGCNBlock(2, 3, CHAIN.partitioned(), 2, residual=True),
        }
        module = built[part].double()
    for key, value in module.named_parameters():
        if key in ("strength", "norm.weight"):
            value.data.fill_(0.7)
    names = [name for name, _ in module.named_parameters()]

    def run(maps: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (maps,))

    module.eval()
    assert torch.autograd.gradcheck(run, (_maps(4 if part == "time" else 2), *module.parameters()))


def test_a_tiny_network_has_the_gradient_of_finite_differences() -> None:
    network = as_trained(SkeletonGCN, CHAIN, 2, depth=1, bodies=2).double()
    joints = torch.randn(1, 3, 4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(network, joints.requires_grad_())


# structure


@pytest.mark.parametrize("depth", range(1, 11))
def test_every_depth(depth: int) -> None:
    with torch.device("meta"):
        network = SkeletonGCN(CHAIN, 3, depth=depth)
        tokens = network.tokens(torch.zeros(2, 3, 13, 3, 2))
    assert tokens.shape == (2, 13 if depth < 5 else 7 if depth < 8 else 4, network.width)
    assert tokens.shape[1] == network.token_frames(13)
    assert network.width == (64 if depth < 5 else 128 if depth < 8 else 256)


@pytest.mark.parametrize(("depth", "said"), [(0, "depth 0: use 1 to 10"), (11, "depth 11: use 1 to 10")])
def test_other_depths_are_refused(depth: int, said: str) -> None:
    with pytest.raises(StudentError, match=said):
        SkeletonGCN(CHAIN, 3, depth=depth)


def test_initial_weights() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SkeletonGCN(NTU, 60)
    spatial, temporal = network.blocks[8].spatial, network.blocks[8].temporal
    residual = network.blocks[7].residual[0]
    for weight, fan_out in (
        (spatial.relate.weight, 32),
        (spatial.value.weight, 256),
        (spatial.refine, 256),
        (temporal.reduce.weight, 64),
        (temporal.near.weight, 64 * 5),
        (temporal.same.weight, 64),
        (network.blocks[7].spatial.shortcut[0].weight, 256),
        (residual.weight, 256),
        (network.classifier.weight, 60),
    ):
        assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.03)
    for bias in (spatial.relate.bias, spatial.value.bias, spatial.refine_bias, temporal.near.bias, residual.bias):
        assert not bias.any()
    gammas = torch.cat([block.temporal.norm.weight for block in network.blocks])
    assert gammas.mean().item() == pytest.approx(1, abs=0.003) and gammas.std().item() == pytest.approx(0.02, rel=0.1)
    assert (spatial.norm.weight == 1e-6).all() and not spatial.strength.any()
    assert torch.equal(spatial.graph, NTU.directed())
    assert network.blocks[0].residual is None


def test_weights_are_drawn_from_torchs_generator_alone() -> None:
    def state(seed: int) -> list[Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return [value for name in SKELETONS for value in SKELETONS[name](CHAIN, 3).parameters()]

    assert all(torch.equal(one, other) for one, other in zip(state(3), state(3), strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(state(3), state(4), strict=True))


@pytest.mark.parametrize("name", ["light_dke_gcn", "st_gcn"])
@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(20)))
def test_numbers_of_joints_do_not_matter(name: str, order: list[int]) -> None:
    """Joints renumbered, in the graph and in the clip: the same tokens."""
    number = {old: new for new, old in enumerate(order)}
    renumbered = JointGraph(20, tuple((number[a], number[b]) for a, b in UCLA.edges), number[UCLA.centre])
    joints = torch.randn(2, 3, 8, 20, 1, generator=torch.Generator().manual_seed(0))
    tokens = []
    for graph, clip in ((UCLA, joints), (renumbered, joints[:, :, :, order])):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            network = SKELETONS[name](graph, 3, bodies=1).train()
            tokens.append(network.tokens(clip))
    torch.testing.assert_close(*tokens, rtol=1e-4, atol=1e-4)


# graphs


def test_directed_edges_lead_to_the_centre_whichever_way_they_are_given() -> None:
    turned = JointGraph(25, tuple((b, a) for a, b in NTU.edges), NTU.centre)
    assert torch.equal(turned.directed(), NTU.directed())
    identity, inward, outward = NTU.directed()
    assert torch.equal(identity, torch.eye(25))
    assert torch.equal(inward.sum(0), (torch.arange(25) != NTU.centre).float())  # one parent each
    leaves = torch.tensor([not any(joint == parent for _, parent in NTU.edges) for joint in range(25)])
    torch.testing.assert_close(outward.sum(0), (~leaves).float())


def test_partitions_share_a_normalised_adjacency() -> None:
    itself, farther, nearer = NTU.partitioned()
    torch.testing.assert_close((itself + farther + nearer).sum(0), torch.ones(25))
    assert torch.equal(itself, itself.diag().diag()) and not farther.diag().any()
    assert not (farther.bool() & nearer.bool()).any()


@pytest.mark.parametrize(
    ("edges", "centre", "said"),
    [
        ([(0, 1), (1, 3)], 0, "joint 3 is not one of the 3 joints"),
        ([(0, 1), (1, 2)], -1, "joint -1 is not one of the 3 joints"),
        ([(0, 1), (2, 2)], 0, "from joint 2 to itself"),
        ([(1, 2)], 1, "from joint 0 to joint 1"),
    ],
)
def test_what_is_no_graph_is_named(edges: list[tuple[int, int]], centre: int, said: str) -> None:
    with pytest.raises(StudentError, match=said):
        JointGraph(3, tuple(edges), centre)


# released weights


def released_state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    names = json.loads(COPY.read_text())["state"]
    return {f"module.{name}": torch.rand(shape, generator=generator) for name, shape in names}


def test_released_weights_are_read_by_their_shapes() -> None:
    state, before = released_state(), torch.get_rng_state()
    network = load_released(state, NTU)
    assert torch.equal(torch.get_rng_state(), before)
    assert (len(network.blocks), network.channels, network.classifier.out_features) == (7, 3, 60)
    assert torch.equal(network.blocks[2].spatial.graph, state["module.l3.gcn1.PA"])
    assert torch.equal(network.blocks[4].residual[1].running_var, state["module.l5.residual.bn.running_var"])
    assert sum(value.numel() for value in network.state_dict().values() if value.ndim) == sum(
        value.numel() for value in state.values() if value.ndim
    )


def test_released_weights_that_do_not_fit_are_named() -> None:
    state = released_state()
    key = "module.l6.gcn1.convs.1.conv2.bias"
    with pytest.raises(StudentError, match=r"have no l6\.gcn1\.convs\.1\.conv2\.bias"):
        load_released({name: value for name, value in state.items() if name != key}, NTU)
    with pytest.raises(StudentError, match=r"have l3\.extra, and the network has not"):
        load_released(state | {"l3.extra": torch.zeros(1)}, NTU)
    with pytest.raises(StudentError, match=r"norm\.weight is of shape \(60,\) here, of shape \(150,\)"):
        load_released(state, UCLA, bodies=1)
    with pytest.raises(StudentError, match="no key of a released CTR-GCN"):
        load_released({"conv1.weight": torch.zeros(1)}, NTU)
