"""Clip transforms against PIL, torchvision and hand-worked values."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.functional import convert_image_dtype
from torchvision.transforms.functional import normalize as reference_normalise

from fewdistill.benchmark.data.video.transforms import (
    Crop,
    apply_crop,
    centre_crop,
    mirror,
    normalise,
    random_crop,
    resize,
    resize_depth,
    resize_for,
    resized_size,
)
from fewdistill.students.trunks import IMAGENET_MEAN, IMAGENET_STD

IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_resize_sizes_are_the_published_ones() -> None:
    assert (resize_for(224), resize_for(84)) == (256, 96)
    assert resized_size(240, 320, 256) == (256, 341)  # int(256 * 320 / 240) = int(341.33)
    assert resized_size(320, 240, 256) == (341, 256)
    assert resized_size(1080, 1920, 256) == (256, 455)
    assert resized_size(64, 64, 64) == (64, 64)


@pytest.mark.parametrize(("height", "width", "short"), [(240, 320, 96), (60, 45, 64), (120, 100, 50), (90, 160, 90)])
def test_resize_equals_pil_bilinear(height: int, width: int, short: int) -> None:
    clip = noise(2, height, width, 3)
    ours = resize(clip, short)
    size = resized_size(height, width, short)
    reference = [np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BILINEAR)) for frame in clip]
    assert ours.dtype == np.uint8 and ours.shape == (2, *size, 3)
    assert np.abs(ours.astype(int) - np.stack(reference)).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_resize_treats_channels_alike(channels: int) -> None:
    clip = np.repeat(noise(2, 30, 40, 1), channels, axis=-1)
    small = resize(clip, 20)
    assert small.shape == (2, 20, 26, channels)
    np.testing.assert_array_equal(small, np.repeat(small[..., :1], channels, axis=-1))


def test_depth_is_resized_without_mixing_readings() -> None:
    depth = np.random.default_rng(0).choice(np.array([0, 900, 4000], np.uint16), (2, 48, 64))
    small = resize_depth(depth, 16)
    assert small.shape == (2, 16, 21) and small.dtype == np.uint16
    assert set(np.unique(small)) == {0, 900, 4000}
    np.testing.assert_array_equal(resize_depth(np.repeat(np.repeat(small, 3, 1), 3, 2), 16), small)


def test_centre_crop_offsets_are_the_published_ones() -> None:
    assert centre_crop(256, 341, 224) == Crop(16, round(58.5), 224)
    assert centre_crop(64, 64, 64) == Crop(0, 0, 64)
    with pytest.raises(ValueError, match="lower image_size"):
        centre_crop(63, 80, 64)


@given(height=st.integers(8, 40), width=st.integers(8, 40), size=st.integers(1, 8), seed=st.integers(0, 999))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_random_crop_is_one_window_for_all_frames(height: int, width: int, size: int, seed: int) -> None:
    clip = noise(3, height, width, 3, seed=seed)
    crop = random_crop(height, width, size, np.random.default_rng(seed))
    window = apply_crop(clip, crop)
    expected = clip[:, crop.top : crop.top + size, crop.left : crop.left + size]
    assert 0 <= crop.top <= height - size and 0 <= crop.left <= width - size
    np.testing.assert_array_equal(window, expected[:, :, ::-1] if crop.flip else expected)
    still = random_crop(height, width, size, np.random.default_rng(seed), flip=False)
    assert still == Crop(crop.top, crop.left, size, False)  # the switch moves no window


def test_random_crop_reaches_every_window_and_flips_half_the_time() -> None:
    rng = np.random.default_rng(0)
    crops = [random_crop(6, 5, 4, rng) for _ in range(2000)]
    assert {(crop.top, crop.left) for crop in crops} == {(top, left) for top in range(3) for left in range(2)}
    assert abs(sum(crop.flip for crop in crops) - 1000) < 4 * np.sqrt(2000) / 2


def test_mirror_turns_the_sign_of_horizontal_motion() -> None:
    clip = np.array([[[[128, 7, 9], [1, 7, 9], [255, 7, 9], [100, 7, 9], [0, 7, 9]]]], np.uint8)
    flipped = mirror(clip, mirror_channels=(0,))
    assert flipped[0, 0, :, 0].tolist() == [255, 156, 1, 255, 128]
    np.testing.assert_array_equal(flipped[..., 1:], clip[:, :, ::-1, 1:])
    assert clip[0, 0, 1, 0] == 1  # the source is left alone


@given(seed=st.integers(0, 99), swap=st.sampled_from([None, (0, 2), (1, 2)]), negate=st.sampled_from([(), (0,), (1,)]))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_mirroring_twice_changes_nothing(seed: int, swap, negate) -> None:
    clip = np.maximum(noise(2, 4, 5, 3, seed=seed), 1)
    rule = {"mirror_channels": negate, "mirror_swap": swap}
    if swap is None or not set(swap) & set(negate):  # a swapped channel with a sign of its own is no mirror
        np.testing.assert_array_equal(mirror(mirror(clip, **rule), **rule), clip)


def test_crop_applies_the_mirror_rule() -> None:
    clip = noise(2, 8, 9, 3)
    window = apply_crop(clip, Crop(2, 3, 4, True), mirror_channels=(1,), mirror_swap=(0, 2))
    cut = clip[:, 2:6, 3:7]
    np.testing.assert_array_equal(window, mirror(cut, mirror_channels=(1,), mirror_swap=(0, 2)))
    np.testing.assert_array_equal(window[..., 0], cut[:, :, ::-1, 2])


def test_normalise_equals_torchvision() -> None:
    frames = torch.from_numpy(noise(2, 3, 6, 5, 3))
    flat = convert_image_dtype(frames.flatten(0, 1).permute(0, 3, 1, 2), torch.float32)
    plain, ours = normalise(frames, None), normalise(frames, IMAGENET)
    assert ours.shape == (6, 3, 6, 5) and ours.dtype == torch.float32
    assert ours.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(plain, flat)
    torch.testing.assert_close(ours, reference_normalise(flat, *IMAGENET), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(normalise(frames.flip(3), IMAGENET), ours.flip(3))  # a view that is not contiguous


def test_normalise_refuses_what_it_cannot_mean() -> None:
    frames = torch.zeros(1, 2, 4, 4, 3, dtype=torch.uint8)
    assert normalise(frames[..., :2], None).shape == (2, 2, 4, 4)
    for bad, norm, says in (
        (frames.float(), None, "uint8"),
        (frames[0], None, "uint8"),
        (frames[..., :2], IMAGENET, "3 channels"),
    ):
        with pytest.raises(ValueError, match=says):
            normalise(bad, norm)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(channels=st.integers(1, 4), flip=st.booleans(), swap=st.booleans(), seed=st.integers(0, 99))
def test_a_crop_in_place_of_chosen_frames_is_the_crop_of_those_frames(
    channels: int, flip: bool, swap: bool, seed: int
) -> None:
    clip, crop = noise(5, 12, 17, channels, seed=seed), Crop(2, 3, 9, flip)
    clip.flags.writeable = False
    rule = {"mirror_channels": (0,), "mirror_swap": (0, channels - 1) if swap else None}
    keep, batch = np.array([0, 3, 3]), np.zeros((2, 3, 9, 9, channels), np.uint8)
    expected = apply_crop(clip[keep], crop, **rule)
    window = clip[keep][:, 2:11, 3:12]
    if flip:
        window = window[:, :, ::-1].copy()
        window[..., 0] = np.where(window[..., 0] == 0, 255, 256 - window[..., 0].astype(int))
        if swap:
            window[..., [0, channels - 1]] = window[..., [channels - 1, 0]]
    np.testing.assert_array_equal(expected, window)
    apply_crop(clip, crop, keep=keep, out=batch[1], **rule)
    np.testing.assert_array_equal(batch[1], expected)
    assert not batch[0].any()
