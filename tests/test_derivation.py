"""Derivation: the same clips whoever derives them, each source read once, parts that join without a gap."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fewdistill.benchmark.data.synthetic import EmbeddedSpec, generate
from fewdistill.benchmark.data.video.derivation import Derived, derive, in_part
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.data.video.transforms import apply_crop, centre_crop
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.runtime.errors import DataError, UserError
from fewdistill.benchmark.suite.load import load_suite
from fewdistill.feature_cache import Entry, Key, Store
from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities import Expert
from fewdistill.teachers.modalities.skeleton import SkeletonImage
from tests.command import TINY

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
    return load_suite(str(path))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "set"
    generate(root, SPEC, workers=1)
    return root


def workspace(suite: Suite, data: Path, cache: Path) -> Workspace:
    folder = VideoFolder(data, frames=4, image_size=32, resize=32)
    return Workspace(suite, folder, cache / "runs", cache, torch.device("cpu"))


def small_shards(ws: Workspace, modality: str, rows: int) -> Entry:
    """A modality's entry, made anew for shards of a few rows: an entry that is there keeps its own."""
    entry = ws.clip_entry(modality)
    ws.store.remove(entry.folder.name)
    return ws.store.entry(entry.key, row_shape=entry.row_shape, dtype=entry.dtype, rows_per_shard=rows)


def written(cache: Path) -> dict[str, bytes]:
    """Every finished file of a cache; there must be no other."""
    files = [path for path in cache.rglob("*") if path.is_file() and path.name != ".publish.lock"]
    assert not [path for path in files if path.name.startswith(".")]
    return {str(path.relative_to(cache)): path.read_bytes() for path in files}


def expected(ws: Workspace, expert: Expert, videos: Sequence[str]) -> NDArray[np.uint8]:
    """Clips by the definition, one video and one expert at a time."""
    clips = [expert.derive(ws.folder.source(video, expert.requires)) for video in videos]
    side = ws.folder.resize
    return np.stack([apply_crop(clip, centre_crop(clip.shape[1], clip.shape[2], side)) for clip in clips])


def test_one_or_two_workers_and_what_stood_before_do_not_matter(suite: Suite, data: Path, tmp_path: Path) -> None:
    one, two = workspace(suite, data, tmp_path / "one"), workspace(suite, data, tmp_path / "two")
    for ws in (one, two):
        for modality in MODALITIES:
            small_shards(ws, modality, 6 if modality == "depth" else 7)  # whose shards hold other videos
    found = derive(one, workers=1)
    assert found == [Derived(m, one.clip_entry(m).folder.name, 60, 0, 60) for m in MODALITIES]
    whole = written(tmp_path / "one")
    for modality in MODALITIES:
        entry = one.clip_entry(modality)
        rows = expected(one, suite.teacher.new_expert(modality), one.all_videos[::5])
        assert np.array_equal(entry.gather(one.all_videos[::5]), rows) and entry.verify() == []

    derive(two, ["skeleton"], workers=1)
    derive(two, ["flow"], part=(2, 3), workers=1)
    digest = {m: two.clip_entry(m).folder.name for m in MODALITIES}
    assert derive(two, workers=2) == [
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
    ws = workspace(suite, data, tmp_path / "cache")
    small_shards(ws, "flow", 9)
    found = derive(ws, variants=("", "dots", "pixels"), workers=1)
    assert [(one.name, one.made) for one in found] == [*((m, 60) for m in MODALITIES), ("skeleton@dots", 60)]
    assert read == Counter({(name, v): 1 for name in ("raw", "depth", "joints") for v in ws.all_videos})
    dots = ws.varied("dots").clip_entry("skeleton").gather(ws.all_videos[:2])
    assert np.array_equal(dots, expected(ws, SkeletonImage(style="heatmap"), ws.all_videos[:2]))
    read.clear()
    assert {one.there for one in derive(ws, variants=("", "dots"), workers=2)} == {60} and not read
    ws.store.remove(ws.clip_entry("gradient").folder.name)
    derive(ws, variants=("", "dots"), workers=1)
    assert set(read) == {("raw", video) for video in ws.all_videos}


def test_parts_make_the_whole_in_any_order(suite: Suite, data: Path, tmp_path: Path) -> None:
    whole, parted = workspace(suite, data, tmp_path / "whole"), workspace(suite, data, tmp_path / "parted")
    for ws in (whole, parted):
        small_shards(ws, "skeleton", 7)  # nine shards
    derive(whole, ["skeleton"], workers=1)
    made = [derive(parted, ["skeleton"], part=(i, 4), workers=1)[0] for i in (3, 1, 4, 2)]
    assert [(one.there, one.made) for one in made] == [(0, 14), (14, 18), (32, 14), (46, 14)]
    assert derive(parted, ["skeleton"], part=(2, 4), workers=1)[0].made == 0
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
    ws = workspace(suite, tmp_path / "set", tmp_path / "cache")
    with pytest.raises(TeacherError, match=r"expert 'depth' needs sensor depth: .*carries rgb, joints"):
        derive(ws, variants=("", "dots", "pixels"))
    with pytest.raises(UserError, match=r"reads 'flwo' from the cache: did you mean flow\?"):
        derive(ws, ["skeleton", "flwo"])
    with pytest.raises(UserError, match="part 0 of 2"):
        derive(ws, part=(0, 2))
    with pytest.raises(UserError, match="workers = 0"):
        derive(ws, workers=0)
    assert not (tmp_path / "cache").exists()
    assert derive(ws, variants=("pixels",)) == []
    assert derive(ws, ["skeleton"], workers=1)[0].made == 60  # what is not asked for may be missing


def test_what_an_expert_cannot_serve_is_named_by_its_file(suite: Suite, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "set")
    ws = workspace(suite, tmp_path / "set", tmp_path / "cache")
    path = ws.folder.locate(ws.all_videos[20], "joints")
    np.save(path, -np.load(path))  # everybody behind the camera
    small_shards(ws, "skeleton", 9)
    with pytest.raises(DataError, match=rf"{path.name}: expert 'skeleton': no joint of the clip is in front") as caught:
        derive(ws, ["skeleton"], workers=1)
    assert str(path) in str(caught.value)
    assert list(ws.clip_entry("skeleton").ids()) == list(ws.all_videos[:18])  # the shards before it stand
    assert not list((tmp_path / "cache").rglob(".tmp-*"))
