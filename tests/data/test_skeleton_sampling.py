"""Streams and the sampler: what goes in comes out where nothing is asked for, and what is asked for happens."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from fewdistill.benchmark.data.skeletons.layout import LAYOUTS, ClipEntry
from fewdistill.benchmark.data.skeletons.sampling import (
    SAMPLING,
    ClipSampler,
    SamplingConfig,
    crop_times,
    drawn_times,
    rotations,
    windows,
)
from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet
from fewdistill.benchmark.data.skeletons.streams import STREAMS, stream
from fewdistill.benchmark.data.skeletons.topology import names, topology
from fewdistill.benchmark.runtime.errors import DataError
from tests.data.skeleton_files import body

PLAIN = SamplingConfig(frames=16, crop=(1.0, 1.0), test_crop=1.0, rotation=(0.0, 0.0, 0.0), place="keep")


def made_set(lengths: list[int], name: str = "ntu25", bodies: int = 2, origin: int = 1) -> SkeletonSet:
    """Clips of moving bodies; the second body of every other clip is absent, or there for its second half."""
    skeleton = topology(name)
    clips = []
    for number, length in enumerate(lengths):
        clip = np.zeros((length, len(skeleton.joints), 3, bodies))
        for place in range(bodies):
            clip[..., place] = body(skeleton, length, seed=10 * number + place)
        if bodies > 1:
            clip[: length // 2 if number % 2 else length, ..., 1] = 0
        clips.append(clip)
    return SkeletonSet(
        "made", skeleton, origin, ("one",), tuple(ClipEntry(str(n), Path(), 0) for n in range(len(lengths))), {},
        np.ascontiguousarray(np.moveaxis(np.concatenate(clips), 1, 2), np.float32), np.cumsum([0, *lengths]), "",
    )  # fmt: skip


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_bones_added_up_along_the_body_give_the_joints_back(name: str) -> None:
    skeleton = topology(name)
    joints = torch.randn(2, 3, 5, len(skeleton.joints), 2, generator=torch.Generator().manual_seed(0))
    bones = stream(joints, "bone", skeleton.parents)
    assert bones.shape == joints.shape and not bones[:, :, :, skeleton.centre].any()
    for joint in range(len(skeleton.joints)):
        total, here = joints[:, :, :, skeleton.centre].clone(), joint
        while here != skeleton.centre:
            total += bones[:, :, :, here]
            here = skeleton.parents[here]
        torch.testing.assert_close(total, joints[:, :, :, joint])


@given(frames=st.integers(1, 6), seed=st.integers(0, 99))
def test_motion_added_up_in_time_gives_the_joints_back(frames: int, seed: int) -> None:
    skeleton = topology("nw_ucla20")
    joints = torch.randn(2, 3, frames, 20, 1, generator=torch.Generator().manual_seed(seed))
    for still, moving in (("joint", "joint_motion"), ("bone", "bone_motion")):
        start, motion = stream(joints, still, skeleton.parents), stream(joints, moving, skeleton.parents)
        assert motion.shape == joints.shape and not motion[:, :, -1].any()
        torch.testing.assert_close(start[:, :, :1] + motion[:, :, :-1].cumsum(2), start[:, :, 1:])


def test_an_unknown_stream_is_named() -> None:
    assert set(STREAMS) == {"joint", "bone", "joint_motion", "bone_motion"}
    with pytest.raises(DataError, match="unknown stream 'bones': did you mean bone"):
        stream(torch.zeros(1, 3, 2, 20, 1), "bones", topology("nw_ucla20").parents)


# --- time ------------------------------------------------------------------------------------------------------------


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4), frames=st.integers(1, 30))
def test_resizing_is_bilinear_as_torch_does_it(lengths: list[int], frames: int) -> None:
    data = made_set(lengths)
    batch = ClipSampler(data, replace(PLAIN, frames=frames)).batch(np.arange(len(data)))
    for place, length in enumerate(lengths):
        clip = torch.from_numpy(data.clip(place).copy()).permute(2, 1, 3, 0).reshape(1, -1, length)
        resized = interpolate(clip, size=frames, mode="linear", align_corners=False)
        expected = resized.view(3, 25, 2, frames).permute(0, 3, 1, 2)
        torch.testing.assert_close(batch[place], expected, rtol=1e-5, atol=1e-5)
        ours, theirs = batch[place].numpy(), np.transpose(data.clip(place), (2, 0, 1, 3))
        if frames >= length:  # the ends stay to the last bit, and at the same length everything does
            assert np.array_equal(ours[:, [0, -1]], theirs[:, [0, -1]])
        if frames == length:
            assert np.array_equal(ours, theirs)


@given(length=st.integers(1, 300), seed=st.integers(0, 999))
def test_drawn_windows_stay_within_the_clip_and_are_long_enough(length: int, seed: int) -> None:
    recipe = SamplingConfig(frames=64)
    lengths = np.full(50, length)
    times, share = crop_times(lengths, recipe, np.random.default_rng(seed))
    assert times.shape == (50, 64) and (times >= 0).all() and (times <= length - 1).all() and (share < 1).all()
    assert (np.diff(times, axis=1) >= 0).all()
    step = np.diff(times, axis=1).max(axis=1)  # the window's length over 64
    if length > 64:
        assert (step >= min(64, length) / 64 - 1e-9).all() and (step <= length / 64 + 1e-9).all()
    else:
        np.testing.assert_allclose(
            times, np.tile(crop_times(lengths[:1], replace(recipe, test_crop=1.0), None)[0], (50, 1))
        )


def test_the_middle_is_taken_for_the_test() -> None:
    times, _ = crop_times(np.array([100]), SamplingConfig(frames=96), None)
    np.testing.assert_allclose(times[0], np.arange(2, 98))  # int(0.05 * 100 / 2) frames go at either end
    times, _ = crop_times(np.array([30]), SamplingConfig(frames=30), None)
    np.testing.assert_allclose(times[0], np.arange(30))


@given(length=st.integers(1, 200), frames=st.integers(1, 60), seed=st.integers(0, 99))
def test_drawn_frames_are_of_the_clip_and_in_order(length: int, frames: int, seed: int) -> None:
    drawn = drawn_times(np.array([length, 3]), frames, np.random.default_rng(seed))
    assert drawn.shape == (2, frames) and (np.diff(drawn, axis=1) >= 0).all()
    assert drawn[0].min() >= 0 and drawn[0].max() < length and drawn[1].max() < 3
    fixed = drawn_times(np.array([length]), frames, None)[0]
    assert fixed.tolist() == np.linspace(0, length - 1, frames).astype(int).tolist()


@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=5),
    bounds=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    seed=st.integers(0, 99),
)
def test_windows_are_within_their_clips_and_their_bounds(lengths: list[int], bounds: list[float], seed: int) -> None:
    long, (low, high) = np.array(lengths), bounds
    first, size = windows(long, (low, high), np.random.default_rng(seed))
    assert (first >= 0).all() and (size >= 1).all() and (first + size <= long).all()
    assert (size >= low * long).all() and (size < high * long + 1).all()


def test_windows_reach_both_ends_of_a_clip() -> None:
    first, size = windows(np.full(400, 10), (0.5, 1.0), np.random.default_rng(0))
    assert set(size) == set(range(6, 11))
    assert set(first[size == 6]) == set(range(5)) and set(first[size == 10]) == {0}


@pytest.mark.parametrize("place", ["origin", "box"])
def test_a_window_is_seen_as_if_no_more_had_been_recorded(place: Literal["origin", "box"]) -> None:
    data, places = made_set([30, 41, 3], bodies=1), np.arange(3)
    recipe = SamplingConfig(frames=8, times="draw", rotation=(1.0, 1.0, 0.0), place=place, window=(0.4, 0.7))
    seen = ClipSampler(data, recipe).batch(places, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    first, size = windows(data.lengths, (0.4, 0.7), rng)
    rows = np.concatenate([data.offsets[n] + first[n] + np.arange(size[n]) for n in places])
    short = replace(data, frames=data.frames[rows], offsets=np.cumsum([0, *size]))
    cut = ClipSampler(short, replace(recipe, window=(1.0, 1.0))).batch(places, rng)
    if place == "box":
        torch.testing.assert_close(seen, cut)
    else:  # the origin is that of the clip: shapes and ways are the same, the place is not
        torch.testing.assert_close(seen - seen[:, :, :1, :1], cut - cut[:, :, :1, :1], atol=1e-5, rtol=1e-4)
    assert torch.equal(
        ClipSampler(data, recipe).batch(places), ClipSampler(data, replace(recipe, window=(1, 1))).batch(places)
    )


# --- space -----------------------------------------------------------------------------------------------------------


def test_rotations_turn_about_x_then_y_then_z() -> None:
    quarter = np.pi / 2
    turn = rotations(
        np.array([[quarter, 0, 0], [0, quarter, 0], [0, 0, quarter], [quarter, 0, quarter], [0.1, -0.2, 0.3]])
    )
    np.testing.assert_allclose(turn @ turn.transpose(0, 2, 1), np.tile(np.eye(3), (5, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turn), 1)
    x, y, z = np.eye(3)
    np.testing.assert_allclose(turn[0] @ y, z, atol=1e-12)
    np.testing.assert_allclose(turn[1] @ z, x, atol=1e-12)
    np.testing.assert_allclose(turn[2] @ x, y, atol=1e-12)
    np.testing.assert_allclose(turn[3] @ y, z, atol=1e-12)  # x first: y to z, which a turn about z leaves


def test_a_turned_clip_keeps_its_bones_and_its_absent_bodies() -> None:
    data = made_set([30, 31, 1])
    sampler = ClipSampler(data, replace(PLAIN, frames=30, rotation=(0.3, 0.3, 0.3), place="origin"))
    plain, turned = sampler.batch(np.arange(3)), sampler.batch(np.arange(3), np.random.default_rng(1))
    assert not torch.allclose(plain, turned, atol=1e-2)
    lengths = [stream(clips, "bone", data.skeleton.parents)[:1].norm(dim=1) for clips in (plain, turned)]
    torch.testing.assert_close(lengths[0], lengths[1], rtol=1e-4, atol=1e-5)
    for clips in (plain, turned):
        assert not clips[0, ..., 1].any() and not clips[1, :, :14, :, 1].any() and clips[1, :, 16:, :, 1].any()
        torch.testing.assert_close(clips[0, :, 0, data.origin, 0], torch.zeros(3))


@pytest.mark.parametrize("place", ["keep", "origin", "box"])
def test_a_mirror_shows_half_of_the_training_clips_and_none_of_the_others(
    place: Literal["keep", "origin", "box"],
) -> None:
    data = made_set([30] * 40, bodies=2)
    recipe = replace(PLAIN, frames=30, place=place)
    plain = ClipSampler(data, recipe).batch(np.arange(40))
    sampler = ClipSampler(data, replace(recipe, mirror=True))
    assert torch.equal(sampler.batch(np.arange(40)), plain)
    seen = sampler.batch(np.arange(40), np.random.default_rng(0))
    sides = dict(zip(data.skeleton.left, data.skeleton.right, strict=True))
    sides |= {right: left for left, right in sides.items()}
    there = plain.abs().amax((1, 2, 3), keepdim=True) > 0
    count = 0
    for clip, mirrored, bodies in zip(plain, seen, there, strict=True):
        if torch.equal(clip, mirrored):
            continue
        count += 1
        for joint in range(len(data.skeleton.joints)):
            other = clip[:, :, sides.get(joint, joint)] * torch.tensor([-1.0, 1, 1])[:, None, None]
            assert torch.equal(mirrored[:, :, joint], other * bodies[:, :, 0])
    assert 12 <= count <= 28


def test_sides_that_answer_to_nobody_are_not_mirrored() -> None:
    data = made_set([5])
    lame = replace(data, skeleton=replace(data.skeleton, left=data.skeleton.left[1:]))
    with pytest.raises(DataError, match=r"no mirror images of each other.*data\.mirror"):
        ClipSampler(lame, replace(PLAIN, mirror=True))
    ClipSampler(lame, PLAIN)


def test_a_box_holds_the_whole_clip_and_ignores_absent_bodies() -> None:
    data = made_set([20, 21, 1], bodies=2)
    recipe = SamplingConfig(frames=40, times="draw", rotation=(1.0, 1.0, 0.0), place="box")
    sampler = ClipSampler(data, recipe)
    for rng in (None, np.random.default_rng(0)):
        clips = sampler.batch(np.arange(3), rng)
        assert clips.abs().max() <= 1 + 1e-5 and torch.isfinite(clips).all()
        assert not clips[0, ..., 1].any() and not clips[2, ..., 1].any()
        assert clips[1, :, -1, :, 1].any() and not clips[1, :, 0, :, 1].any()
    fixed = sampler.batch(np.arange(1))[0, ..., 0]  # frames 0 to 19, each twice: every extreme is there
    assert fixed.amax((1, 2)).tolist() == pytest.approx([1, 1, 1]) and fixed.amin((1, 2)).tolist() == pytest.approx(
        [-1] * 3
    )


def test_a_box_without_extent_is_no_division_by_zero() -> None:
    data = made_set([3], "nw_ucla20", bodies=1)
    flat = replace(
        data, frames=data.frames * np.float32([1, 1, 0])[:, None, None] + np.float32([0, 0, 2])[:, None, None]
    )
    assert torch.isfinite(ClipSampler(flat, SAMPLING["nw_ucla"]).batch(np.arange(1), np.random.default_rng(0))).all()
    assert torch.isfinite(ClipSampler(flat, SAMPLING["nw_ucla"]).batch(np.arange(1))).all()


# --- the batch -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SAMPLING))
def test_batches_follow_their_generator_and_nothing_else(name: str) -> None:
    data = replace(made_set([5, 90, 1, 64], bodies=2), layout=name)
    frames = data.frames.copy()
    sampler = ClipSampler(data)
    places = np.array([3, 0, 2, 1, 1])
    first, again = (sampler.batch(places, np.random.default_rng(4)) for _ in range(2))
    assert (
        first.shape == (5, 3, SAMPLING[name].frames, 25, 2) and first.dtype == torch.float32 and first.is_contiguous()
    )
    assert torch.equal(first, again) and not torch.equal(first[3], first[4])
    assert not torch.equal(first, sampler.batch(places, np.random.default_rng(5)))
    fixed = sampler.batch(places)
    assert torch.equal(fixed[3], fixed[4])
    for row, place in enumerate(places):  # a clip does not depend on its neighbours
        torch.testing.assert_close(sampler.batch(np.array([place]))[0], fixed[row])
    assert np.array_equal(data.frames, frames)


def test_every_layout_has_a_recipe_and_a_strange_one_asks_for_it() -> None:
    assert set(SAMPLING) == set(LAYOUTS)
    with pytest.raises(DataError, match="no recipe for the layout 'made'"):
        ClipSampler(made_set([3]))
    with pytest.raises(DataError, match="must be positive"):
        SamplingConfig(crop=(0.0, 1.0))
    with pytest.raises(DataError, match="windows within"):
        SamplingConfig(window=(0.8, 0.5))
