"""Coordinates as a modality: what is kept of the joints, what is lost, and what is refused by name."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewdistill.benchmark.data.skeletons.topology import names, topology
from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities import EXPERTS, PosedClip
from fewdistill.teachers.modalities.joints import resized_times
from tests.teachers.poses import SKELETON, SWAP, posed

MOVES = np.cumsum(np.random.default_rng(0).normal(0, 0.05, (8, 3)), axis=0)


def expert(**options: object):
    return EXPERTS["joints"](**{"frames": 8, **options})


def test_joints_are_kept_in_order_about_the_centre_of_the_first_frame() -> None:
    source = posed(MOVES)
    clip = expert().derive(source)
    assert clip.shape == (8, len(SKELETON.joints), 3, 1)
    np.testing.assert_allclose(clip, source.joints - source.joints[0, SKELETON.centre][:, :1], atol=1e-6)


@given(where=st.tuples(*[st.floats(-5, 5)] * 3))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_where_a_person_stands_is_lost(where: tuple[float, float, float]) -> None:
    source = posed(MOVES, people=2)
    moved = PosedClip((source.joints + np.array(where)[:, None]).astype(np.float32), SKELETON)
    apart = expert(people=2).derive(source)
    np.testing.assert_allclose(expert(people=2).derive(moved), apart, atol=1e-5)
    assert np.abs(apart[..., 0] - apart[..., 1]).max() > 0.3  # but not how people stand to each other


def test_all_frames_of_the_span_are_read() -> None:
    still, moving = posed(np.zeros((2, 3))), posed(MOVES)
    both = PosedClip(moving.joints[[0, 7]], SKELETON, between=moving.joints)
    np.testing.assert_array_equal(expert().derive(both), expert().derive(moving))
    assert not np.allclose(expert().derive(still), expert().derive(moving))
    with pytest.raises(TeacherError, match="joints must be"):
        PosedClip(moving.joints, SKELETON, between=moving.joints[:, :3])


def test_time_is_resized_as_in_the_sampler_of_skeleton_sets() -> None:
    np.testing.assert_allclose(resized_times(4, 4), [0, 1, 2, 3])
    np.testing.assert_allclose(resized_times(2, 4), [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(resized_times(8, 2), [1.5, 5.5])
    source = posed(MOVES)
    halves = expert(frames=4).derive(source)
    means = (source.joints[::2] + source.joints[1::2]) / 2
    np.testing.assert_allclose(halves, means - means[0, SKELETON.centre][:, :1], atol=1e-6)


def test_a_joint_that_was_not_seen_is_interpolated_and_one_never_seen_is_named() -> None:
    whole, gaps = posed(MOVES), posed(MOVES).joints.copy()
    gaps[[0, 3, 7], 4] = 0
    clip, expected = expert().derive(PosedClip(gaps, SKELETON)), expert().derive(whole)
    seen = [1, 2, 4, 5, 6]
    np.testing.assert_allclose(clip[seen, 4], expected[seen, 4], atol=1e-6)
    np.testing.assert_allclose(clip[3, 4], (expected[2, 4] + expected[4, 4]) / 2, atol=1e-6)
    np.testing.assert_array_equal(clip[[0, 7], 4], clip[[1, 6], 4])
    others = [joint for joint in range(len(SKELETON.joints)) if joint != 4]
    np.testing.assert_array_equal(clip[:, others], expected[:, others])
    gaps[:, 4] = 0
    with pytest.raises(TeacherError, match="joint 'l_hand' is never seen"):
        expert().derive(PosedClip(gaps, SKELETON))


def test_people_come_and_go_but_must_fit() -> None:
    two = posed(MOVES, people=2).joints.copy()
    with pytest.raises(TeacherError, match=r"2 people are seen, there is room for 1: set .*joints\.people = 2"):
        expert().derive(PosedClip(two, SKELETON))
    two[5:, ..., 1] = 0
    clip = expert(people=3).derive(PosedClip(two, SKELETON))
    assert clip[:5, ..., 1].any() and not clip[5:, ..., 1].any() and not clip[..., 2].any()
    alone = two.copy()
    alone[..., 0] = 0  # an empty place in the file takes none
    assert expert().derive(PosedClip(alone, SKELETON)).any()
    with pytest.raises(TeacherError, match="nobody is seen"):
        expert().derive(PosedClip(np.zeros_like(two), SKELETON))


def test_a_mirror_exchanges_the_sides_of_every_shipped_topology() -> None:
    assert list(SKELETON.mirrored) == SWAP
    for name in names():
        skeleton = topology(name)
        for joint, other in enumerate(skeleton.mirrored):
            said = skeleton.joints[joint]
            swapped = {"left": "right", "right": "left"}.get(said.split("_")[0])
            assert skeleton.joints[other] == ("_".join([swapped, *said.split("_")[1:]]) if swapped else said)


def test_sides_that_do_not_answer_to_each_other_cannot_be_mirrored() -> None:
    for wrong in ({"left": (4, 3, 7, 8)}, {"left": (3, 4, 7)}):
        with pytest.raises(TeacherError, match=r"no mirror images.*data\.flip = false"):
            _ = replace(SKELETON, **wrong).mirrored
