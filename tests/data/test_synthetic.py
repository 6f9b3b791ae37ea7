"""The embedded data set: its files, its determinism, and what may and may not tell the classes apart."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from fewdistill.benchmark.data.synthetic import EmbeddedSpec, generate
from fewdistill.benchmark.data.synthetic.actions import ACTIONS, actions
from fewdistill.benchmark.data.synthetic.body import INDEX
from fewdistill.benchmark.data.synthetic.film import film
from fewdistill.benchmark.data.synthetic.preview import preview
from fewdistill.benchmark.data.synthetic.spec import class_names
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.runtime.errors import DataError, UserError
from fewdistill.feature_cache import CacheError
from fewdistill.feature_cache.lock import run_lock

TINY = EmbeddedSpec(size=32, frames=2, clips_per_class=2, train_classes=2, val_classes=1, test_classes=1)
FILMED = EmbeddedSpec(size=48, clips_per_class=12, train_classes=2, val_classes=1, test_classes=10)


def read_tree(root: Path) -> dict[str, bytes]:
    """All files of a data set but the lock."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name != ".run.lock")
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filmed") / "data"
    generate(folder, FILMED)
    return folder


@pytest.fixture(scope="module")
def folder(root: Path) -> VideoFolder:
    return VideoFolder(root, frames=FILMED.frames, image_size=FILMED.size, resize=FILMED.size)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    generate(tmp_path / "tiny", TINY)
    return tmp_path / "tiny"


# --- the files ---------------------------------------------------------------------------------------------------


def test_any_number_of_workers_and_any_subset_give_the_same_bytes(tmp_path: Path) -> None:
    spec = EmbeddedSpec(size=32, frames=2, clips_per_class=22, train_classes=1, val_classes=1, test_classes=1)
    ticks: list[tuple[int, int]] = []
    generate(tmp_path / "two", spec, workers=2, progress=lambda done, total: ticks.append((done, total)))
    generate(tmp_path / "one", spec)
    two = read_tree(tmp_path / "two")
    assert two == read_tree(tmp_path / "one")
    assert ticks[0] == (0, 66) and ticks[-1] == (66, 66) and ticks == sorted(ticks)

    generate(tmp_path / "part", replace(spec, clips_per_class=3, train_classes=2))
    generate(tmp_path / "other", replace(TINY, seed=1))
    part, other = (
        {name: data for name, data in read_tree(tmp_path / place).items() if name.startswith(("l8/", "joints/a"))}
        for place in ("part", "other")
    )
    common = [name for name in part if name in two]
    assert len(common) == 3 * 3 * 5 and all(two[name] == part[name] for name in common)
    common = [name for name in other if name in two]
    assert len(common) == 3 * 2 * 5 and all(two[name] != other[name] for name in common)


@settings(max_examples=6, derandomize=True, deadline=None)
@given(st.integers(32, 80), st.integers(2, 6), st.integers(0, ACTIONS - 1), st.integers(0, 99))
def test_film_gives_the_promised_arrays(size: int, frames: int, which: int, index: int) -> None:
    clip = film(EmbeddedSpec(size=size, frames=frames), actions(1)[which], class_names(1)[which], index)
    assert clip.rgb.shape == (frames, size, size, 3) and clip.rgb.dtype == np.uint8
    assert clip.depth.shape == (frames, size, size) and clip.depth.dtype == np.uint16
    assert clip.joints.shape == (frames, len(INDEX), 3, 1) and clip.joints.dtype == np.float32
    assert np.isfinite(clip.joints).all() and clip.joints[:, :, 2].min() > 0.5
    assert clip.rgb.std() > 5 and 0.5 < (clip.depth > 0).mean() < 1.0


def test_the_reader_reads_it(root: Path, folder: VideoFolder) -> None:
    assert folder.modalities() == ("rgb", "depth", "joints")
    assert len(folder.videos("test")) == 120 and len(folder.classes("train")) == 2
    assert folder.skeleton.camera.width == FILMED.size and folder.skeleton.joints[folder.skeleton.centre] == "spine"
    described = json.loads((root / "dataset.json").read_text())
    assert described["seed"] == 0 and described["frames"] == 8 and described["container"] == "frames"


def test_joints_project_onto_the_figure_in_the_depth(folder: VideoFolder) -> None:
    behind, near, inside = [], [], []
    for video in folder.videos("test"):
        joints, depth = folder.joints(video)[..., 0], folder.depth(video)
        u, v = np.moveaxis(np.rint(folder.skeleton.camera.project(joints)).astype(int), -1, 0)
        seen = (u >= 0) & (u < FILMED.size) & (v >= 0) & (v < FILMED.size)
        frame, joint = np.nonzero(seen)
        metres = depth[frame, v[seen], u[seen]] / 1000
        gap = (metres - joints[frame, joint, 2])[metres > 0]
        behind.append(np.mean(gap > 0.15))
        near.append(np.mean(np.abs(gap) < 0.3))
        inside.append(seen.mean())
    assert np.mean(inside) > 0.95  # the figure is in the picture
    assert np.mean(behind) < 0.02  # hardly anywhere does one look past a joint
    assert np.mean(near) > 0.75  # the rest is hidden by the figure itself or by what stands in the way


def test_colour_edges_lie_where_depth_jumps(folder: VideoFolder) -> None:
    def edges_at(shift: int, rgb: NDArray[np.uint8], jump: NDArray[np.bool_]) -> float:
        grey = rgb.astype(np.float32).mean(axis=-1)
        gradient = np.abs(np.diff(grey, axis=2))[:, :, 8:-8]
        return float(gradient[np.roll(jump, shift, axis=2)[:, :, 8:-8]].mean())

    aligned = []
    for video in folder.videos("test")[::4]:
        depth = folder.depth(video).astype(int)
        both = (depth[:, :, 1:] > 0) & (depth[:, :, :-1] > 0)
        jump = both & (np.abs(np.diff(depth, axis=2)) > 400)
        rgb = folder.clip(video)
        aligned.append(edges_at(0, rgb, jump) > max(edges_at(-5, rgb, jump), edges_at(5, rgb, jump)))
    assert np.mean(aligned) > 0.9


def test_the_video_container_holds_the_same_pictures(tmp_path: Path, tiny: Path) -> None:
    for name in ("a", "b"):
        generate(tmp_path / name, replace(TINY, container="video"))
    assert read_tree(tmp_path / "a") == read_tree(tmp_path / "b")
    assert not (tmp_path / "a" / "l8" / "rgb_l8").exists()
    videos, frames = (VideoFolder(path, frames=2, image_size=32, resize=32) for path in (tmp_path / "a", tiny))
    for video in videos.videos("train"):
        assert videos.frame_count(video) == 2
        # Chroma is stored at half the resolution in both, so that only brightness is held to be alike.
        difference = videos.clip(video).mean(axis=-1) - frames.clip(video).mean(axis=-1)
        assert np.abs(difference).mean() < 6
        np.testing.assert_array_equal(videos.joints(video), frames.joints(video))


# --- what tells the classes apart --------------------------------------------------------------------------------


def in_body_frame(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, V, 3) with the pelvis at the origin and the line between the hips along x."""
    joints = joints - joints[:, INDEX["pelvis"], None]
    hips = joints[:, INDEX["left_hip"]] - joints[:, INDEX["right_hip"]]
    angle = np.arctan2(hips[:, 2], hips[:, 0])[:, None]
    x = np.cos(angle) * joints[..., 0] + np.sin(angle) * joints[..., 2]
    z = np.cos(angle) * joints[..., 2] - np.sin(angle) * joints[..., 0]
    return np.stack([x, joints[..., 1], z], axis=-1)


def test_joints_tell_unseen_actions_apart_from_one_example(folder: VideoFolder) -> None:
    labels = folder.labels("test")
    poses = np.stack([in_body_frame(folder.joints(video)[..., 0]) for video in folder.videos("test")])
    flat = poses.reshape(len(poses), FILMED.frames, -1)
    # Phase-tolerant: each frame against the other clip's nearest frame, both ways.
    pairs = np.linalg.norm(flat[:, None, :, None] - flat[None, :, None, :], axis=-1)
    apart = pairs.min(axis=3).mean(axis=2) + pairs.min(axis=2).mean(axis=2)
    rng, right = np.random.default_rng(0), []
    for _ in range(2000):
        classes = rng.choice(10, 5, replace=False)
        support, query = np.array([rng.choice(np.flatnonzero(labels == c), 2, replace=False) for c in classes]).T
        asked = rng.integers(5)
        right.append(apart[query[asked], support].argmin() == asked)
    assert np.mean(right) >= 0.9


def test_colours_do_not_tell_the_classes_apart(folder: VideoFolder) -> None:
    features, labels = [], []
    for split in ("train", "val", "test"):
        for video in folder.videos(split):
            rgb, joints = folder.clip(video).astype(np.float32), folder.joints(video)[..., 0]
            u, v = np.moveaxis(folder.skeleton.camera.project(joints), -1, 0).round().astype(int).clip(0, 47)
            clothes = rgb[np.arange(8)[:, None], v, u]
            border = np.concatenate([rgb[:, :6], rgb[:, -6:]], axis=1)
            parts = (border.mean((0, 1, 2)), border.std((0, 1, 2)), clothes.mean((0, 1)), clothes.std((0, 1)))
            features.append(np.concatenate(parts))
            labels.append(video.split("/")[0])
    x, names = np.stack(features), np.array(labels)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    first = np.arange(len(x)) % 12 < 6
    classes = np.unique(names)
    centres = np.stack([x[first & (names == name)].mean(axis=0) for name in classes])
    guessed = classes[np.linalg.norm(x[~first, None] - centres, axis=-1).argmin(axis=1)]
    hits, trials = int((guessed == names[~first]).sum()), int((~first).sum())
    assert hits <= binom.ppf(0.999, trials, 1 / len(classes))


# --- interruption and refusal ------------------------------------------------------------------------------------


def test_an_interrupted_run_is_continued(tmp_path: Path, tiny: Path) -> None:
    whole, place = read_tree(tiny), tmp_path / "interrupted"

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(place, TINY, progress=stop)
    assert not (place / "dataset.json").exists()
    with pytest.raises(DataError, match="seed = 0, not 5"):
        generate(place, replace(TINY, seed=5))
    # One clip half written, one cut off by a power failure; the third stands.
    first, second, third = (sorted((place / "l8" / "rgb_l8").glob("*/*")))[:3]
    (first / "00000002.jpg").unlink()
    (second / "00000001.jpg").write_bytes(b"")
    (place / ".partial" / "left-over").mkdir()
    kept = (third / "00000001.jpg").stat().st_mtime_ns
    ticks: list[int] = []
    generate(place, TINY, progress=lambda done, total: ticks.append(done))
    assert ticks == list(range(1, 9))
    assert read_tree(place) == whole
    assert (third / "00000001.jpg").stat().st_mtime_ns == kept


def test_a_finished_set_is_left_alone_and_mended(tiny: Path) -> None:
    whole = read_tree(tiny)
    stamp = (tiny / "dataset.json").stat().st_mtime_ns
    with run_lock(tiny):  # no lock is needed where nothing is written
        generate(tiny, TINY)
    assert (tiny / "dataset.json").stat().st_mtime_ns == stamp
    next(tiny.glob("joints/*/v0001.npy")).unlink()
    with run_lock(tiny), pytest.raises(CacheError, match="in use"):
        generate(tiny, TINY)
    generate(tiny, TINY)
    assert read_tree(tiny) == whole


def test_other_contents_are_refused(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(DataError, match=r"size = 32, not 48.*choose another folder"):
        generate(tiny, replace(TINY, size=48))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match=r"mine: holds files"):
        generate(tmp_path / "mine", TINY)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tiny / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json"):
        generate(tiny, TINY)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file"):
        generate(tmp_path / "file" / "data", TINY)


# --- the contact sheet -------------------------------------------------------------------------------------------


def test_preview_leaves_out_what_is_not_there(tmp_path: Path, tiny: Path) -> None:
    def size(name: str) -> tuple[int, int]:
        preview(tiny, tmp_path / name, classes=3, seed=4)
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None and picture.std() > 20
        return picture.shape[:2]

    height, width = size("all.png")
    again = (tmp_path / "all.png").read_bytes()
    assert size("all.png") == (height, width) and (tmp_path / "all.png").read_bytes() == again
    (tiny / "joints").rename(tmp_path / "joints")
    (tiny / "l8" / "depth_l8").rename(tmp_path / "depth")
    less, same = size("less.png")
    assert same == width and less < 0.65 * height
    with pytest.raises(UserError, match="at least one"):
        preview(tiny, tmp_path / "none.png", classes=0)
