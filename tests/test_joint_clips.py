"""Coordinates as network input: turned and mirrored in training alone, cached once for all networks."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from fewdistill.benchmark.data.skeletons.joint_clips import JointClips
from fewdistill.benchmark.data.synthetic import EmbeddedSpec, generate
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.protocols.episodic.derive import derive_clips
from fewdistill.benchmark.protocols.episodic.encoders import encoder_stage, token_rows, tokens_stage
from fewdistill.benchmark.protocols.episodic.precheck import check_networks
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.benchmark.stage import needed
from fewdistill.students import StudentError
from fewdistill.teachers.modalities import PosedClip
from fewdistill.teachers.modalities.joints import Joints
from tests.command import TINY
from tests.skeleton_suites import make
from tests.teachers.poses import SKELETON, SWAP, posed
from tests.video_suites import run_on, version, video_suite

MOVES = np.cumsum(np.random.default_rng(0).normal(0, 0.05, (8, 3)), axis=0)
CLIP = Joints(frames=8).derive(posed(MOVES))
VARIANTS = """
[variant.other-network]
teacher = {expert = {joints = {network = "dke_gcn"}}}

[variant.shorter]
teacher = {expert = {joints = {frames = 16}}}
"""


def clips(rotation: float = 0.3, flip: bool = False) -> JointClips:
    return JointClips(lambda video, rng: CLIP, rotation, SKELETON.mirrored if flip else None, torch.device("cpu"))


def test_without_a_generator_clips_are_as_they_are() -> None:
    batch = clips(flip=True).frames(["a", "b"])
    assert batch.shape == (2, 3, 8, 11, 1) and batch.is_contiguous()
    np.testing.assert_array_equal(batch[1].permute(1, 2, 0, 3), CLIP)


def test_turns_are_of_the_whole_clip_about_its_origin() -> None:
    def drawn() -> torch.Tensor:
        return clips().frames(["a"] * 6, np.random.default_rng(3))

    batch = drawn()
    torch.testing.assert_close(batch, drawn(), rtol=0, atol=0)
    points = batch.permute(0, 2, 3, 4, 1).flatten(1, 3)
    plain = torch.from_numpy(CLIP).permute(0, 1, 3, 2).flatten(0, 2)
    for one in points:
        torch.testing.assert_close(torch.cdist(one, one), torch.cdist(plain, plain), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(one.norm(dim=1), plain.norm(dim=1), rtol=1e-4, atol=1e-5)
    assert len({tuple(one[5].tolist()) for one in points}) == 6
    np.testing.assert_array_equal(clips(rotation=0).pixels(["a"], np.random.default_rng(3))[0], CLIP)


def test_a_flip_is_the_clip_of_the_mirrored_person() -> None:
    source = posed(MOVES)
    other = source.joints[:, SWAP].copy()
    other[:, :, 0] *= -1
    mirrored = Joints(frames=8).derive(PosedClip(other, SKELETON))
    batch = clips(rotation=0, flip=True).pixels(["a"] * 40, np.random.default_rng(0))
    flipped = [bool(np.allclose(one, mirrored, atol=1e-6)) for one in batch]
    assert all(np.array_equal(one, CLIP) for one, yes in zip(batch, flipped, strict=True) if not yes)
    assert 10 < sum(flipped) < 30


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> VideoRun:
    root = tmp_path_factory.mktemp("joints")
    generate(
        root / "set",
        EmbeddedSpec(size=32, frames=6, clips_per_class=3, train_classes=3, val_classes=3, test_classes=3),
        workers=1,
    )
    text = TINY.replace('["rgb", "depth", "flow", "skeleton"]', '["rgb", "joints"]')
    (root / "tiny.toml").write_text(text.replace('token_target = "skeleton"', "") + VARIANTS)
    folder = VideoFolder(root / "set", frames=4, image_size=32, resize=32)
    return run_on(folder, video_suite(root / "tiny.toml"), root)


def test_networks_share_their_clips_and_nothing_else(run: VideoRun) -> None:
    names = ("", "other-network", "shorter")
    found = derive_clips(run, variants=names, workers=1)
    assert [(one.name, one.made) for one in found] == [("joints", 27), ("joints@shorter", 27)]
    assert len({encoder_stage(version(run, name), "joints", 0).key for name in names}) == 3
    assert len({encoder_stage(version(run, name), "rgb", 0).key for name in names}) == 1
    video = run.all_videos[0]
    clip = run.clips(run.expert("joints"), "resnet18").read(video, None)
    assert clip.shape == (64, 21, 3, 1) and clip.dtype == np.float32
    span = run.data.indices(video)  # 1 to 4 of six frames
    between = run.data.joints(video, every=True)[span[0] : span[-1] + 1]
    np.testing.assert_array_equal(clip, Joints().derive(PosedClip(between, run.data.skeleton)))


@pytest.mark.parametrize(
    ("network", "frames", "says"),
    [("ctr_gcn", 8, "8 frames of joints make 2 tokens, 4 are needed"), ("st_gcn", 16, "")],
)
def test_networks_that_do_not_fit_are_named_before_any_training(
    run: VideoRun, network: str, frames: int, says: str
) -> None:
    at = alone(run, network=network, frames=frames)
    with pytest.raises(StudentError, match=says) if says else nullcontext():
        check_networks(at)


def alone(run: VideoRun, bf16: tuple[str, ...] = (), **options: object) -> VideoRun:
    """The run of a suite whose teacher reads joints alone."""
    teacher = run.suite.teacher.model_copy(update={"expert": {"joints": options}, "modalities": ("joints",)})
    suite = run.suite.model_copy(update={"students": (), "variant": {}, "teacher": teacher, "bf16": bf16})
    return VideoRun(suite, run.data, run.context)


def test_tokens_are_cached_and_found_again(run: VideoRun) -> None:
    at = alone(run, network="light_dke_gcn", frames=16)
    make(tokens_stage(at, "joints", 0))
    tokens = token_rows(at, "joints", 0).open().gather(at.all_videos)
    assert tokens.shape == (27, 4, 16) and np.isfinite(tokens).all()
    assert len({row.tobytes() for row in tokens}) == 27
    later = alone(run, network="light_dke_gcn", frames=16)
    assert needed([tokens_stage(later, "joints", 0)]) == []  # nothing is trained or embedded again
    np.testing.assert_array_equal(token_rows(later, "joints", 0).open().gather(at.all_videos), tokens)
    other = needed([tokens_stage(alone(run, network="st_gcn", frames=16), "joints", 0)])
    assert [stage.kind for stage in other] == ["encoder", "tokens"]


def test_coordinates_train_in_bfloat16_where_the_suite_names_their_network(run: VideoRun) -> None:
    at = alone(run, bf16=("ctr_gcn",), network="ctr_gcn", frames=16)
    make(tokens_stage(at, "joints", 0))
    assert np.isfinite(token_rows(at, "joints", 0).open().gather(at.all_videos)).all()
    plain = alone(run, network="ctr_gcn", frames=16)
    assert encoder_stage(at, "joints", 0).key != encoder_stage(plain, "joints", 0).key


def test_a_missing_file_is_named_before_any_work(run: VideoRun) -> None:
    path = run.data.locate(run.all_videos[2], "joints")
    aside = path.rename(path.with_suffix(".aside"))
    lacking = VideoFolder(run.data.root, frames=4, image_size=32, resize=32)
    at = VideoRun(run.suite, lacking, run.context)
    with pytest.raises(DataError, match="no joints of this video") as caught:
        derive_clips(at, workers=1)
    aside.rename(path)
    assert path.stem in str(caught.value)


def test_a_joint_that_is_never_seen_is_named_with_its_file(run: VideoRun) -> None:
    path = run.data.locate(run.all_videos[3], "joints")
    joints = np.load(path)
    joints[:, 2] = 0
    np.save(path, joints)
    name = run.data.skeleton.joints[2]
    broken = VideoFolder(run.data.root, frames=4, image_size=32, resize=32)
    at = VideoRun(run.suite, broken, run.context)
    with pytest.raises(DataError, match=f"joint '{name}' is never seen") as caught:
        derive_clips(at, workers=1)
    assert str(path) in str(caught.value)
