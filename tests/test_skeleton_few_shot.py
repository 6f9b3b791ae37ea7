"""Suites of skeleton episodes: what may not be asked for, whose classes train, resumption, what a teacher changes."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewdistill.benchmark.api import load_suite, open_loaded
from fewdistill.benchmark.data.dataset import all_videos
from fewdistill.benchmark.data.skeletons import LAYOUTS
from fewdistill.benchmark.data.skeletons.class_splits import class_splits
from fewdistill.benchmark.data.skeletons.readers.msr_action3d import CLASSES
from fewdistill.benchmark.data.skeletons.readers.nw_ucla import CLASSES as UCLA
from fewdistill.benchmark.graph.protocol import RunOptions
from fewdistill.benchmark.protocols.episodic.opening import OpenedSkeletons
from fewdistill.benchmark.protocols.episodic.skeleton_suite import ClassSplit, SkeletonEpisodicSuite
from fewdistill.benchmark.protocols.episodic.skeletons import (
    JoinedData,
    SkeletonRun,
    network_stage,
    split_labels,
    teacher_outputs,
    token_rows,
)
from fewdistill.benchmark.runtime.errors import DataError, UserError
from fewdistill.benchmark.suite.load import SUITES
from fewdistill.benchmark.training import episodic
from fewdistill.benchmark.training.loop import Plan
from fewdistill.results.records.record import Record
from fewdistill.results.records.store import RecordStore
from tests.skeleton_suites import arena_of, make, make_interrupted, run_here, write_clips, write_few_shot
from tests.test_skeleton_suite import a_set

LIGHT = ('teacher="light_dke_gcn"', "students={}")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("recipe.epoch=3", "unknown key 'recipe.epoch': did you mean epochs"),
        ('protocol="episodes"', "unknown protocol 'episodes': did you mean episodic"),
        ('teacher="ctr_gnc"', "unknown skeleton student 'ctr_gnc': did you mean ctr_gcn"),
        ('students.dke_gcn.self="dke_gcn/dkdd"', "did you mean dke_gcn/dkd"),
        ('stream="joints"', "unknown stream 'joints': did you mean joint"),
        ('data.split="classes_10_5_5"', "give split = one of classes_10_5_5, classes_15_5, or classes"),
        ('data.classes.test=["hammer"]', "class 'hammer' stands in it twice"),
        ("data.classes.test=[]", "tests no class: give [test_data]"),
        ('test_data={layout="nw_ucla", root="x"}', "has test classes, and [test_data] would test too"),
        ('test_data={layout="ucla", root="x"}', "unknown skeleton layout 'ucla'"),
        ('head={name="mean_cosin"}', "did you mean mean_cosine"),
        ('head={name="trx", tuple_sizes=[2, 4]}', "head:"),
        ('head={name="trx", tuple_sizes=[2]}', "teacher_episodic.episodes = 0 leaves the weights of head.name = 'trx'"),
        ("distiller.kdd.weight=2.0", "unknown distiller 'kdd': did you mean"),
        ('students.dke_gcn.kd={loss="kdd"}', "unknown distiller 'kdd'"),
        ('students.dke_gcn.mse={loss="rkd", teacher="dke_gcn/mse"}', "its teachers lead back to itself"),
        ("distiller.dkd.gamma=2.0", "distiller.dkd.gamma: unknown key"),
        ("variant.x.data.split=9", "variant.x: data.split must stay the suite's"),
        ("variant.x.evaluate.way=3", "variant.x: evaluate must stay the suite's"),
    ],
)
def test_what_cannot_be_is_refused_before_any_clip_is_read(tmp_path: Path, setting: str, says: str) -> None:
    with pytest.raises(UserError, match=r"few\.toml") as error:
        load_suite(str(write_few_shot(tmp_path, clips=False)), (setting,))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("evaluate.way=3", "evaluate.way = 3 is larger than the val split's 2 classes"),
        ("evaluate.shots=[1, 4]", "shot \\+ query = 5, but class '.*' of the test split has 4 videos"),
        ("episodic.way=3", "episodic.way = 3 is larger than the train split's 2 classes"),
        ('data.classes.test=["draw x", "golf swing"]', "no clip of class 'golf swing'"),
        ('data.classes.test=["draw x", "hand clip"]', "no clip of class 'hand clip': did you mean hand clap"),
    ],
)
def test_what_does_not_fit_the_clips_is_refused_before_training(tmp_path: Path, setting: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        arena_of(tmp_path, (setting,))
    assert not (tmp_path / "runs").exists()


def test_shipped_splits_of_classes_follow_their_rule() -> None:
    for layout, known in {"msr_action3d": CLASSES, "nw_ucla": tuple(UCLA.values())}.items():
        drawn = sorted(known, key=lambda name: sha256(name.encode()).hexdigest())
        assert class_splits(layout)
        for found in class_splits(layout).values():
            assert [*found["train"], *found["val"], *found["test"]] == drawn and found["source"]
            ClassSplit(train=found["train"], val=found["val"], test=found["test"])
    assert class_splits("npy") == {} and set(class_splits("msr_action3d")) == {"classes_10_5_5", "classes_15_5"}


def test_shipped_suites_are_sound_and_absent_data_are_one_line(tmp_path: Path) -> None:
    options = RunOptions(tmp_path / "runs", tmp_path / "data", "cpu")
    for name in ("dke_gcn_msr_fewshot", "dke_gcn_ucla_to_msr", "dke_gcn_msr_to_ucla"):
        suite = load_suite(name, (f'data.root="{tmp_path / "none"}"',))
        assert isinstance(suite, SkeletonEpisodicSuite) and (SUITES / f"{name}.toml").is_file()
        with pytest.raises(DataError, match=r"https://wangjiangb\.github\.io/my_data\.html") as error:
            open_loaded(suite, options)
        assert LAYOUTS[suite.data.layout].download in str(error.value)
    write_clips(tmp_path / "ucla")
    other = (f'data.root="{tmp_path / "ucla"}"', f'test_data.root="{tmp_path / "lost"}"')
    suite = load_suite("dke_gcn_ucla_to_msr", other)
    assert isinstance(suite, SkeletonEpisodicSuite)
    with pytest.raises(DataError, match=r"lost: no such folder.*MSR-Action3D"):
        open_loaded(suite, options)
    assert not (tmp_path / "runs").exists()


@settings(deadline=None, max_examples=15)
@given(st.permutations(list("abcdefg")), st.integers(2, 3), st.integers(2, 3), st.booleans())
def test_no_class_leaks_from_one_split_into_another(names: list[str], train: int, val: int, across: bool) -> None:
    clips = a_set([(place % 7, 1, 1) for place in range(21)], tuple("abcdefg"))
    division = {"train": names[:train], "val": names[train : train + val], "test": names[train + val :]}
    values = {"name": "x", "protocol": "episodic", "teacher": "light_dke_gcn"}
    data = {"layout": "nw_ucla", "root": "x", "classes": division}
    if across:  # the last three classes are another data set's
        own = [name for name in names if name in "abcd"]
        data["classes"] = division = {"train": own[:2], "val": own[2:], "test": []}
        values["test_data"] = {"layout": "msr_action3d", "root": "y"}
    suite = SkeletonEpisodicSuite.model_validate({**values, "data": data})
    found = split_labels(suite, JoinedData(clips, 4 if across else 7, ""))
    told = {split: {clips.classes[label] for label in labels} for split, labels in found.items()}
    assert told == {**{k: set(v) for k, v in division.items()}, **({"test": set("efg")} if across else {})}
    assert sum(map(len, found.values())) == len(set().union(*found.values())), "no class is in two of them"


def test_a_class_that_both_sets_have_must_be_left_out() -> None:
    clips = a_set([(place, 1, 1) for place in range(8)], ("a", "b", "c", "d", "d", "e", "f", "g"))
    values = {"name": "x", "protocol": "episodic", "teacher": "light_dke_gcn"}
    values |= {"data": {"layout": "nw_ucla", "root": "x", "classes": {"train": ["a", "b"], "val": ["c", "d"]}}}
    for left_out in ([], ["d"]):
        other = {"layout": "msr_action3d", "root": "y", "leave_out": left_out}
        suite = SkeletonEpisodicSuite.model_validate({**values, "test_data": other})
        if left_out:
            assert split_labels(suite, JoinedData(clips, 4, ""))["test"] == (5, 6, 7)
        else:
            with pytest.raises(DataError, match=r"class 'd' is in both data sets.*leave_out"):
                split_labels(suite, JoinedData(clips, 4, ""))


LEARNER = ("light_dke_gcn", "assistant", 0)
TEACHER = ("dke_gcn", "dkd", 0)
ITS_TEACHER = ("ctr_gcn", "-", 0)
ALONE = ("dke_gcn", "none", 0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calm")


@pytest.fixture(scope="module")
def calm(home: Path) -> SkeletonRun:
    """A student alone, then a chain of three, trained undisturbed."""
    run = arena_of(home).run
    make(network_stage(run, *ALONE))
    trained = {path.name.split("-s0")[0] for path in (run.context.runs / "stages").iterdir()}
    assert trained == {"skeleton-base-dke_gcn-joint", "skeleton-episodes-dke_gcn-joint-none"}, "without a teacher"
    make(network_stage(run, *LEARNER))
    return run


def test_training_interrupted_anywhere_ends_in_the_same_bits(
    home: Path, calm: SkeletonRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = arena_of(home, runs="broken", cache="other").run
    one, two = (network_stage(run, *LEARNER) for run in (calm, broken))
    for named, teacher in ((LEARNER, TEACHER), (TEACHER, ITS_TEACHER)):
        assert network_stage(broken, *named).teacher is network_stage(broken, *teacher)
    make_interrupted(two, (1,) * 5, monkeypatch)  # three trainings by labels and two in episodes
    for ours, theirs in zip(one.walk(), two.walk(), strict=True):
        weights = theirs.weights()
        assert all(torch.equal(value, weights[name]) for name, value in ours.weights().items()), ours.label
    cached = [token_rows(run, *TEACHER).open().gather(all_videos(calm.data)) for run in (calm, broken)]
    assert cached[0].dtype == "float32" and cached[0].shape == (24, 2, 256) and (cached[0] == cached[1]).all()


def test_a_teacher_changes_the_student_and_nothing_that_the_other_one_sees(home: Path, calm: SkeletonRun) -> None:
    curves = [network_stage(calm, *named).summary()["curve"] for named in (ALONE, TEACHER)]
    first = [next(point for point in curve if "ce" in point) for curve in curves]
    assert first[0]["ce"] == first[1]["ce"], "the same weights on the same episodes, once without the other term"
    assert first[0]["loss"] == first[0]["ce"] < first[1]["loss"] and "target" in first[1] and "target" not in first[0]
    last = [curve[-2]["ce"] for curve in curves]
    assert last[0] != last[1], "the second step starts from other weights"
    again = arena_of(home, ("distiller.dkd.beta=800.0",)).run
    assert network_stage(again, *ALONE).key == network_stage(calm, *ALONE).key
    assert network_stage(again, *TEACHER).key != network_stage(calm, *TEACHER).key
    rows, labels = torch.tensor([0, 4, 1, 5]), torch.tensor([0, 1])
    outputs = teacher_outputs(calm, *TEACHER, frozenset())  # of the teacher's own teacher
    theirs = outputs(rows, labels, labels, 2).logits["fused"]
    with torch.no_grad():
        joints = calm.data.batch(calm.data.parts["train"][rows.numpy()], "joint")
        whole = calm.trained(*ITS_TEACHER)(joints, labels, 2)
    assert torch.allclose(theirs, whole.logits["ce"], atol=1e-5), "cached tokens say what the network says"


def finished(opened: OpenedSkeletons) -> list[str]:
    """The names of the rows, all of which are run to their end."""
    found = run_here(opened)
    assert all(each.done for each in found)
    return [each.row.name for each in found]


def recorded(opened: OpenedSkeletons) -> list[Record]:
    return RecordStore(opened.context.runs / "records").all()


def test_across_data_sets_and_streams_rows_are_ordinary_ones(tmp_path: Path) -> None:
    write_clips(tmp_path / "ucla")
    classes = 'data.classes={train=["hammer", "bend"], val=["jogging", "side kick"]}'
    test_data = f'test_data={{layout="nw_ucla", root="{tmp_path / "ucla"}"}}'
    opened = arena_of(tmp_path, (*LIGHT, classes, test_data, 'variant.bone.stream="bone"'))
    data, layout = opened.run.data, LAYOUTS["msr_action3d"](tmp_path / "data" / "msr_action3d")
    assert tuple(data.by_class("test")) == ("pick up with one hand", "pick up with two hands"), "those that have clips"
    assert data.train_classes == ("hammer", "bend") and len(data.videos("test")) == 18
    assert data.skeletons.skeleton.joints == layout.skeleton.joints
    assert finished(opened) == ["light_dke_gcn/-/s0", "light_dke_gcn/-/s0@bone"]
    records = recorded(opened)
    assert {record.cell.dataset for record in records} == {"msr_action3d to nw_ucla"} and len(records) == 4
    assert len({record.identity["episodes"] for record in records}) == 2, "one list a shot, whatever the stream"


def test_another_head_and_a_teacher_trained_in_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def last(*given: Any, **named: Any) -> Plan:
        return Plan(*given, **named, select="last")

    monkeypatch.setattr(episodic, "Plan", last)  # these clips are too easy for the start to lose
    head = 'head={name="trx", tuple_sizes=[2], width=8}'
    teach = "teacher_episodic={way=2, shot=1, query=1, episodes=2, validate_every=2}"
    opened = arena_of(tmp_path, (*LIGHT, head, teach, "evaluate.val_way=2", 'bf16=["light_dke_gcn"]'))
    finished(opened)
    (record, _) = recorded(opened)
    assert record.cell.head == "trx" and record.settings["base"]["bf16"] is True
    stage = network_stage(opened.run, "light_dke_gcn", "-", 0)
    assert [point["step"] for point in stage.summary()["curve"] if "loss" in point] == [1, 2]
    fresh = opened.run.new_network("light_dke_gcn", 0).state_dict()
    assert any(name.startswith("head.") and not torch.equal(v, fresh[name]) for name, v in stage.weights().items())
