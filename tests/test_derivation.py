"""Derivation: the same clips whoever derives them, each source read once, parts that join without a gap."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fewdistill.benchmark.data.synthetic import EmbeddedSpec, generate
from fewdistill.benchmark.data.video.derivation import in_part
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.data.video.transforms import apply_crop, centre_crop
from fewdistill.benchmark.protocols.episodic.derive import Derived, derive_clips
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.errors import DataError, UserError
from fewdistill.feature_cache import Entry, Key, Store
from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities import Expert
from fewdistill.teachers.modalities.skeleton import SkeletonImage
from tests.command import TINY
from tests.video_suites import run_on, small_shards, version, video_suite

SPEC = EmbeddedSpec(size=32, frames=4, clips_per_class=6, train_classes=4, val_classes=3, test_classes=3)
MODALITIES = ("depth", "flow", "gradient", "skeleton")
VARIANTS = """
[variant.dots]
teacher = {expert = {skeleton = {style = "heatmap"}}}

[variant.pixels]
seeds = [0]
teacher = {modalities = ["rgb"]}
base = {token_target = "rgb"}
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    path = tmp_path_factory.mktemp("suite") / "tiny.toml"
    path.write_text(TINY.replace('"flow", "skeleton"', '"flow", "gradient", "skeleton"') + VARIANTS)
    return video_suite(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "set"
    generate(root, SPEC, workers=1)
    return root


def run_of(suite: Suite, data: Path, home: Path) -> VideoRun:
    return run_on(VideoFolder(data, frames=4, image_size=32, resize=32), suite, home)


def entry_of(run: VideoRun, modality: str) -> Entry:
    return run.clip_rows(run.expert(modality)).open()


def written(cache: Path) -> dict[str, bytes]:
    """Every finished file of a cache; there must be no other."""
    files = [path for path in cache.rglob("*") if path.is_file() and path.name != ".publish.lock"]
    assert not [path for path in files if path.name.startswith(".")]
    return {str(path.relative_to(cache)): path.read_bytes() for path in files}


def expected(run: VideoRun, expert: Expert, videos: Sequence[str]) -> NDArray[np.uint8]:
    """Clips by the definition, one video and one expert at a time."""
    clips = [expert.derive(run.data.source(video, expert.requires)) for video in videos]
    side = run.data.resize
    return np.stack([apply_crop(clip, centre_crop(clip.shape[1], clip.shape[2], side)) for clip in clips])


def test_one_or_two_workers_and_what_stood_before_do_not_matter(suite: Suite, data: Path, tmp_path: Path) -> None:
    one, two = run_of(suite, data, tmp_path / "one"), run_of(suite, data, tmp_path / "two")
    for run in (one, two):
        for modality in MODALITIES:
            small_shards(run, run.expert(modality), 6 if modality == "depth" else 7)  # whose shards hold other videos
    found = derive_clips(one, workers=1)
    assert found == [Derived(m, entry_of(one, m).folder.name, 60, 0, 60) for m in MODALITIES]
    whole = written(tmp_path / "one")
    for modality in MODALITIES:
        entry = entry_of(one, modality)
        rows = expected(one, suite.teacher.new_expert(modality), one.all_videos[::5])
        assert np.array_equal(entry.gather(one.all_videos[::5]), rows) and entry.verify() == []

    derive_clips(two, ["skeleton"], workers=1)
    derive_clips(two, ["flow"], part=(2, 3), workers=1)
    digest = {m: entry_of(two, m).folder.name for m in MODALITIES}
    assert derive_clips(two, workers=2) == [
        Derived("depth", digest["depth"], 60, 0, 60),
        Derived("flow", digest["flow"], 60, 21, 39),
        Derived("gradient", digest["gradient"], 60, 0, 60),
        Derived("skeleton", digest["skeleton"], 60, 60, 0),
    ]
    assert written(tmp_path / "two") == whole


def test_a_source_is_read_once_a_video_for_all_experts_and_variants(
    suite: Suite, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[tuple[str, str]] = Counter()

    def counted(name: str) -> Callable[..., Any]:
        inner = getattr(VideoFolder, name)

        def reading(folder: VideoFolder, video: str, *arguments: Any, **options: Any) -> Any:
            read[name, video] += 1
            return inner(folder, video, *arguments, **options)

        return reading

    for name in ("raw", "depth", "joints"):
        monkeypatch.setattr(VideoFolder, name, counted(name))
    run = run_of(suite, data, tmp_path / "cache")
    small_shards(run, run.expert("flow"), 9)
    found = derive_clips(run, variants=("", "dots", "pixels"), workers=1)
    assert [(one.name, one.made) for one in found] == [*((m, 60) for m in MODALITIES), ("skeleton@dots", 60)]
    assert read == Counter({(name, v): 1 for name in ("raw", "depth", "joints") for v in run.all_videos})
    dots = entry_of(version(run, "dots"), "skeleton").gather(run.all_videos[:2])
    assert np.array_equal(dots, expected(run, SkeletonImage(style="heatmap"), run.all_videos[:2]))
    read.clear()
    assert {one.there for one in derive_clips(run, variants=("", "dots"), workers=2)} == {60} and not read
    run.context.cache.remove(entry_of(run, "gradient").folder.name)
    derive_clips(run, variants=("", "dots"), workers=1)
    assert set(read) == {("raw", video) for video in run.all_videos}


def test_parts_make_the_whole_in_any_order(suite: Suite, data: Path, tmp_path: Path) -> None:
    whole, parted = run_of(suite, data, tmp_path / "whole"), run_of(suite, data, tmp_path / "parted")
    for run in (whole, parted):
        small_shards(run, run.expert("skeleton"), 7)  # nine shards
    derive_clips(whole, ["skeleton"], workers=1)
    made = [derive_clips(parted, ["skeleton"], part=(i, 4), workers=1)[0] for i in (3, 1, 4, 2)]
    assert [(one.there, one.made) for one in made] == [(0, 14), (14, 18), (32, 14), (46, 14)]
    assert derive_clips(parted, ["skeleton"], part=(2, 4), workers=1)[0].made == 0
    assert written(tmp_path / "parted") == written(tmp_path / "whole")


@settings(deadline=None, max_examples=30)
@given(
    videos=st.integers(1, 30),
    rows=st.integers(1, 5),
    parts=st.integers(1, 5),
    standing=st.sets(st.integers(0, 29)),
    first=st.sets(st.integers(1, 5)),
)
def test_parts_are_disjoint_complete_and_stay_so(
    videos: int, rows: int, parts: int, standing: set[int], first: set[int]
) -> None:
    """Whatever shards stand, and whichever parts are done before the others look."""
    ids = [f"c/v{number:02d}" for number in range(videos)]
    with TemporaryDirectory() as folder:
        entry = Store(folder).entry(Key("clips", {}), row_shape=(1,), dtype="uint8", rows_per_shard=rows)
        for shard in entry.plan(ids):
            if shard.index in standing:
                entry.write(shard, np.zeros((len(shard.ids), 1), np.uint8))
        plan = entry.plan(ids)
        shares = {i: [s for s in plan if in_part(s.index, (i, parts))] for i in range(1, parts + 1)}
        assert sorted((s for share in shares.values() for s in share), key=lambda s: s.index) == plan
        for i in sorted(first & shares.keys()):
            for shard in shares[i]:
                entry.write(shard, np.zeros((len(shard.ids), 1), np.uint8))
        later = Entry(entry.folder).plan(ids)
        for i in shares.keys() - first:
            assert [s for s in later if in_part(s.index, (i, parts))] == shares[i]
        assert not [s for s in later for i in first & shares.keys() if in_part(s.index, (i, parts))]


def test_a_source_that_is_not_there_and_impossible_wishes_are_refused_before_any_work(
    suite: Suite, data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data, tmp_path / "set")
    shutil.rmtree(tmp_path / "set" / "l8" / "depth_l8")
    run = run_of(suite, tmp_path / "set", tmp_path / "cache")
    with pytest.raises(TeacherError, match=r"expert 'depth' needs sensor depth: .*carries rgb, joints"):
        derive_clips(run, variants=("", "dots", "pixels"))
    with pytest.raises(UserError, match=r"reads 'flwo' from the cache: did you mean flow\?"):
        derive_clips(run, ["skeleton", "flwo"])
    with pytest.raises(UserError, match="part 0 of 2"):
        derive_clips(run, part=(0, 2))
    with pytest.raises(UserError, match="workers = 0"):
        derive_clips(run, workers=0)
    assert not (tmp_path / "cache").exists()
    assert derive_clips(run, variants=("pixels",)) == []
    assert derive_clips(run, ["skeleton"], workers=1)[0].made == 60  # what is not asked for may be missing


def test_what_an_expert_cannot_serve_is_named_by_its_file(suite: Suite, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "set")
    run = run_of(suite, tmp_path / "set", tmp_path / "cache")
    path = run.data.locate(run.all_videos[20], "joints")
    np.save(path, -np.load(path))  # everybody behind the camera
    small_shards(run, run.expert("skeleton"), 9)
    with pytest.raises(DataError, match=rf"{path.name}: expert 'skeleton': no joint of the clip is in front") as caught:
        derive_clips(run, ["skeleton"], workers=1)
    assert str(path) in str(caught.value)
    assert list(entry_of(run, "skeleton").ids()) == list(run.all_videos[:18])  # the shards before it stand
    assert not list((tmp_path / "cache").rglob(".tmp-*"))
