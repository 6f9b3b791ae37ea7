"""Variants of a suite: what differs is replaced, the rest is shared, and what could not be paired is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.protocols.episodic.cells import teacher_row, video_rows
from fewdistill.benchmark.protocols.episodic.derive import derive_clips
from fewdistill.benchmark.protocols.episodic.student import student_stage
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.protocols.episodic.teacher import fusion_stage
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.training.teacher_outputs import shuffled_labels
from fewdistill.students.few_shot import with_support_labels
from fewdistill.students.output import EpisodeOutput, support_distances
from fewdistill.teachers.modalities.skeleton import SkeletonImage
from tests.command import MOBILE
from tests.video_suites import run_on, small_folder, video_suite

HEATMAP = {"style": "heatmap"}
VARIANTS = """
[variant.drawn]
distillation = ["both"]
switches = {support_order = "as_drawn"}

[variant.pixels]
seeds = [0]
teacher = {modalities = ["rgb"], fusion = {episodes = 20}}
base = {token_target = "rgb"}

[variant.the-same]
head = {width = 8}
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    path = tmp_path_factory.mktemp("suite") / "tiny.toml"
    text = MOBILE.replace("seeds = [0]", "seeds = [0, 1]").replace(
        '["rgb", "depth", "flow", "skeleton"]', '["rgb", "skeleton"]'
    )
    path.write_text(text + VARIANTS)
    return video_suite(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> VideoFolder:
    return small_folder(tmp_path_factory.mktemp("data") / "set", val=3, test=3, clips=3)


@pytest.fixture(scope="module")
def run(suite: Suite, folder: VideoFolder, tmp_path_factory: pytest.TempPathFactory) -> VideoRun:
    return run_on(folder, suite, tmp_path_factory.mktemp("home"))


def test_settings_are_laid_over_the_suites(suite: Suite) -> None:
    versions = dict(suite.versions())
    assert list(versions) == ["", "drawn", "pixels", "the-same"]
    assert versions[""] is suite
    drawn, pixels = versions["drawn"], versions["pixels"]
    assert drawn.switches.support_order == "as_drawn" and drawn.distillation == ("both",) and not drawn.variant
    assert pixels.teacher.fusion.episodes == 20 and pixels.teacher.fusion.layers == suite.teacher.fusion.layers
    assert pixels.teacher.base == suite.teacher.base and pixels.base.epochs == suite.base.epochs


def test_an_experts_options_reach_its_clips_and_their_names(suite: Suite, folder: VideoFolder, tmp_path: Path) -> None:
    dots = suite.model_copy(update={"variant": {"dots": {"teacher": {"expert": {"skeleton": HEATMAP}}}}})
    runs = plain, drawn = run_on(folder, dots, tmp_path).versions()
    derived = derive_clips(plain, variants=("", "dots"), workers=1)
    assert [found.name for found in derived] == ["skeleton", "skeleton@dots"]
    assert derived[0].digest != derived[1].digest
    assert drawn.clip_rows(drawn.expert("rgb")).key == plain.clip_rows(plain.expert("rgb")).key
    video = plain.all_videos[0]
    of = [each.clips(each.expert("skeleton"), "resnet18").read(video, None) for each in runs]
    assert not np.array_equal(of[0], of[1])
    assert np.array_equal(of[1], SkeletonImage(style="heatmap").derive(folder.source(video, "joints")))


def test_rows_of_every_variant(run: VideoRun) -> None:
    names = [row.name for row in video_rows(run)]
    assert len(set(names)) == len(names)
    assert names[:4] == ["teacher/-/s0", "mobilenetv3_small/none/s0", "mobilenetv3_small/both/s0", "teacher/-/s0@drawn"]
    assert "mobilenetv3_small/both/s1@drawn" in names and "mobilenetv3_small/none/s1@drawn" not in names
    assert "mobilenetv3_small/both/s0@pixels" in names and "mobilenetv3_small/both/s1@pixels" not in names


def test_what_a_variant_leaves_alone_is_the_suites(run: VideoRun) -> None:
    keys = {row.name: row.keys for row in video_rows(run)}
    same = {
        "teacher/-/s0@drawn": "teacher/-/s0",
        "mobilenetv3_small/none/s0@pixels": "mobilenetv3_small/none/s0",
        "mobilenetv3_small/both/s1@the-same": "mobilenetv3_small/both/s1",
    }
    assert all(keys[name] == keys[twin] for name, twin in same.items())
    other = ("mobilenetv3_small/both/s0@drawn", "teacher/-/s0@pixels", "mobilenetv3_small/both/s0@pixels")
    assert all(not set(keys[name]) & set(keys[name.partition("@")[0]]) for name in other)


def test_variants_are_scored_on_the_same_videos(run: VideoRun, folder: VideoFolder, tmp_path: Path) -> None:
    pixels = next(version for version in run.versions() if version.variant == "pixels")
    alone = run_on(folder, pixels.suite, tmp_path)
    rgb = (run.expert("rgb"),)
    assert alone.content(rgb, ("test",)) == pixels.content(rgb, ("test",)) == run.content(rgb, ("test",))
    assert run.content(rgb, ("train", "val")) != run.content(rgb, ("test",))
    assert run.content((*rgb, run.expert("skeleton")), ("test",)) != run.content(rgb, ("test",))
    assert run.versions()[2] is pixels and run.versions()[0] is run
    assert teacher_row(pixels, 0).keys == teacher_row(alone, 0).keys, "what other variants read is no part of a name"


def trained(run: VideoRun) -> dict[str, str]:
    """What identifies the teacher and each setting's student."""
    found = {"teacher": fusion_stage(run, 0).key}
    for name in run.suite.students:  # one, or a suite of teachers
        found |= {named: student_stage(run, name, named, 0).key for named in run.suite.distillation}
    return found


@pytest.mark.parametrize("name", ["ablation", "defects", "skeleton_teacher"])
def test_every_shipped_variant_trains_something_else(name: str, folder: VideoFolder, tmp_path: Path) -> None:
    whole, *variants = run_on(folder, video_suite(name), tmp_path).versions()
    plain, seen = trained(whole), []
    assert variants
    for run in variants:
        there = trained(run)
        changed = {what for what, key in there.items() if key != plain[what]}
        assert changed, f"{run.variant} is the suite itself"
        assert there not in seen, f"{run.variant} is another variant"
        seen.append(there)


def test_another_head_or_fusion_leaves_the_old_ones_keys_behind(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(
        MOBILE + '[variant.x]\nhead = {name = "otam"}\nteacher = {fusion = {name = "concat", episodes = 3}}\n'
    )
    varied = video_suite(path).with_variant("x")
    assert (varied.head.name, varied.teacher.fusion.name, varied.teacher.fusion.episodes) == ("otam", "concat", 3)
    assert varied.teacher.fusion.way == 3
    direct = video_suite(path, ("head.name=otam", "head.smoothing=0.2", "teacher.fusion.name=mean"))
    assert (direct.head.smoothing, direct.teacher.fusion.name) == (0.2, "mean")
    with pytest.raises(UserError, match="'otam' does not read tuple_sizes"):
        video_suite(path, ("head.name=otam", "head.tuple_sizes=[2]"))


def test_an_override_reaches_every_variant(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(MOBILE + VARIANTS)
    suite = video_suite(path, ("head.width=4", "variant.drawn.head.width=6"))
    assert [version.head.width for _, version in suite.versions()] == [4, 6, 4, 8]
    with pytest.raises(UserError, match=r"variant\.drawn: head\.width"):
        video_suite(path, ("variant.drawn.head.width=0",))


def test_the_support_as_drawn_is_what_the_released_code_computes() -> None:
    generator = torch.Generator().manual_seed(0)
    labels, tokens = torch.arange(3).repeat_interleave(2), torch.randn(8, 2, 5, generator=generator)
    found = set()
    for episode in range(20):
        rows = torch.arange(8) + 8 * episode
        drawn = shuffled_labels(labels, rows, 0)
        assert torch.equal(drawn, shuffled_labels(labels, rows, 0)) and torch.equal(drawn.sort().values, labels)
        output = with_support_labels(EpisodeOutput({}, torch.empty(0), {"ce": tokens}), drawn, 3)
        order = drawn.argsort(stable=True)  # the order in which the released code would meet these videos
        expected = support_distances(tokens[:6][order], labels, 3)
        torch.testing.assert_close(output.support_distances, expected)
        found.add(tuple(drawn.tolist()))
    assert len(found) > 10
