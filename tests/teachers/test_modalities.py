"""Modality experts: one contract for all, and what each derives from sources whose truth is known."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewdistill.benchmark.data.video.transforms import mirror
from fewdistill.students.registry import UnknownNameError
from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities import EXPERTS, CoordinateExpert, Expert
from fewdistill.teachers.modalities.flow import Flow
from tests.teachers.poses import posed


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random picture as a function of real coordinates, so that it can be shifted exactly."""
    rng = np.random.default_rng(seed)
    waves = rng.uniform(-0.7, 0.7, (40, 2))
    phases, gains = rng.uniform(0, 2 * np.pi, (40, 3)), rng.uniform(2, 9, (40, 3))

    def shifted(dx: float, dy: float) -> np.ndarray:
        y, x = np.mgrid[:height, :width]
        arguments = waves[:, 0, None, None] * (x - dx) + waves[:, 1, None, None] * (y - dy)
        planes = np.sin(arguments[..., None] + phases[:, None, None, :]) * gains[:, None, None, :]
        return np.clip(np.rint(128 + planes.sum(0)), 0, 255).astype(np.uint8)

    return shifted


def source_for(expert: Expert):
    rng = np.random.default_rng(3)
    if expert.requires == "rgb":
        return rng.integers(0, 256, (8, 40, 48, 3), dtype=np.uint8)
    if expert.requires == "depth":
        return rng.integers(0, 5000, (8, 40, 48)).astype(np.uint16)
    return posed(rng.normal(0, 0.1, (8, 3)))


# --- contract ------------------------------------------------------------------------------------------------------


def test_the_expected_experts_are_found_without_being_named() -> None:
    assert {"rgb", "flow", "gradient", "depth", "skeleton", "joints"} <= set(EXPERTS)
    with pytest.raises(UnknownNameError, match="did you mean skeleton"):
        EXPERTS["skelton"]


@pytest.mark.parametrize("name", list(EXPERTS))
def test_every_expert_keeps_the_contract(name: str) -> None:
    expert = EXPERTS[name]()
    source = source_for(expert)
    clip = expert.derive(source)
    assert expert.name == name and expert.version >= 1
    assert expert.weights is None or len(expert.weights) == 64
    if isinstance(expert, CoordinateExpert):
        assert clip.dtype == np.float32 and clip.shape == expert.shape(source.skeleton) and np.isfinite(clip).all()
    else:
        assert clip.dtype == np.uint8 and clip.ndim == 4 and clip.shape[0] == 8 and clip.shape[3] == 3
    np.testing.assert_array_equal(expert.derive(source), clip)  # no state, no randomness
    assert all(0 <= channel < 3 for channel in expert.mirror_channels)
    identity = expert.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert (identity["expert"], identity["version"]) == (name, expert.version)
    of_clip = expert.clip_identity()
    assert of_clip["options"].items() <= identity["options"].items()
    assert {**of_clip, "options": 0} == {**identity, "options": 0}


@pytest.mark.parametrize("name", list(EXPERTS))
def test_options_are_part_of_the_identity(name: str) -> None:
    expert = EXPERTS[name]()
    for option, value in expert.identity()["options"].items():
        known = {"preset": "fast", "style": "heatmap", "normalise_box": False, "network": "st_gcn", "people": 3}
        other = known.get(option, 128 if option == "frames" else 0.5)
        assert value != other
        assert replace(expert, **{option: other}).identity() != expert.identity()
        source, changed = source_for(expert), replace(expert, **{option: other})
        if option not in expert.clip_identity()["options"]:
            np.testing.assert_array_equal(changed.derive(source), expert.derive(source))


@pytest.mark.parametrize("name", list(EXPERTS))
def test_a_missing_source_is_reported_before_any_work(name: str) -> None:
    class Folder:
        root = Path("some/data")
        carried: tuple[str, ...] = ()

        def modalities(self) -> tuple[str, ...]:
            return self.carried

    expert, folder = EXPERTS[name](), Folder()
    with pytest.raises(TeacherError, match=f"{name}.* needs .*; some/data carries none"):
        expert.check(folder)
    folder.carried = (expert.requires,)
    expert.check(folder)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("flow", {"preset": "slow"}),
        ("flow", {"bound": 0.0}),
        ("depth", {"trim": 50.0}),
        ("skeleton", {"style": "dots"}),
        ("joints", {"people": 0}),
        ("joints", {"frames": 0}),
        ("joints", {"rotation": -0.1}),
        ("joints", {"rotation": float("nan")}),
    ],
)
def test_impossible_options_are_refused(name: str, options: dict) -> None:
    with pytest.raises(TeacherError, match=next(iter(options))):
        EXPERTS[name](**options)


@pytest.mark.parametrize("name", [name for name in EXPERTS if EXPERTS[name].requires == "rgb"])
def test_pixel_experts_refuse_other_arrays(name: str) -> None:
    clip = source_for(EXPERTS[name]())
    for bad in (clip[..., :2], clip[0], clip.astype(np.float32)):
        with pytest.raises(TeacherError, match="uint8"):
            EXPERTS[name]().derive(bad)


@pytest.mark.parametrize("name", ["flow", "gradient"])
def test_motion_needs_two_frames(name: str) -> None:
    with pytest.raises(TeacherError, match="needs 2 frames"):
        EXPERTS[name]().derive(np.zeros((1, 16, 16, 3), np.uint8))


# --- flow and gradient ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "tolerance"), [("medium", 0.05), ("fast", 0.3), ("ultrafast", 0.3)])
@pytest.mark.parametrize("size", [64, 160])
@pytest.mark.parametrize("shift", [(1.3, -0.7), (-3.4, 2.2)])
def test_flow_of_a_known_shift(preset: str, tolerance: float, size: int, shift: tuple[float, float]) -> None:
    shifted = texture(size, size)
    clip = np.stack([shifted(0, 0), shifted(*shift)])
    field = Flow(preset=preset).field(clip)
    assert field.shape == (1, size, size, 2)
    inner = field[0, 10:-10, 10:-10]
    assert np.abs(inner - shift).mean() < tolerance


def test_flow_encoding_is_centred_bounded_and_repeats_the_last_pair() -> None:
    shifted = texture(64, 96)
    clip = np.stack([shifted(0, 0), shifted(2, 0), shifted(2, -4), shifted(2, -4)])
    flow = Flow(bound=0.125).derive(clip)  # saturates at 8 px
    inner = np.median(flow[:, 12:-12, 12:-12], axis=(1, 2))
    np.testing.assert_allclose(inner[0], [128 + 127 * 2 / 8, 128, 255 * 2 / 8], atol=1.5)
    np.testing.assert_allclose(inner[1], [128, 128 - 127 * 4 / 8, 255 * 4 / 8], atol=1.5)
    np.testing.assert_allclose(inner[2], [128, 128, 0], atol=0.5)
    np.testing.assert_array_equal(flow[3], flow[2])
    fast = Flow(bound=1 / 64).derive(clip)  # saturates at 1 px
    assert np.median(fast[0, 12:-12, 12:-12, 0]) == 255 and np.median(fast[1, 12:-12, 12:-12, 1]) == 1


def test_mirrored_flow_is_the_flow_of_the_mirrored_clip() -> None:
    shifted = texture(64, 80)
    clip = np.stack([shifted(0, 0), shifted(3, 1), shifted(5, -1)])
    expert = Flow()
    ours = mirror(expert.derive(clip), mirror_channels=expert.mirror_channels).astype(int)
    direct = expert.derive(clip[:, :, ::-1]).astype(int)
    inner = (slice(None), slice(10, -10), slice(10, -10))
    assert np.abs(ours - direct)[inner].mean() < 0.5
    unsigned = mirror(expert.derive(clip)).astype(int)
    assert np.abs(unsigned - direct)[inner][..., 0].mean() > 20  # without the sign it is another motion


def test_flow_does_not_depend_on_the_number_of_threads() -> None:
    shifted = texture(128, 128)
    clip = np.stack([shifted(0, 0), shifted(3, 1)])
    before = cv2.getNumThreads()
    try:
        results = []
        for threads in (1, 2, 5):
            cv2.setNumThreads(threads)
            results.append(Flow().field(clip))
    finally:
        cv2.setNumThreads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@given(a=st.integers(0, 255), b=st.integers(0, 255))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_gradient_is_the_signed_difference_around_128(a: int, b: int) -> None:
    clip = np.stack([np.full((2, 2, 3), a, np.uint8), np.full((2, 2, 3), b, np.uint8)])
    gradient = EXPERTS["gradient"]().derive(clip)
    np.testing.assert_array_equal(gradient[0], gradient[1])
    assert gradient[0, 0, 0, 0] == np.rint(128 + (b - a) * 127 / 255)


# --- depth ---------------------------------------------------------------------------------------------------------


def test_depth_is_near_bright_over_the_range_of_the_clip() -> None:
    ramp = np.linspace(1000, 3000, 100).astype(np.uint16)
    depth = np.stack([np.tile(ramp, (10, 1)), np.full((10, 100), 2000, np.uint16)])
    clip = EXPERTS["depth"](trim=0.0).derive(depth)
    assert clip[0, 0, 0].tolist() == [255] * 3 and clip[0, 0, -1].tolist() == [0] * 3
    np.testing.assert_allclose(clip[0, 3, :, 0], 255 * (3000.0 - ramp) / 2000, atol=0.51)
    assert set(np.unique(clip[1])) <= {127, 128}  # one range for all frames


def test_stray_readings_do_not_flatten_the_clip() -> None:
    rng = np.random.default_rng(0)
    depth = rng.integers(1500, 2500, (8, 40, 40)).astype(np.uint16)
    clean = EXPERTS["depth"]().derive(depth).astype(int)
    depth[0, 0, :5], depth[1, 0, :5] = 60000, 10
    spoilt = EXPERTS["depth"]().derive(depth).astype(int)
    assert np.abs(clean - spoilt)[2:].max() <= 2
    assert (spoilt[0, 0, :5] == 0).all() and (spoilt[1, 0, :5] == 255).all()


def test_holes_take_the_nearest_reading() -> None:
    depth = np.zeros((1, 9, 20), np.uint16)
    depth[0, :, :4], depth[0, :, 16:] = 1000, 3000
    clip = EXPERTS["depth"](trim=0.0).derive(depth)[0, ..., 0]
    assert (clip[:, :10] == 255).all() and (clip[:, 10:] == 0).all()


def test_depth_refuses_frames_it_cannot_fill() -> None:
    depth = np.full((3, 4, 4), 900, np.uint16)
    assert len(np.unique(EXPERTS["depth"]().derive(depth))) == 1  # a wall is no error
    depth[1] = 0
    with pytest.raises(TeacherError, match="frame 1 has no reading"):
        EXPERTS["depth"]().derive(depth)
    with pytest.raises(TeacherError, match="uint16"):
        EXPERTS["depth"]().derive(depth.astype(np.float32))
