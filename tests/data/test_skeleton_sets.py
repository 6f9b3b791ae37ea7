"""Whole skeleton sets: packed, split, remembered, and as they really are where the real ones are at hand."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewdistill.benchmark.data.skeletons import skeleton_set
from fewdistill.benchmark.data.skeletons.check import check
from fewdistill.benchmark.data.skeletons.joined import joined
from fewdistill.benchmark.data.skeletons.sampling import SAMPLING, ClipSampler
from fewdistill.benchmark.data.skeletons.skeleton_set import SkeletonSet, load
from fewdistill.benchmark.data.skeletons.splits import published_split, split_by, split_names
from fewdistill.benchmark.data.skeletons.topology import order, topology
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.teachers.modalities import Skeleton
from tests.data.skeleton_files import body, made_ntu, made_nw_ucla, real, write, write_msr, write_nw_ucla


def test_a_packed_set_holds_what_the_reader_reads(tmp_path: Path) -> None:
    data = load(made_nw_ucla(tmp_path), "nw_ucla")
    assert len(data) == 18 and data.lengths.tolist()[:4] == [12, 30, 1, 70] and data.frames.shape[1:] == (3, 20, 1)
    assert sorted(set(data.labels.tolist())) == [0, 6, 9]
    for place, entry in enumerate(data.entries):
        read = skeleton_set.open_layout(tmp_path, "nw_ucla").read(entry.path)
        assert np.array_equal(data.clip(place), read)
    train, test = data.split("cross_view")
    assert {data.entries[place].view for place in train} == {1, 2} and {data.entries[p].view for p in test} == {3}
    assert ClipSampler(data).batch(test).shape == (6, 3, 52, 20, 1)


def test_the_hash_follows_the_files(tmp_path: Path) -> None:
    root = made_nw_ucla(tmp_path)
    before = load(root, "nw_ucla").content_hash
    assert load(root, "nw_ucla").content_hash == before
    path = root / "all_sqe" / "a01_s01_e00_v01.json"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    assert load(root, "nw_ucla").content_hash != before


def test_large_sets_are_read_by_processes_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made_ntu(tmp_path)
    plain = load(root, "ntu", workers=1)
    kept = root / ".fewdistill" / "skeletons_ntu.npz"
    assert not kept.parent.exists() and plain.frames.shape[1:] == (3, 25, 2)
    monkeypatch.setattr(skeleton_set, "MANY", 2)
    by_many = load(root, "ntu", workers=2)
    assert np.array_equal(by_many.frames, plain.frames) and kept.exists()
    monkeypatch.setattr(skeleton_set, "read_clips", None)  # nothing is read again
    again = load(root, "ntu")
    assert np.array_equal(again.frames, plain.frames) and np.array_equal(again.offsets, plain.offsets)
    monkeypatch.undo()
    monkeypatch.setattr(skeleton_set, "MANY", 2)
    kept.write_bytes(kept.read_bytes()[:1000])
    assert np.array_equal(load(root, "ntu", workers=1).frames, plain.frames)
    os.utime(kept, (0, 0))
    (root / "S018C003P041R001A061.skeleton").unlink()
    assert len(load(root, "ntu", workers=1)) == 2 and kept.stat().st_mtime > 0


def test_a_broken_set_is_refused_with_its_first_problem_and_their_number(tmp_path: Path) -> None:
    root = made_nw_ucla(tmp_path)
    for name in ("a01_s01_e00_v02", "a12_s02_e00_v03"):
        write(root / "all_sqe" / f"{name}.json", "{")
    with pytest.raises(DataError, match=r"a01_s01_e00_v02\.json: not readable JSON .* \(and 1 more; .*data check"):
        load(root, "nw_ucla")
    summary, problems = check(root, "nw_ucla")
    assert [Path(problem.path).stem for problem in problems] == ["a01_s01_e00_v02", "a12_s02_e00_v03"]
    assert summary.clips == 16 and summary.views == [1, 2, 3] and summary.lengths == (1, summary.lengths[1], 70)


def test_the_published_empty_clip_of_msr_is_left_out_by_name(tmp_path: Path) -> None:
    write_msr(tmp_path, "a13_s09_e02", np.zeros((38, 20, 3)))
    _, problems = check(tmp_path, "msr_action3d")
    assert "all clips are left out" in str(problems[0])
    with pytest.raises(DataError, match="all clips are left out; get MSR-Action3D"):
        load(tmp_path, "msr_action3d")
    write_msr(tmp_path, "a13_s09_e01", body(topology("msr20"), 4))
    data = load(tmp_path, "msr_action3d")
    assert list(data.left_out) == ["a13_s09_e02"] and [entry.id for entry in data.entries] == ["a13_s09_e01"]


def test_an_unknown_layout_is_named_with_those_near_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown skeleton layout 'nwucla': did you mean nw_ucla"):
        load(tmp_path, "nwucla")


# --- splits ----------------------------------------------------------------------------------------------------------


def test_published_splits_are_complete() -> None:
    assert split_names("nw_ucla") == ("cross_view",) and split_names("npy") == ()
    from fewdistill.benchmark.data.skeletons.splits import _table

    ntu = _table()["ntu"]
    for name, people in (("cross_subject_60", 40), ("cross_subject_120", 106)):
        assert sorted(ntu[name]["train"] + ntu[name]["test"]) == list(range(1, people + 1))
        assert len(ntu[name]["train"]) == {40: 20, 106: 53}[people]
    assert sorted(ntu["cross_setup_120"]["train"] + ntu["cross_setup_120"]["test"]) == list(range(1, 33))
    assert all(rule["source"] for table in _table().values() for rule in table.values())


def test_splits_of_ntu(tmp_path: Path) -> None:
    entries = skeleton_set.open_layout(made_ntu(tmp_path), "ntu").listing().entries
    train, test = published_split(entries, "ntu", "cross_subject_60")
    assert [entries[place].id for place in (*train, *test)] == ["S001C001P001R001A050", "S001C002P003R001A001"]
    train, test = published_split(entries, "ntu", "cross_setup_120")
    assert [entries[place].setup for place in train] == [18] and [entries[place].setup for place in test] == [1, 1]
    train, test = published_split(entries, "ntu", "cross_view_60")
    assert [entries[place].view for place in train] == [2] and [entries[place].view for place in test] == [1]


def test_splits_that_cannot_be(tmp_path: Path) -> None:
    entries = skeleton_set.open_layout(made_nw_ucla(tmp_path), "nw_ucla").listing().entries
    for arguments, says in (
        (("veiw", [1], [2]), "cannot split by 'veiw': did you mean view"),
        (("view", [1, 2], [2, 3]), "view 2 is to train and to test"),
        (("subject", [1], [7]), "no clip to test: subject is one of 1, 2"),
    ):
        with pytest.raises(DataError, match=says):
            split_by(entries, *arguments)
    with pytest.raises(DataError, match="unknown split 'cross_subject' of nw_ucla"):
        published_split(entries, "nw_ucla", "cross_subject")


# --- the bodies ------------------------------------------------------------------------------------------------------


def bone_variation(data: SkeletonSet, skeleton: Skeleton, joints: np.ndarray | None = None) -> np.ndarray:
    """Standard deviation over mean of each bone's length within a clip, median over clips of ten frames and more."""
    values = []
    for place in np.flatnonzero(data.lengths >= 10):
        clip = data.clip(place)[..., 0].astype(np.float64)
        clip = clip if joints is None else clip[:, joints]
        bones = np.linalg.norm(clip - clip[:, list(skeleton.parents)], axis=2)
        bones = np.delete(bones, skeleton.centre, axis=1)
        values.append(bones.std(axis=0) / np.maximum(bones.mean(axis=0), 1e-9))
    return np.median(values, axis=0)


def test_bones_of_made_clips_keep_their_length_under_their_own_topology_only(tmp_path: Path) -> None:
    for number in range(3):
        write_msr(tmp_path, f"a01_s01_e{number:02d}", body(topology("msr20"), 30, seed=number))
    data = load(tmp_path, "msr_action3d")
    assert bone_variation(data, topology("msr20")).max() < 1e-5
    assert bone_variation(data, topology("nw_ucla20")).max() > 0.05
    assert bone_variation(data, topology("nw_ucla20"), order("msr20", "nw_ucla20")).max() < 1e-5


def test_real_nw_ucla(tmp_path: Path) -> None:
    root = real("nw_ucla", tmp_path)
    data = load(root, "nw_ucla")
    assert len(data) == 1484 and len(data.classes) == 10 and np.bincount(data.labels).tolist() == [
        150, 152, 141, 173, 148, 149, 142, 142, 145, 142,
    ]  # fmt: skip
    assert len({e.subject for e in data.entries}) == 10 and {e.view for e in data.entries} == {1, 2, 3}
    assert (data.lengths.min(), data.lengths.max(), (data.lengths == 1).sum()) == (1, 201, 2)
    train, test = data.split("cross_view")
    assert (len(train), len(test)) == (1020, 464)
    # These bones vary by a tenth of their length within a clip under any list; how long they are tells the lists apart.
    own, strange = (_bone_lengths(data, topology(name)) for name in ("nw_ucla20", "msr20"))
    assert own.max() < 0.6 and own.sum() < 4.5 and strange.max() > 1.0 and strange.sum() > 9
    assert np.allclose(own[list(data.skeleton.left)], own[list(data.skeleton.right)], atol=0.02)
    batch = ClipSampler(data).batch(np.arange(len(data)), np.random.default_rng(0))
    assert batch.shape == (1484, 3, 52, 20, 1) and batch.abs().max() <= 1 + 1e-4


def test_real_msr_action3d(tmp_path: Path) -> None:
    data = load(real("msr_action3d", tmp_path), "msr_action3d")
    assert len(data) + len(data.left_out) == 567 and list(data.left_out) == ["a13_s09_e02"]
    assert len(data.classes) == 20 == len(set(data.labels.tolist())) and len({e.subject for e in data.entries}) == 10
    by_id = {entry.id: place for place, entry in enumerate(data.entries)}
    assert data.lengths[by_id["a13_s09_e03"]] == 196 and data.lengths[by_id["a07_s04_e01"]] == 9  # ends without anybody
    assert (data.frames != 0).any(axis=1).all()  # nobody is missing any more
    msr, ucla = topology("msr20"), topology("nw_ucla20")
    own, strange = bone_variation(data, msr), bone_variation(data, ucla)
    assert (
        np.median(own) < 0.002 and own.max() < 0.1 and strange.max() > 0.3 and np.median(strange) > 5 * np.median(own)
    )
    assert np.allclose(bone_variation(data, ucla, order("msr20", "nw_ucla20")).max(), own.max())


def _bone_lengths(data: SkeletonSet, skeleton: Skeleton) -> np.ndarray:
    """Median length of each joint's bone over all frames, metres, 0 at the centre."""
    places = data.frames[..., 0]
    return np.median(np.linalg.norm(places - places[:, :, list(skeleton.parents)], axis=1), axis=0)


def _leftness(data: SkeletonSet, skeleton: Skeleton) -> float:
    """Mean x of the left joints minus that of the right ones, metres."""
    return float(data.frames[:, 0, list(skeleton.left)].mean() - data.frames[:, 0, list(skeleton.right)].mean())


def test_left_is_the_same_side_in_both_real_sets(tmp_path: Path) -> None:
    ucla, msr = (load(real(name, tmp_path), name) for name in ("nw_ucla", "msr_action3d"))
    assert _leftness(ucla, ucla.skeleton) < -0.05 and _leftness(msr, msr.skeleton) < -0.05


def test_joined_sets_share_one_order_of_joints(tmp_path: Path) -> None:
    """A clip written in both orders is the same clip, from either side."""
    joints = body(topology("nw_ucla20"), 9, seed=3)
    write_nw_ucla(tmp_path / "ucla", "a01_s01_e00_v01", joints, 1)
    write_msr(tmp_path / "msr", "a06_s02_e01", joints[:, order("nw_ucla20", "msr20")])
    ucla, msr = load(tmp_path / "ucla", "nw_ucla"), load(tmp_path / "msr", "msr_action3d")
    for first, second in ((ucla, msr), (msr, ucla)):
        both = joined(first, second)
        assert len(both) == 2 and np.array_equal(both.clip(1), both.clip(0)), "in the first one's order"
        assert np.array_equal(both.clip(0), first.clip(0)) and both.skeleton == first.skeleton
        assert [both.classes[label] for label in both.labels] == [
            data.classes[data.labels[0]] for data in (first, second)
        ]
        batch = ClipSampler(both, SAMPLING[first.layout]).batch(np.arange(2))
        assert torch.equal(batch[0], batch[1])
    assert joined(ucla, msr).content_hash not in (joined(msr, ucla).content_hash, ucla.content_hash)


def test_joints_of_ones_own_are_joined_by_name(tmp_path: Path) -> None:
    msr = load(tmp_path, "msr_action3d") if write_msr(tmp_path, "a06_s02_e01", body(topology("msr20"), 5)) else None
    assert msr is not None
    own = replace(msr, layout="npy", entries=(replace(msr.entries[0], id="own"),))
    back = list(range(20))[::-1]
    turned = replace(
        own, frames=own.frames[:, :, back], skeleton=replace(own.skeleton, joints=own.skeleton.joints[::-1])
    )
    assert np.array_equal(joined(msr, turned).clip(1), msr.clip(0))
    other = replace(own, skeleton=replace(own.skeleton, joints=("tail", *own.skeleton.joints[1:])))
    with pytest.raises(DataError, match=r"differ .*tail.*name them alike"):
        joined(msr, other)
    with pytest.raises(DataError, match="clip a06_s02_e01 is in both data sets"):
        joined(msr, replace(own, entries=msr.entries))
    with pytest.raises(DataError, match="2 bodies a clip, networks of msr_action3d have room for 1"):
        joined(msr, replace(own, frames=np.repeat(own.frames, 2, axis=3)))
    with pytest.raises(DataError, match=r"different units.*metres.*kinetics"):
        joined(msr, replace(own, layout="kinetics"))
