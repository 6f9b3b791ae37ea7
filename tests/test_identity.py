"""What a setting is part of: the pieces that read it change their identity, the others keep it."""

from pathlib import Path

import pytest
import torch

from fewdistill.benchmark.protocols.episodic import identity
from fewdistill.benchmark.protocols.episodic.student import base_weights
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.suite.distillation import distillation
from fewdistill.benchmark.suite.load import load_suite
from fewdistill.benchmark.training.initial_weights import weights_identity


def suite(*changes: str) -> Suite:
    return load_suite("embedded", changes)


def base(of: Suite, setting: str, student: str = "resnet18") -> dict[str, object]:
    return identity.base(of, "content", student, base_weights(of, distillation(setting)), "teacher", 0)


def student(of: Suite, distillation: str) -> dict[str, object]:
    return identity.student(of, "base", distillation, None, 0)


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ("base.token_weight=7", {"tokens", "both", "tokens+kd"}),
        ("base.relation_weight=7", {"d2m", "both"}),
        ("base.token_target=rgb", {"tokens", "d2m", "both", "tokens+kd"}),
        ("base.lr=7e-7", {"none", "kd", "tokens", "d2m", "both", "tokens+kd"}),
    ],
)
def test_base_training_belongs_to_the_distillation_that_reads_it(change: str, changed: set[str]) -> None:
    every = {"none", "kd", "tokens", "d2m", "both", "tokens+kd"}
    before, after = suite("base.relation_weight=1"), suite("base.relation_weight=1", change)
    assert {name for name in every if base(after, name) != base(before, name)} == changed


def test_settings_share_a_base_that_they_train_alike() -> None:
    assert base(suite(), "none") == base(suite(), "kd") and base(suite(), "tokens") == base(suite(), "tokens+kd")
    without = suite("base.relation_weight=0")
    assert base(without, "d2m") == base(without, "none") and base(without, "both") == base(without, "tokens")
    with_it = suite("base.relation_weight=1")
    assert len({str(base(with_it, name)) for name in ("none", "tokens", "d2m", "both")}) == 4


def test_a_students_own_settings_are_its_own() -> None:
    own = suite("own.mobilenetv3_small.base.epochs=30", "own.mobilenetv3_small.episodic.lr=1e-9")
    assert base(own.of("resnet18"), "none") == base(suite(), "none")
    changed, plain = (base(of, "none", "mobilenetv3_small") for of in (own.of("mobilenetv3_small"), suite()))
    assert changed["base"] == {**plain["base"], "epochs": 30}


def encoder(of: Suite, modality: str) -> dict[str, object]:
    return identity.encoder(of, "content", modality, of.teacher.new_expert(modality).identity(), 0)


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ("teacher.expert.joints.network=st_gcn", {"joints"}),
        ("teacher.expert.joints.rotation=0.0", {"joints"}),
        ("teacher.expert.joints.frames=32", {"joints"}),
        ("teacher.own.joints.base.epochs=9", {"joints"}),
        ("teacher.own.skeleton.episodic.lr=1e-9", {"skeleton"}),
        ("teacher.encoder=resnet34", {"rgb", "skeleton"}),
        ("teacher.weights=imagenet", {"rgb", "skeleton"}),
        ("teacher.base.epochs=9", {"rgb", "skeleton", "joints"}),
        ("bf16=[]", {"rgb", "skeleton"}),
        ('bf16=["resnet18", "ctr_gcn"]', {"joints"}),
    ],
)
def test_an_encoder_is_its_own_network_and_training(change: str, changed: set[str]) -> None:
    every = {"rgb", "skeleton", "joints"}
    assert {name for name in every if encoder(suite(change), name) != encoder(suite(), name)} == changed


def test_coordinates_are_read_by_the_network_that_is_named() -> None:
    named = encoder(suite("teacher.expert.joints.network=dke_gcn"), "joints")
    assert (named["backbone"], named["weights"], named["bf16"]) == ("dke_gcn", "random", False)
    assert encoder(suite(), "rgb")["backbone"] == "resnet18"


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ("episodic.token_weight=7", {"tokens", "both"}),
        ("distiller.d2m.query_weight=7", {"d2m", "both"}),
        ("base.token_target=rgb", {"tokens", "both"}),
        ("episodic.lr=7e-7", {"none", "tokens", "d2m", "both"}),
    ],
)
def test_a_setting_belongs_to_the_distillation_that_reads_it(change: str, changed: set[str]) -> None:
    every = {"none", "tokens", "d2m", "both"}
    assert {name for name in every if student(suite(change), name) != student(suite(), name)} == changed


def test_given_weights_still_follow_a_token_target() -> None:
    given = suite('weights="imagenet"', "base.relation_weight=0")
    other = suite('weights="imagenet"', "base.relation_weight=0", "base.token_target=rgb")
    assert base(given, "tokens") == base(other, "tokens") and student(given, "tokens") != student(other, "tokens")
    assert student(given, "none") == student(other, "none")


def test_a_record_belongs_to_its_videos() -> None:
    assert identity.cell("trained", "a", "episodes", 5, 1, 1) != identity.cell("trained", "b", "episodes", 5, 1, 1)


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
