"""Bodies in an NTU clip: people are told from noise and from each other, and stand in their own frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fewdistill.benchmark.data.skeletons import LAYOUTS
from fewdistill.benchmark.data.skeletons.topology import topology
from tests.data.skeleton_files import NTU_CLIP, Array, body, write_ntu

EVERY = range(20)
NTU25 = topology("ntu25")


def written_and_read(root: Path, frames: int, bodies: Sequence[tuple[str, Sequence[int], Array]]) -> np.ndarray:
    return LAYOUTS["ntu"](root).read(write_ntu(root / NTU_CLIP, frames, bodies))


def table(frames: int) -> np.ndarray:
    """A table as Kinect sees a person in it: wider than high, and shaking more than anybody moves."""
    wide = np.random.default_rng(5).uniform(-1, 1, (frames, 25, 3)) * [3.0, 0.5, 3.0]
    return wide + np.array([0.0, 0.0, 3.0])


@pytest.mark.parametrize("number", ["2", "1"], ids=["two numbers", "one number twice"])
def test_two_people_the_livelier_first(tmp_path: Path, number: str) -> None:
    calm, lively = body(NTU25, 20, seed=1), body(NTU25, 20, seed=2)
    lively[:, :, 0] += np.linspace(0, 2, 20)[:, None]
    read = written_and_read(tmp_path, 20, [("1", EVERY, calm), (number, EVERY, lively)])
    assert np.allclose(read[..., 0], lively) and np.allclose(read[..., 1], calm)


def test_noise_is_no_body(tmp_path: Path) -> None:
    """A table that shakes more than the person moves, and a body seen in 11 frames, are dropped."""
    man, short = body(NTU25, 20), body(NTU25, 11, seed=4)
    bodies = [("1", EVERY, table(20)), ("2", EVERY, man), ("3", range(3, 14), short)]
    read = written_and_read(tmp_path, 20, bodies)
    assert np.allclose(read[..., 0], man) and not read[..., 1].any()
    twelve = [("2", EVERY, man), ("3", range(3, 15), body(NTU25, 12, seed=4))]
    read = written_and_read(tmp_path, 20, twelve)
    assert np.flatnonzero(read[..., 1].any(axis=(1, 2))).tolist() == list(range(3, 15))


def test_wide_frames_do_not_make_a_body_lively(tmp_path: Path) -> None:
    """Two thirds of noisy frames do not drop a body, but they do not count for its motion."""
    first, second = body(NTU25, 40, seed=1), body(NTU25, 40, seed=2)
    second[:, :, 0] += np.linspace(0, 0.5, 40)[:, None]
    first[15:] = table(25)  # 62 % of its frames
    read = written_and_read(tmp_path, 40, [("1", range(40), first), ("2", range(40), second)])
    assert np.allclose(read[..., 0], second) and np.allclose(read[..., 1], first)


def test_one_person_under_two_numbers_is_one_body(tmp_path: Path) -> None:
    man, other = body(NTU25, 40, seed=1), body(NTU25, 40, seed=2, motion=0.1)
    halves = [("1", range(20), man[:20]), ("9", range(21, 40), man[21:]), ("2", range(40), other)]
    man[:, :, 0] += np.linspace(0, 3, 40)[:, None]
    read = written_and_read(tmp_path, 40, halves)
    places = [place for place in (0, 1) if np.allclose(read[:20, ..., place], man[:20])]
    assert len(places) == 1 and np.allclose(read[21:, ..., places[0]], man[21:])
    assert not read[20, ..., places[0]].any() and np.allclose(read[..., 1 - places[0]], other)


def test_a_body_stands_in_the_frames_it_was_seen_in_and_empty_frames_go(tmp_path: Path) -> None:
    man = body(NTU25, 30)
    seen = [*range(2, 10), *range(14, 30)]
    alone = written_and_read(tmp_path, 32, [("1", seen, man[: len(seen)])])
    assert np.allclose(alone[..., 0], man[: len(seen)])
    other = body(NTU25, 32, seed=3)
    other[:, :, 0] += np.linspace(0, 3, 32)[:, None]
    read = written_and_read(tmp_path, 32, [("1", seen, man[: len(seen)]), ("2", range(32), other)])
    assert len(read) == 32 and np.allclose(read[seen][..., 1], man[: len(seen)]) and not read[10:14, ..., 1].any()
