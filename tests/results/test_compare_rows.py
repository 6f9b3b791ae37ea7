"""Which records a comparison takes for a name, what it leaves out, and how its verdicts are put."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewdistill.results import ResultError
from fewdistill.results.comparison.compare import compare
from fewdistill.results.comparison.selection import find_selection
from fewdistill.results.comparison.verdicts import outcome, summary, verdict
from fewdistill.results.records.store import RecordStore
from fewdistill.results.stats import Needed
from tests.results import made
from tests.results.comparisons import REFERENCE, pair, result, row


def test_whole_folders_meet_at_what_both_have() -> None:
    found = compare(find_selection("embedded", REFERENCE), find_selection("ablation", REFERENCE))
    assert {d.a.name for d in found.differences} == {
        "mobilenetv3_small / d2m", "mobilenetv3_small / none", "mobilenetv3_small / tokens",
        "MFM(rgb+depth+skeleton; resnet18)",
    }  # fmt: skip
    assert all(d.same for d in found.differences) and "the same in 4" in summary(found)
    assert "resnet18 / d2m, 1- and 5-shot" in found.only[0]
    assert "mobilenetv3_small / d2m (query-level), 5-shot" in found.only[1]


def test_heads_may_differ_where_they_are_told(new_store: made.Stores) -> None:
    one, other = new_store("one"), new_store("other")
    for store, head, frames in ((one, "trx", 8), (other, "otam", 4)):
        for distillation, seed in itertools.product(("none", "d2m"), range(3)):
            store.write(
                *made.finished(made.student(distillation=distillation, seed=seed, head=head, frames=frames), 0.7)
            )
    found = compare(*(find_selection(str(store.root), Path("runs")) for store in (one, other)))
    assert len(found.differences) == 2
    assert all(d.notes == ("head trx against otam", "frames 8 against 4") for d in found.differences)


def test_seeds_are_paired_and_the_rest_is_named(store: RecordStore) -> None:
    for seed in range(5):
        store.write(*made.finished(made.student(distillation="d2m", seed=seed), 0.7))
        if seed < 3:
            store.write(*made.finished(made.student(seed=seed), 0.65))
    [d] = pair("resnet18/d2m", "resnet18/none", store.root).differences
    assert d.seeds == ((0, 1, 2), (0, 1, 2)) and d.notes == ("seed 3, 4 of A left out: the other side has none",)
    [d] = pair("resnet18/d2m/s4", "resnet18/none/s0", store.root).differences
    assert d.seeds == ((4,), (0,)) and not d.unpaired  # the episodes pair two single records
    assert "in these trained models; with one seed" in verdict(d, "A", "B", 1) or outcome(d) == "open"
    both = [find_selection(f"{store.root}:resnet18/{name}", Path()) for name in ("d2m", "none")]
    late = replace(both[0], results=tuple(r for r in both[0].results if r.record.cell.seed > 2))
    [d] = compare(late, both[1]).differences
    assert d.unpaired == "no seed in common" and d.seeds == ((3, 4), (0, 1, 2))


def test_verdicts_say_how_far_they_reach(store: RecordStore) -> None:
    for seed in range(3):
        store.write(*made.finished(made.student(distillation="d2m", seed=seed), 0.80))
        store.write(*made.finished(made.student(distillation="none", seed=seed), 0.55))
        store.write(*made.finished(made.student(distillation="tokens", seed=seed), 0.80))
    [better] = pair("resnet18/d2m", "resnet18/none", store.root).differences
    span = better.headline
    ends = f"[{100 * span.low:.1f}, {100 * span.high:.1f}]"
    said = f"A is better than B by {100 * span.mean:.1f} points {ends}, three seeds."
    assert verdict(better, "A", "B", 1) == said
    [level] = pair("resnet18/d2m", "resnet18/tokens", store.root).differences
    said = verdict(level, "A", "B", 1)
    assert outcome(level) == "open" and level.headline.low < 0 < level.headline.high
    assert f"A may be {-100 * level.headline.low:.1f} points worse than B, or {100 * level.headline.high:.1f}" in said
    assert level.detectable is not None and f"under {100 * level.detectable:.1f} points" in said
    wanted = replace(level, needed=Needed(None, 17), headline=replace(level.headline, mean=0.004))
    assert verdict(wanted, "A", "B", 1).endswith("One of the measured 0.4 points would be found by about 17 seeds.")
    assert "would be found" not in verdict(replace(wanted, needed=Needed(2, 3)), "A", "B", 1)  # as many as there are
    corrected = replace(better, p=0.2)
    assert "but Holm-corrected over 9 comparisons p is 0.200" in verdict(corrected, "A", "B", 9)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ({"dataset": "hmdb51"}, {}, "data set hmdb51, 'b' embedded"),
        ({"way": 3}, {}, "way 3, 'b' 5"),
        ({"split": "val"}, {}, "split val, 'b' test"),
        ({"shot": 1}, {}, "shot 1, 'b' 5"),
    ],
)
def test_another_task_is_refused_by_name(a: dict[str, object], b: dict[str, object], said: str) -> None:
    sides = [row(name, result(made.student(**axes), np.ones((12, 5), np.uint8))) for name, axes in (("a", a), ("b", b))]  # type: ignore[arg-type]
    for whole in (False, True):
        with pytest.raises(ResultError, match=f"{said}: not the same task"):
            compare(*(replace(side, whole=whole) for side in sides))


def test_names_of_rows_and_records(believable_store: RecordStore, tmp_path: Path) -> None:
    root = believable_store.root
    assert len(find_selection(f"{root}:ResNet18/d2m", tmp_path).results) == 6  # three seeds, two shots
    assert (
        len(find_selection(f"{root}:teacher", tmp_path).results)
        == len(find_selection(f"{root}:mfm", tmp_path).results)
        == 2
    )
    assert len(find_selection(f"{root}:resnet18/d2m/s1", tmp_path).results) == 2
    key = believable_store.all()[0].key
    for text in (f"{root}:{key[:12]}", f"{root / key}.json"):
        [result] = find_selection(text, tmp_path).results
        assert result.record.key == key
    assert find_selection(str(root), tmp_path).whole
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "records").symlink_to(root)
    for text in ("mine", str(tmp_path / "mine")):
        assert len(find_selection(text, tmp_path).results) == len(find_selection(str(root), tmp_path).results)
    for text, said in (
        (f"{root}:resnet18", "is 4 rows: name one of resnet18/both, resnet18/d2m, resnet18/none, resnet18/tokens"),
        (f"{root}:resnet18/d2n", "did you mean .*resnet18/d2m"),
        (f"{root}:nothing", "no such row or record; there is mfm|teacher"),
        (f"{root}:", "wanted PLACE:ROW"),
        ("mime", "'mime': no such folder, record or run .*did you mean mine"),
        ("mime:resnet18/d2m", "did you mean mine"),
    ):
        with pytest.raises(ResultError, match=said):
            find_selection(text, tmp_path)
    with pytest.raises(ResultError, match=r"nothing finished to compare .*weights missing"):
        compare(find_selection(f"{root}:resnet50/none", tmp_path), find_selection(f"{root}:resnet18/none", tmp_path))


def test_damaged_records_are_left_out_by_name(store: RecordStore) -> None:
    for name in ("none", "d2m"):
        store.write(*made.finished(made.student(distillation=name), 0.7))
    (store.root / f"{'0' * 64}.json").write_text("{")
    store.write(made.unfinished(made.student(distillation="d2m", seed=3), "failed", "loss is nan"))
    found = pair("resnet18/d2m", "resnet18/none", store.root)
    assert len(found.differences) == 1 and any("not read" in note and "0" * 64 in note for note in found.notes)
    assert "seed 3 of A, 5-shot, failed: loss is nan" in found.notes and found.differences[0].seeds == ((0,), (0,))
    whole = find_selection(str(store.root), Path())
    assert "1 records of A are not finished" in compare(whole, whole).notes
    (store.root.parent / "notes").mkdir()
    (store.root.parent / "notes" / "x.txt").write_text("mine")
    with pytest.raises(ResultError, match=r"no readable record.*1 other files, the first: .*x.txt: not a record"):
        find_selection(str(store.root.parent / "notes"), Path())
