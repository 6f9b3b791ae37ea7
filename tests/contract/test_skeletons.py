"""Every registered skeleton network: any joints, frames and bodies; shapes, independence of clips, exact repetition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.skeletons import SKELETONS, JointGraph, SkeletonNetwork
from tests.skeletons import UCLA, as_trained, joint_graph

SMALL = joint_graph([-1, 0, 1, 1])


@st.composite
def trees(draw: st.DrawFn) -> JointGraph:
    """A tree of 2 to 9 joints, numbered in any order, its edges given in either direction."""
    joints = draw(st.integers(2, 9))
    name = draw(st.permutations(range(joints)))
    edges = [(joint, draw(st.integers(0, joint - 1))) for joint in range(1, joints)]
    turned = [(a, b) if draw(st.booleans()) else (b, a) for a, b in edges]
    return JointGraph(joints, tuple((name[a], name[b]) for a, b in turned), name[0])


def clips(network: SkeletonNetwork, count: int, frames: int, seed: int = 0) -> Tensor:
    shape = (count, network.channels, frames, network.graph.joints, network.bodies)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SKELETONS)
@settings(max_examples=6, deadline=None)
@given(graph=trees(), frames=st.integers(4, 19), bodies=st.integers(1, 2), channels=st.integers(2, 4))
def test_any_topology(name: str, graph: JointGraph, frames: int, bodies: int, channels: int) -> None:
    network = as_trained(SKELETONS[name], graph, 7, bodies=bodies, channels=channels)
    joints = clips(network, 3, frames)
    with torch.no_grad():
        tokens, logits = network.tokens(joints), network(joints)
        again = network.tokens(joints[[2, 0]])
    assert tokens.shape == (3, network.token_frames(frames), network.width)
    assert logits.shape == (3, 7) and logits.isfinite().all()
    torch.testing.assert_close(again, tokens[[2, 0]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, network.classifier(tokens.mean(1)))


@pytest.mark.parametrize("name", SKELETONS)
def test_evaluation_repeats_itself_and_changes_nothing(name: str) -> None:
    network = as_trained(SKELETONS[name], SMALL, 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad():
        assert torch.equal(network(clips(network, 2, 8)), network(clips(network, 2, 8)))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", SKELETONS)
def test_joints_are_distinguished(name: str) -> None:
    """Names of joints mean something: with two limbs' coordinates exchanged the tokens are others."""
    network = as_trained(SKELETONS[name], UCLA, 3, bodies=1)
    joints = clips(network, 1, 8)
    with torch.no_grad():
        assert not torch.allclose(network.tokens(joints), network.tokens(joints.flip(3)), rtol=1e-3)


@pytest.mark.parametrize("name", SKELETONS)
def test_every_weight_is_reached_by_the_gradient(name: str) -> None:
    network = as_trained(SKELETONS[name], SMALL, 3).train()
    network(clips(network, 4, 9)).square().sum().backward()
    for key, value in network.named_parameters():
        assert value.grad is not None and value.grad.isfinite().all(), key


@pytest.mark.parametrize("name", SKELETONS)
def test_training_in_bfloat16_stays_near(name: str) -> None:
    network = as_trained(SKELETONS[name], SMALL, 3).train()
    joints = clips(network, 8, 9)
    exact = network.tokens(joints).detach()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network.tokens(joints)
        network(joints).float().square().sum().backward()
    assert float((rounded.detach().float() - exact).norm() / exact.norm()) < 0.1
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", SKELETONS)
def test_other_shapes_are_refused_by_name(name: str) -> None:
    network = SKELETONS[name](SMALL, 3)
    for shape in ((1, 3, 8, 4, 1), (1, 3, 8, 5, 2), (1, 2, 8, 4, 2), (3, 8, 4, 2), (1, 3, 0, 4, 2)):
        with pytest.raises(StudentError, match=r"built for joints \(N, 3, T, 4, 2\), got"):
            network(torch.zeros(shape))
    with pytest.raises(StudentError, match="classes 0: use 1 or more"):
        SKELETONS[name](SMALL, 0)
