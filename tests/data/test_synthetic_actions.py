"""The embedded data set before filming: the figure, its actions, the specification."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewdistill.benchmark.data.synthetic import EmbeddedSpec
from fewdistill.benchmark.data.synthetic.actions import ACTIONS, actions, distances, trajectory
from fewdistill.benchmark.data.synthetic.body import ANGLES, EDGES, MIRRORED, clamp, draw_body, make_body, pose
from fewdistill.benchmark.data.synthetic.spec import class_names, split_classes, split_videos
from fewdistill.benchmark.runtime.errors import UserError


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, ACTIONS - 1))
def test_bones_keep_their_length(seed: int, which: int) -> None:
    body = draw_body(np.random.default_rng(seed))
    joints, face = pose(actions(1)[which].angles(np.linspace(0, 6, 9)), body)
    a, b = np.array(EDGES).T
    lengths = np.linalg.norm(joints[:, a] - joints[:, b], axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], lengths.shape), atol=1e-9)
    assert lengths.min() > 0.02
    np.testing.assert_allclose(np.linalg.norm(face, axis=-1), 1.0)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.lists(st.floats(-180, 180), min_size=len(ANGLES), max_size=len(ANGLES)))
def test_mirrored_angles_give_the_mirrored_pose(values: list[float]) -> None:
    angles = clamp(np.array(values))
    mirrored = np.concatenate([angles[:5] * [1, -1, -1, 1, -1], angles[12:], angles[5:12]])
    joints, face = pose(angles, make_body())
    other, other_face = pose(mirrored, make_body())
    np.testing.assert_allclose(other, joints[MIRRORED] * [-1, 1, 1], atol=1e-9)
    np.testing.assert_allclose(other_face, face * [-1, 1, 1], atol=1e-9)


def test_actions_are_far_apart_at_any_phase_and_in_the_mirror() -> None:
    programmes = actions(1)
    assert len(programmes) == ACTIONS == 48 and len(set(class_names(1))) == 48
    cycles = np.stack([trajectory(action) for action in programmes])
    rolled = np.roll(cycles[3], 11, axis=0)[:, MIRRORED] * [-1.0, 1.0, 1.0]
    assert distances(rolled, cycles)[3] < 1e-6  # the measure does see through phase and mirror
    table = np.stack([distances(cycle, cycles) for cycle in cycles])
    assert table[~np.eye(ACTIONS, dtype=bool)].min() > 0.1  # of the body height, over all joints


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 10), st.integers(1, 20))
def test_smaller_sets_take_the_first_classes_of_disjoint_splits(train: int, val: int, test: int, clips: int) -> None:
    spec = EmbeddedSpec(clips_per_class=clips, train_classes=train, val_classes=val, test_classes=test)
    small, full = split_classes(spec), split_classes(EmbeddedSpec())
    assert [len(small[split]) for split in ("train", "val", "test")] == [train, val, test]
    assert all(full[split][: len(names)] == names for split, names in small.items())
    assert len({name for names in full.values() for name in names}) == 48
    assert [len(videos) for videos in split_videos(spec).values()] == [train * clips, val * clips, test * clips]


@pytest.mark.parametrize(
    "wrong",
    [{"train_classes": 31}, {"test_classes": 0}, {"version": 2}, {"size": 16}, {"container": "zip"}, {"seed": -1}],
)
def test_impossible_specifications_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        replace(EmbeddedSpec(), **wrong)  # type: ignore[arg-type]
