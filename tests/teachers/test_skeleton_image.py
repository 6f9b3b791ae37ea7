"""The skeleton expert: projection, limbs and their colours, mirror rule, normalisation."""

from dataclasses import replace

import numpy as np
import pytest

from fewdistill.benchmark.data.video.transforms import mirror
from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities import EXPERTS, PosedClip
from tests.teachers.poses import CAMERA, EDGES, POSE, SKELETON, SWAP, posed


def test_projection_and_scaled_cameras() -> None:
    places = CAMERA.project(np.array([[0, 0, 2], [0.5, -0.25, 2], [1, 1, 0], [1, 1, -1]]))
    np.testing.assert_allclose(places[:2], [[47.5, 31.5], [72.5, 19.0]])
    assert np.isnan(places[2:]).all()
    half = CAMERA.scaled(32, 48)
    np.testing.assert_allclose(half.project(np.array([0.5, -0.25, 2])), (np.array([72.5, 19.0]) + 0.5) / 2 - 0.5)


def test_limbs_follow_the_graph() -> None:
    limbs = {(limb.side, limb.rank): [(p, c) for p, c, _ in limb.edges] for limb in SKELETON.limbs}
    assert limbs == {
        (0, 0.0): [(0, 1), (1, 2)],
        (-1, 0.0): [(1, 3), (3, 4)],
        (-1, 1.0): [(0, 7), (7, 8)],
        (1, 0.0): [(1, 5), (5, 6)],
        (1, 1.0): [(0, 9), (9, 10)],
    }
    for limb in SKELETON.limbs:
        positions = [position for _, _, position in limb.edges]
        assert positions == sorted(positions) and positions[-1] == 1


def at(clip: np.ndarray, joint_a: int, joint_b: int) -> np.ndarray:
    """The colour half-way between two joints of the first frame, drawn in the camera's picture."""
    u, v = np.rint(CAMERA.project((POSE[joint_a] + POSE[joint_b]) / 2 + np.array([0, 0, 3]))).astype(int)
    return clip[0, v, u].astype(int)


def test_left_right_and_limbs_differ_in_colour() -> None:
    clip = EXPERTS["skeleton"](normalise_box=False).derive(posed())
    assert clip.shape == (2, 64, 96, 3)
    left, right, trunk, leg = at(clip, 3, 4), at(clip, 5, 6), at(clip, 0, 1), at(clip, 7, 8)
    assert left[0] > 150 and left[2] < 60
    assert right[2] > 150 and right[0] < 60
    assert trunk[1] > trunk[0] and abs(trunk[0] - trunk[2]) < 30
    assert leg[0] > 150 and leg[1] > left[1] + 60  # a leg is not an arm
    assert (clip[:, :4, :4] == 0).all()


@pytest.mark.parametrize("style", ["limbs", "heatmap"])
@pytest.mark.parametrize("normalise_box", [True, False])
def test_mirrored_drawing_is_the_drawing_of_the_mirrored_person(style: str, normalise_box: bool) -> None:
    expert = EXPERTS["skeleton"](style=style, normalise_box=normalise_box)
    source = posed(np.array([[0.1, 0, 0], [-0.2, 0.1, 0.5]]))
    other = source.joints[:, SWAP].copy()
    other[:, :, 0] *= -1  # the camera's axis is the middle of the picture
    direct = expert.derive(PosedClip(other, SKELETON)).astype(int)
    ours = mirror(expert.derive(source), mirror_swap=expert.mirror_swap).astype(int)
    unswapped = mirror(expert.derive(source)).astype(int)
    assert np.abs(ours - direct).mean() < 0.1 * np.abs(unswapped - direct).mean()


def test_normalised_drawing_fills_its_frame_wherever_the_person_stands() -> None:
    expert = EXPERTS["skeleton"]()
    near, far = posed(), posed(np.array([[0.3, 0.2, 0.0], [0.3, 0.2, 0.0]]))
    clip = expert.derive(near)
    assert clip.shape == (2, 64, 64, 3)
    np.testing.assert_allclose(clip.astype(int), expert.derive(far).astype(int), atol=3)
    rows = np.flatnonzero(clip[0].max(axis=(1, 2)) > 100)
    columns = np.flatnonzero(clip[0].max(axis=(0, 2)) > 100)
    assert 4 <= rows[0] <= 8 and 55 <= rows[-1] <= 59  # a tenth of the side is kept free
    assert abs((columns[0] + columns[-1]) / 2 - 31.5) <= 1.5
    moving = expert.derive(posed(np.array([[-0.5, 0, 0], [0.5, 0, 0]])))
    centres = [np.flatnonzero(frame.max(axis=(0, 2)) > 100).mean() for frame in moving]
    assert centres[1] - centres[0] > 15  # one box for the clip: motion through the picture stays


def test_heatmap_has_its_peaks_at_the_joints() -> None:
    clip = EXPERTS["skeleton"](style="heatmap", normalise_box=False).derive(posed())
    for joint, channel in ((2, 1), (4, 0), (6, 2), (8, 0), (10, 2)):
        u, v = np.rint(CAMERA.project(POSE[joint] + np.array([0, 0, 3]))).astype(int)
        assert clip[0, v, u, channel] > 180 and clip[0, v, u, [c for c in range(3) if c != channel]].max() < 90


def test_nearer_limbs_cover_farther_ones() -> None:
    joints = posed().joints.copy()
    joints[:, [3, 4]], joints[:, [5, 6]] = joints[:, [5, 6]], joints[:, [5, 6]]  # both arms in one place
    for nearer, channel in ((4, 0), (6, 2)):
        moved = joints.copy()
        moved[:, nearer] *= 0.98  # towards the camera, at the same place in the picture
        clip = EXPERTS["skeleton"](normalise_box=False).derive(PosedClip(moved, SKELETON))
        assert at(clip, 5, 6)[channel] > 150 > at(clip, 5, 6)[2 - channel]


def test_everybody_visible_is_drawn_and_nobody_else() -> None:
    expert = EXPERTS["skeleton"](normalise_box=False)
    two = posed(people=2)
    assert (expert.derive(two) > 60).sum() > 1.3 * (expert.derive(posed()) > 60).sum()
    joints = two.joints.copy()
    joints[..., 1] = 0  # absent
    np.testing.assert_array_equal(expert.derive(PosedClip(joints, SKELETON)), expert.derive(posed()))
    joints[:, 4, 2] = -1  # a hand behind the camera
    hidden = expert.derive(PosedClip(joints, SKELETON))
    assert at(hidden, 3, 4).max() < 60 and at(hidden, 5, 6).max() > 150
    with pytest.raises(TeacherError, match="no joint of the clip is in front"):
        expert.derive(PosedClip(np.zeros_like(joints), SKELETON))


def test_poses_that_do_not_fit_are_refused() -> None:
    joints = posed().joints.copy()
    with pytest.raises(TeacherError, match=r"\(T, 11, 3, M\)"):
        PosedClip(joints[:, :5], SKELETON)
    joints[1, 2, 0, 0] = np.nan
    with pytest.raises(TeacherError, match="'head' of frame 1"):
        PosedClip(joints, SKELETON)
    with pytest.raises(TeacherError, match="no edges lead from 'pelvis' to head"):
        replace(SKELETON, edges=tuple(edge for edge in EDGES if edge != (1, 2)))
