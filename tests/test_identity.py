"""What a setting is part of: the pieces that read it change their identity, the others keep it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fewdistill.benchmark.protocols.episodic.student import base_stage, student_stage
from fewdistill.benchmark.protocols.episodic.teacher import encoder_stage
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.training.initial_weights import weights_identity
from tests.video_suites import run_on, small_folder, video_suite

Opened = Callable[..., VideoRun]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Opens the embedded suite with changes."""
    home = tmp_path_factory.mktemp("home")
    folder = small_folder(home / "set")
    return lambda *changes: run_on(folder, video_suite("embedded", changes), home)


def base(run: VideoRun, setting: str, student: str = "resnet18") -> dict[str, Any]:
    return base_stage(run, student, setting, 0).identity


def student(run: VideoRun, setting: str) -> dict[str, Any]:
    """All but the base, which has a function of its own."""
    return {
        name: value for name, value in student_stage(run, "resnet18", setting, 0).identity.items() if name != "base"
    }


def encoder(run: VideoRun, modality: str) -> dict[str, Any]:
    return encoder_stage(run, modality, 0).identity


BASES = {"none", "kd", "tokens", "d2m", "both", "tokens+kd"}
STUDENTS = {"none", "tokens", "d2m", "both"}
ENCODERS = {"rgb", "skeleton", "joints"}


@pytest.mark.parametrize(
    ("part", "every", "change", "changed"),
    [
        (base, BASES, "base.token_weight=7", {"tokens", "both", "tokens+kd"}),
        (base, BASES, "base.relation_weight=7", {"d2m", "both"}),
        (base, BASES, "base.token_target=rgb", {"tokens", "d2m", "both", "tokens+kd"}),
        (base, BASES, "base.lr=7e-7", BASES),
        (student, STUDENTS, "episodic.token_weight=7", {"tokens", "both"}),
        (student, STUDENTS, "distiller.d2m.query_weight=7", {"d2m", "both"}),
        (student, STUDENTS, "base.token_target=rgb", {"tokens", "both"}),
        (student, STUDENTS, "episodic.lr=7e-7", STUDENTS),
        (encoder, ENCODERS, "teacher.expert.joints.network=st_gcn", {"joints"}),
        (encoder, ENCODERS, "teacher.expert.joints.rotation=0.0", {"joints"}),
        (encoder, ENCODERS, "teacher.expert.joints.frames=32", {"joints"}),
        (encoder, ENCODERS, "teacher.own.joints.base.epochs=9", {"joints"}),
        (encoder, ENCODERS, "teacher.own.skeleton.episodic.lr=1e-9", {"skeleton"}),
        (encoder, ENCODERS, "teacher.encoder=resnet34", {"rgb", "skeleton"}),
        (encoder, ENCODERS, "teacher.weights=imagenet", {"rgb", "skeleton"}),
        (encoder, ENCODERS, "teacher.base.epochs=9", ENCODERS),
        (encoder, ENCODERS, "bf16=[]", {"rgb", "skeleton"}),
        (encoder, ENCODERS, 'bf16=["resnet18", "ctr_gcn"]', {"joints"}),
    ],
)
def test_a_setting_belongs_to_what_reads_it(
    suite: Opened, part: Callable[..., dict[str, Any]], every: set[str], change: str, changed: set[str]
) -> None:
    known = ("base.relation_weight=1",) if part is base else ()
    before, after = suite(*known), suite(*known, change)
    assert {name for name in every if part(after, name) != part(before, name)} == changed


def test_settings_share_a_base_that_they_train_alike(suite: Opened) -> None:
    plain, without, with_it = suite(), suite("base.relation_weight=0"), suite("base.relation_weight=1")
    assert base(plain, "none") == base(plain, "kd") and base(plain, "tokens") == base(plain, "tokens+kd")
    assert base(without, "d2m") == base(without, "none") and base(without, "both") == base(without, "tokens")
    assert len({str(base(with_it, name)) for name in ("none", "tokens", "d2m", "both")}) == 4


def test_a_students_own_settings_are_its_own(suite: Opened) -> None:
    own = suite("own.mobilenetv3_small.base.epochs=30", "own.mobilenetv3_small.episodic.lr=1e-9")
    assert base(own, "none") == base(suite(), "none")
    changed, plain = (base(run, "none", "mobilenetv3_small") for run in (own, suite()))
    assert changed["base"] == {**plain["base"], "epochs": 30}


def test_coordinates_are_read_by_the_network_that_is_named(suite: Opened) -> None:
    named = encoder(suite("teacher.expert.joints.network=dke_gcn"), "joints")
    assert (named["backbone"], named["weights"], named["bf16"]) == ("dke_gcn", "random", False)
    assert encoder(suite(), "rgb")["backbone"] == "resnet18"


def test_given_weights_still_follow_a_token_target(suite: Opened) -> None:
    given = suite('weights="imagenet"', "base.relation_weight=0")
    other = suite('weights="imagenet"', "base.relation_weight=0", "base.token_target=rgb")
    assert base(given, "tokens") == base(other, "tokens") and student(given, "tokens") != student(other, "tokens")
    assert student(given, "none") == student(other, "none")


def test_weights_are_known_by_content_not_by_path(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pt", tmp_path / "b.pt"
    torch.save({"x": torch.ones(2)}, first)
    second.write_bytes(first.read_bytes())
    assert weights_identity("resnet18", str(first)) == weights_identity("resnet18", str(second))
    second.write_bytes(first.read_bytes() + b"0")
    assert weights_identity("resnet18", str(first)) != weights_identity("resnet18", str(second))
    assert weights_identity("resnet18", "imagenet") != weights_identity("resnet50", "imagenet")
    with pytest.raises(UserError, match="no such file"):
        weights_identity("resnet18", str(tmp_path / "absent.pt"))
