"""Suites of skeleton networks: what may not be asked for, whose clips train, stages that resume, sums of streams."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fewdistill.benchmark.api import load_suite
from fewdistill.benchmark.data.skeletons import ClipEntry
from fewdistill.benchmark.data.skeletons.sampling import SAMPLING, SamplingConfig
from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet
from fewdistill.benchmark.data.skeletons.topology import topology
from fewdistill.benchmark.protocols.supervised.network import network_stage, parts
from fewdistill.benchmark.protocols.supervised.suite import SkeletonData, SplitConfig
from fewdistill.benchmark.runtime.errors import DataError, UserError
from fewdistill.benchmark.suite.networks import RecipeConfig
from tests.skeleton_suites import bench_of, make, make_interrupted, write_suite


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("recipe.epoch=3", "unknown key 'recipe.epoch': did you mean epochs"),
        ("recipe.epochs=1", "decay at 1 does not fit into epochs = 1"),
        ("recipe.warmup=2", "warmup = 2 does not fit into epochs = 2"),
        ('teacher="ctr_gnc"', "unknown skeleton student 'ctr_gnc': did you mean ctr_gcn"),
        ('teacher="dke_gcn"', "students.dke_gcn is the teacher"),
        ('students.dke_gcn.self="dke_gcn/dkdd"', "did you mean dke_gcn/dkd"),
        ('students.dke_gcn.dkd="dke_gcn/self"', "its teachers lead back to itself"),
        ('students.dke_gcn.dkd={loss="kd"}', "students.dke_gcn.dkd.loss: supervised networks are distilled by dkd"),
        ('students.dke_gcn.none="teacher"', "needs a name other than none"),
        ('streams=["joints"]', "unknown stream 'joints': did you mean joint"),
        ('streams=["joint"]', "ensembles.two: bone is not in streams"),
        ("ensembles.two={joint=1.0}", "sum two streams or more"),
        ("ensembles.joint={joint=1.0, bone=1.0}", "that is no stream's"),
        ('data.split="cross_viev"', "is not of nw_ucla: did you mean cross_view"),
        ('data.layout="ucla"', "unknown skeleton layout 'ucla'"),
        ('data.split_by={field="view", train=[1], test=[2]}', "give split = one of cross_view, or split_by"),
        ('protocol="supervisde"', "unknown protocol 'supervisde': did you mean supervised"),
        ('bf16=["resnet18"]', "bf16"),
        ("seeds=[0, 0]", "each once"),
        ("variant.x.data.root=x", "variant.x: data.root must stay the suite's"),
        ("variant.x.recipe.epochs=1", "variant.x: recipe"),
    ],
)
def test_what_cannot_be_is_refused_before_any_clip_is_read(tmp_path: Path, setting: str, says: str) -> None:
    path = write_suite(tmp_path, clips=False)
    with pytest.raises(UserError, match=r"tiny\.toml") as error:
        load_suite(str(path), (setting,))
    assert says in str(error.value)


def test_selection_of_the_best_needs_clips_to_select_on(tmp_path: Path) -> None:
    path = write_suite(tmp_path, clips=False)
    with pytest.raises(UserError, match=r"needs data\.val_subjects"):
        load_suite(str(path), ('recipe.select="best"', "data.val_subjects=[]"))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("data.val_subjects=[9]", "9 is no subject of the training part: it has 1, 2, 3"),
        ("data.val_subjects=[1, 2, 3]", "leave some to train"),
    ],
)
def test_subjects_that_cannot_validate_are_named(tmp_path: Path, setting: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        bench_of(tmp_path, (setting,))


def a_set(clips: list[tuple[int, int, int]], classes: tuple[str, ...] = ("a", "b")) -> SkeletonSet:
    """Clips of one frame: (label, subject, view)."""
    skeleton = topology("nw_ucla20")
    entries = tuple(
        ClipEntry(f"c{place:03}", Path(f"{place}"), label, subject=subject, view=view)
        for place, (label, subject, view) in enumerate(clips)
    )
    frames = np.ones((len(clips), 3, 20, 1), np.float32)
    offsets = np.arange(len(clips) + 1)
    return SkeletonSet("nw_ucla", skeleton, 1, classes, entries, {}, frames, offsets, "0" * 64)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 5), st.integers(1, 3)), min_size=3, max_size=40),
    st.sets(st.integers(1, 5), max_size=3),
    st.sampled_from(["view", "subject"]),
)
def test_no_clip_leaks_from_one_part_into_another(
    clips: list[tuple[int, int, int]], held: set[int], field: str
) -> None:
    ours = a_set(clips)
    rule = SplitConfig(field=field, train=(1, 2), test=(3,))
    data = SkeletonData(layout="nw_ucla", root="x", split_by=rule, val_subjects=tuple(held))
    try:
        found = parts(ours, data)
    except DataError:
        return  # an empty part, or a subject that is not there
    train, val, test = (set(found[name].tolist()) for name in ("train", "val", "test"))
    side = {place: clips[place][2 if field == "view" else 1] for place in range(len(clips))}
    assert not train & val and not train & test and not val & test
    assert {side[place] for place in test} == {3} and {side[place] for place in train | val} <= {1, 2}
    assert test == {place for place, value in side.items() if value == 3}
    assert train | val == {place for place, value in side.items() if value in (1, 2)}
    subjects = {name: {clips[place][1] for place in places} for name, places in (("train", train), ("val", val))}
    assert not subjects["train"] & subjects["val"] and subjects["val"] <= held


def test_turns_are_given_in_degrees_and_default_to_the_layout() -> None:
    def recipe(**settings: Any) -> SamplingConfig:
        return SkeletonData(layout="nw_ucla", root="x", split="cross_view", **settings).recipe

    assert recipe() == SAMPLING["nw_ucla"]
    assert recipe(frames=26, mirror=True) == replace(SAMPLING["nw_ucla"], frames=26, mirror=True)
    assert recipe(rotation=(15, 60, 0)).rotation == pytest.approx((np.pi / 12, np.pi / 3, 0))
    with pytest.raises(ValidationError, match="rotation"):
        recipe(rotation=(15, 200, 0))
    assert recipe(window=(0.5, 1)).window == (0.5, 1)
    with pytest.raises(ValidationError, match="the smaller share comes first"):
        recipe(window=(1, 0.5))
    with pytest.raises(ValidationError, match="msr_action3d has crops of its own"):
        SkeletonData(layout="msr_action3d", root="x", split="cross_subject", window=(0.5, 1))


def test_what_is_trained_tells_of_a_mirror_or_a_window_where_there_is_one(tmp_path: Path) -> None:
    def sampling(*changes: str) -> dict[str, Any]:
        return bench_of(tmp_path, changes).run.data_settings["sampling"]

    plain = sampling()
    assert not {"mirror", "window"} & plain.keys()  # records from before them stay what they were
    assert sampling("data.mirror=true") == {**plain, "mirror": True}
    assert sampling("data.window=[0.5,1]") == {**plain, "window": [0.5, 1.0]}


def test_the_rate_rises_by_epochs_and_falls_where_it_should() -> None:
    recipe = RecipeConfig(epochs=65, warmup=5, decay=(35, 55), lr=0.1)
    rates = [recipe.rate(epoch * 7 + 6, 65 * 7) for epoch in range(65)]  # the last of seven steps of each
    assert rates[:6] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])
    assert [rates[epoch] for epoch in (34, 35, 54, 55, 64)] == pytest.approx([0.1, 0.01, 0.01, 0.001, 0.001])


def test_a_cosine_rises_and_falls_with_every_step() -> None:
    recipe = RecipeConfig(epochs=4, warmup=1, anneal="cosine", lr=0.1)
    rates = [recipe.rate(step, 400) for step in range(400)]
    assert rates[0] == pytest.approx(0.001) and max(rates) == rates[99] == rates[100] == pytest.approx(0.1)
    assert rates[250] == pytest.approx(0.05) and 0 < rates[399] < 1e-5
    assert (np.diff(rates[:100]) > 0).all() and (np.diff(rates[100:]) < 0).all()


def test_training_interrupted_anywhere_ends_in_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calm, broken = (
        network_stage(bench_of(tmp_path, runs=runs).run, "light_dke_gcn", "bone", "assistant", 0)
        for runs in ("runs", "other")
    )
    chain = [stage.label for stage in calm.walk()]
    assert chain == ["ctr_gcn-bone-teacher-s0", "dke_gcn-bone-dkd-s0", "light_dke_gcn-bone-assistant-s0"]
    make(calm)
    make_interrupted(broken, (3, 2, 1), monkeypatch)
    for ours, theirs in zip(calm.walk(), broken.walk(), strict=True):
        weights = theirs.weights()
        assert all(torch.equal(value, weights[name]) for name, value in ours.weights().items()), ours.label
    summary = calm.summary()
    validated = [point["step"] for point in summary["curve"] if "val_accuracy" in point]
    assert validated == [0, 2, 4] and summary["selected_step"] == 4, "eight clips in two batches, two epochs: the last"
    assert {"ce", "target", "non_target"} <= summary["curve"][1].keys()


def test_a_variant_shares_what_it_does_not_change(tmp_path: Path) -> None:
    alone = ('teacher="light_dke_gcn"', "students={}", "ensembles={}", 'streams=["joint"]')
    opened = bench_of(tmp_path, (*alone, "variant.cold.dkd.temperature=2.0", "variant.slow.recipe.lr=0.01"))
    plain, cold, slow = opened.rows()
    assert [row.name for row in opened.rows()] == [f"light_dke_gcn-joint/-/s0{at}" for at in ("", "@cold", "@slow")]
    assert cold.keys == plain.keys != slow.keys, "a teacher does not know of cold"
