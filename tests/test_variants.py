"""Variants of a suite: what differs is replaced, the rest is shared, and what could not be paired is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fewdistill.benchmark.graph.status import Standing
from fewdistill.benchmark.protocols.episodic.workspace import Workspace

from fewdistill.benchmark.data.synthetic import EmbeddedSpec, generate
from fewdistill.benchmark.data.video.derivation import derive
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.evaluation.episodic_record import record_identity, rows
from fewdistill.benchmark.graph import runner
from fewdistill.benchmark.protocols.episodic import identity
from fewdistill.benchmark.protocols.episodic.student import base_weights
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.suite.distillation import distillation
from fewdistill.benchmark.suite.load import load_suite
from fewdistill.benchmark.training.teacher_outputs import shuffled
from fewdistill.results.records.record import key_of
from fewdistill.students.few_shot import with_support_labels
from fewdistill.students.output import EpisodeOutput, support_distances
from fewdistill.teachers.modalities.skeleton import SkeletonImage
from tests.command import TINY

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
    text = TINY.replace("seeds = [0]", "seeds = [0, 1]").replace(
        '["rgb", "depth", "flow", "skeleton"]', '["rgb", "skeleton"]'
    )
    path.write_text(text + VARIANTS)
    return load_suite(str(path))


@pytest.fixture(scope="module")
def workspace(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("data")
    spec = EmbeddedSpec(size=32, frames=4, clips_per_class=6, train_classes=4, val_classes=3, test_classes=3)
    generate(root / "set", spec, workers=1)
    folder = VideoFolder(root / "set", frames=4, image_size=32, resize=32, list_number=3)
    return Workspace(suite, folder, root / "runs", root / "cache", torch.device("cpu"))


def test_settings_are_laid_over_the_suites(suite: Suite) -> None:
    versions = dict(suite.versions())
    assert list(versions) == ["", "drawn", "pixels", "the-same"]
    assert versions[""] is suite
    drawn, pixels = versions["drawn"], versions["pixels"]
    assert drawn.switches.support_order == "as_drawn" and drawn.distillation == ("both",) and not drawn.variant
    assert pixels.teacher.fusion.episodes == 20 and pixels.teacher.fusion.layers == suite.teacher.fusion.layers
    assert pixels.teacher.base == suite.teacher.base and pixels.base.epochs == suite.base.epochs


def test_an_experts_options_reach_its_clips_and_their_names(workspace: Workspace) -> None:
    dots = workspace.suite.model_copy(update={"variant": {"dots": {"teacher": {"expert": {"skeleton": HEATMAP}}}}})
    at = Workspace(dots, workspace.folder, workspace.runs, workspace.cache, workspace.device)
    (plain,), (drawn,) = derive(at), derive(at.varied("dots"))
    assert plain.digest != drawn.digest
    assert at.varied("dots").clip_entry("rgb").folder == at.clip_entry("rgb").folder
    video = at.all_videos[0]
    of = [w.clips("skeleton", "resnet18").read(video, None) for w in (at, at.varied("dots"))]
    assert not np.array_equal(of[0], of[1])
    assert np.array_equal(of[1], SkeletonImage(style="heatmap").derive(at.folder.source(video, "joints")))


def test_rows_of_every_variant(workspace: Workspace) -> None:
    names = [row.name for row in rows(workspace)]
    assert len(set(names)) == len(names)
    assert names[:4] == ["teacher/-/s0", "mobilenetv3_small/none/s0", "mobilenetv3_small/both/s0", "teacher/-/s0@drawn"]
    assert "mobilenetv3_small/both/s1@drawn" in names and "mobilenetv3_small/none/s1@drawn" not in names
    assert "mobilenetv3_small/both/s0@pixels" in names and "mobilenetv3_small/both/s1@pixels" not in names


def test_what_a_variant_leaves_alone_is_the_suites(workspace: Workspace) -> None:
    keys = {row.name: str(record_identity(workspace.varied(row.variant), row, 1)) for row in rows(workspace)}
    same = {
        "teacher/-/s0@drawn": "teacher/-/s0",
        "mobilenetv3_small/none/s0@pixels": "mobilenetv3_small/none/s0",
        "mobilenetv3_small/both/s1@the-same": "mobilenetv3_small/both/s1",
    }
    assert all(keys[name] == keys[twin] for name, twin in same.items())
    other = ("mobilenetv3_small/both/s0@drawn", "teacher/-/s0@pixels", "mobilenetv3_small/both/s0@pixels")
    assert all(keys[name] != keys[name.partition("@")[0]] for name in other)


def test_variants_are_scored_on_the_same_videos(workspace: Workspace) -> None:
    alone = Workspace(
        workspace.suite.varied("pixels"), workspace.folder, workspace.runs, workspace.cache, workspace.device
    )
    assert alone.content_hash != workspace.content_hash  # fewer sources: it would not pair
    assert workspace.varied("pixels").content_hash == workspace.content_hash
    assert workspace.varied("pixels") is workspace.varied("pixels") and workspace.varied("") is workspace


def trained(suite: Suite) -> dict[str, str]:
    """What identifies the teacher and each setting's student, as far as the suite decides it."""
    name = "".join(suite.students)  # one, or a suite of teachers
    teacher = identity.fusion(
        suite,
        [
            key_of(identity.encoder(suite, "", m, suite.teacher.new_expert(m).identity(), 0))
            for m in suite.teacher.modalities
        ],
        0,
    )
    found = {"teacher": key_of(teacher)}
    for named in suite.distillation if suite.students else ():
        setting = distillation(named)
        base = identity.base(suite, "", name, base_weights(suite, setting), found["teacher"], 0)
        reads = setting.tokens or suite.distiller_of(setting.distiller).reads
        of = identity.student(suite, key_of(base), named, found["teacher"] if reads else None, 0)
        found[named] = key_of(of)
    return found


@pytest.mark.parametrize("name", ["ablation", "defects", "skeleton_teacher"])
def test_every_shipped_variant_trains_something_else(name: str) -> None:
    suite = load_suite(name)
    plain, seen = trained(suite), []
    assert suite.variant
    for variant in suite.variant:
        there = trained(suite.varied(variant))
        changed = {what for what, key in there.items() if key != plain[what]}
        assert changed, f"{variant} is the suite itself"
        assert there not in seen, f"{variant} is another variant"
        seen.append(there)


def test_another_head_or_fusion_leaves_the_old_ones_keys_behind(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(
        TINY + '[variant.x]\nhead = {name = "otam"}\nteacher = {fusion = {name = "concat", episodes = 3}}\n'
    )
    varied = load_suite(str(path)).varied("x")
    assert (varied.head.name, varied.teacher.fusion.name, varied.teacher.fusion.episodes) == ("otam", "concat", 3)
    assert varied.teacher.fusion.way == 3
    direct = load_suite(str(path), ("head.name=otam", "head.smoothing=0.2", "teacher.fusion.name=mean"))
    assert (direct.head.smoothing, direct.teacher.fusion.name) == (0.2, "mean")
    with pytest.raises(UserError, match="'otam' does not read tuple_sizes"):
        load_suite(str(path), ("head.name=otam", "head.tuple_sizes=[2]"))


def test_an_override_reaches_every_variant(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY + VARIANTS)
    suite = load_suite(str(path), ("head.width=4", "variant.drawn.head.width=6"))
    assert [version.head.width for _, version in suite.versions()] == [4, 6, 4, 8]
    with pytest.raises(UserError, match=r"variant\.drawn: head\.width"):
        load_suite(str(path), ("variant.drawn.head.width=0",))


def test_the_support_as_drawn_is_what_the_released_code_computes() -> None:
    generator = torch.Generator().manual_seed(0)
    labels, tokens = torch.arange(3).repeat_interleave(2), torch.randn(8, 2, 5, generator=generator)
    found = set()
    for episode in range(20):
        rows = torch.arange(8) + 8 * episode
        drawn = shuffled(labels, rows, 0)
        assert torch.equal(drawn, shuffled(labels, rows, 0)) and torch.equal(drawn.sort().values, labels)
        output = with_support_labels(EpisodeOutput({}, torch.empty(0), {"ce": tokens}), drawn, 3)
        order = drawn.argsort(stable=True)  # the order in which the released code would meet these videos
        expected = support_distances(tokens[:6][order], labels, 3)
        torch.testing.assert_close(output.support_distances, expected)
        found.add(tuple(drawn.tolist()))
    assert len(found) > 10


def test_a_finished_suite_asks_for_no_weights_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(ws: Workspace) -> None:
        raise AssertionError("a network was built, and with it weights were asked for")

    done = [
        Standing(row, {1: key_of(record_identity(workspace.varied(row.variant), row, 1))}, {1: "done"})
        for row in rows(workspace)
    ]
    monkeypatch.setattr(runner, "status", lambda ws, only=(): done)
    monkeypatch.setattr(runner, "_check_networks", built)
    monkeypatch.setattr(runner, "_relabel", lambda ws, owners: None)  # there are no records to label
    assert runner.run(workspace) == done
    with pytest.raises(AssertionError, match="a network was built"):
        runner.run(workspace, overwrite=True)
