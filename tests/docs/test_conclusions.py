"""Claims that the result pages make in sentences, each against the records."""

import io
import zipfile
from functools import partial

import numpy as np
import pytest

from fewdistill.results.stats import needed, paired_over_seeds
from fewdistill.results.summary.pairing import by_episode
from fewdistill.results.summary.rows import Row
from tests.docs.pages import ROOT
from tools.docs.reference import ROOT as RECORDS
from tools.docs.reference import difference, pairs, records, results, row, rows, speed


def text(suite: str) -> str:
    """The page of a suite on one line, without emphasis."""
    page = (ROOT / "docs" / "results" / f"{suite}.md").read_text()
    return " ".join(page.replace("**", "").replace("\n* ", "\n").split())


def sign(suite: str, name: str, other: str, shot: int | None = None) -> int:
    """1 or -1 where the interval of the difference excludes zero, else 0."""
    found = difference(suite, name, other, shot).headline
    return (found.low > 0) - (found.high < 0)


def losses(suite: str, name: str) -> list[float]:
    """Cross entropy on the test clips, of seeds 0, 1 and 2."""
    kept = [result.record for result in records(row(suite, name))]
    assert [record.cell.seed for record in kept] == [0, 1, 2]
    return [record.metrics.nll for record in kept if record.metrics and record.metrics.nll is not None]


def answers(suite: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Classes answered and classes asked for, (seeds, clips)."""
    kept = records(row(suite, name))
    predicted = [result.predicted[:, 0] for result in kept if result.predicted is not None]
    asked = [result.query_class[:, 0] for result in kept if result.query_class is not None]
    return np.stack(predicted), np.stack(asked)


@pytest.mark.parametrize(
    ("suite", "significant", "compared"),
    [
        ("embedded", 1, 18),
        ("defects", 0, 34),
        ("skeleton_teacher", 0, 18),
        ("dke_gcn_msr_fewshot", 0, 8),
        ("dke_gcn_ucla_to_msr", 0, 8),
        ("dke_gcn_msr_to_ucla", 0, 8),
        ("dke_gcn_msr", 0, 4),
    ],
)
def test_of_corrected_comparisons(suite: str, significant: int, compared: int) -> None:
    tested = [each.p for each in rows(suite) if each.p is not None]
    assert (sum(p < 0.05 for p in tested), len(tested)) == (significant, compared)
    assert f"{compared} " in text(suite)


def test_of_the_reference_suite() -> None:
    at_five: list[Row] = [each for each in rows("embedded") if each.gain and each.shot == 5]
    beyond = {(r.setting.model, r.setting.distillation) for r in at_five if r.gain and r.gain.headline.low > 0}
    assert {model for model, name in beyond if name == "d2m"} == {"resnet18"}
    assert {model for model, name in beyond if name == "tokens"} == {r.setting.model for r in at_five}
    [held] = [each.setting for each in rows("embedded") if each.p is not None and each.p < 0.05]
    assert (held.model, held.distillation) == ("mobilenetv3_large", "tokens")
    alone = sum(1 for each in rows("embedded") if each.gain and each.gain.headline.p < 0.05)
    assert f"{alone} have p < 0.05 taken alone" in " ".join((ROOT / "docs" / "numbers.md").read_text().split())
    for model in ("resnet18", "mobilenetv3_large", "mobilenetv3_small"):
        assert sign("embedded", f"{model}/both", f"{model}/tokens") == 0
        chosen = {
            name: np.mean([r.record.selection["val_accuracy"] for r in records(row("embedded", f"{model}/{name}"))])
            for name in ("none", "tokens", "d2m", "both")
        }
        assert max(chosen, key=chosen.__getitem__) == "tokens"
    small, large, best, teacher = (
        row("embedded", name)
        for name in ("mobilenetv3_small/tokens", "mobilenetv3_large/none", "resnet18/both", "teacher/-")
    )
    assert small.accuracy and large.accuracy and small.accuracy.low > large.accuracy.high
    macs = [each.cost.gmacs_per_episode or 0.0 for each in (small, large, best, teacher)]
    assert 0.2 < macs[0] / macs[1] < 0.3 and 0.3 < macs[2] / macs[3] < 0.36


def test_of_the_ablation_and_the_defects() -> None:
    teachers = {each.setting.variant: each for each in rows("ablation") if each.setting.role == "teacher"}
    means = {name: each.accuracy.mean for name, each in teachers.items() if each.accuracy}
    assert max(means, key=means.__getitem__) == "teacher-skeleton"
    without = [means[""] - mean for name, mean in means.items() if name and "skeleton" not in name]
    assert len(without) == 3 and min(without) > 0.37
    at_five = [each for each in rows("defects") if each.gain and each.shot == 5]
    sure = {
        (each.setting.distillation, each.setting.variant)
        for each in at_five
        if each.gain and (each.gain.headline.low > 0 or each.gain.headline.high < 0)
    }
    assert sure == {("d2m", "flips"), ("d2m", "all-of-these")}


def test_of_the_skeleton_as_teacher() -> None:
    def over(name: str, other: str, shot: int = 5) -> int:
        return sign("skeleton_teacher", f"teacher/-{name}", f"teacher/-{other}", shot)

    company = "-with-rgb-and-depth"
    assert over("@joints", "") == over("@joints-light-dke-gcn", "") == -1
    assert over(f"@joints{company}", "@with-rgb-and-depth") == -1
    assert over("@joints-longer", "@skeleton-longer") == over("@joints-longer", "@skeleton-longer", 1) == 1
    assert over(f"@joints-longer{company}", f"@skeleton-longer{company}") == 1
    assert over(f"@joints-longer{company}", f"@skeleton-longer{company}", 1) == 0
    assert over("@with-rgb-and-depth", "") == -1 and over(f"@joints-longer{company}", "@joints-longer") <= 0
    assert over("@all-four", "@with-rgb-and-depth") == 0
    light, images = (row("skeleton_teacher", f"teacher/-@{name}").cost for name in ("joints-longer", "skeleton-longer"))
    told = text("skeleton_teacher")
    assert f"({light.parameters_m:.2f} of {images.parameters_m:.2f} M)" in told
    assert f"({light.gmacs_per_video:.2f} of {images.gmacs_per_video:.2f} G)" in told


def test_of_the_training_views() -> None:
    suite, light = "dke_gcn_nwucla_views", "light_dke_gcn-joint/"
    over = partial(sign, suite)
    assert over(f"{light}none", f"{light}none@published") == 1
    assert [over(f"{light}none", f"{light}none@{name}") for name in ("unmirrored", "decay", "window")] == [0, 0, 0]
    assert over(f"{light}dkd", f"{light}none") == -1
    assert over(f"{light}dkd@lighter", f"{light}none") == over("teacher/-", f"{light}none") == 0
    metrics = [
        records(row(suite, f"{light}{name}"))[0].record.metrics
        for name in ("none@window", "none", "none@decay", "none@unmirrored")
    ]
    kept = [each.nll for each in metrics if each and each.nll]
    assert len(kept) == 4 and kept == sorted(kept)


def test_of_the_training_subjects() -> None:
    suite, light = "dke_gcn_msr_subjects", "light_dke_gcn-joint/none"
    assert sign(suite, f"{light}@shorter", light) == 0
    assert sign(suite, f"{light}@mirrored", light) == -1
    short, plain = (records(row(suite, name))[0].record.metrics for name in (f"{light}@shorter", light))
    assert short and plain and short.nll and plain.nll and short.nll < plain.nll
    assert round(118 * (plain.accuracy - short.accuracy)) == 1


def test_of_the_supervised_study_of_nw_ucla() -> None:
    suite = "dke_gcn_nwucla"
    over = partial(sign, suite)
    joint, light = "ctr_gcn-joint/-", "light_dke_gcn-joint/none"
    longer = row(suite, f"{joint}@longer")
    assert longer.accuracy and 1 < 464 * (0.94 - longer.accuracy.mean) < 1.5 and over(f"{joint}@longer", joint) == 0
    assert over("light_dke_gcn-two/none", joint) == over("light_dke_gcn-two/none", f"{joint}@longer") == 0
    assert over("ctr_gcn-two/-", joint) == 1 and over("ctr_gcn-four/-", "ctr_gcn-two/-") == 0
    assert over("light_dke_gcn-two/none", "ctr_gcn-two/-") == 0
    assert over("light_dke_gcn-four/none", "light_dke_gcn-two/none") == 0
    assert [over("dke_gcn-joint/self", f"dke_gcn-joint/{name}") for name in ("dkd", "none")] == [0, 0]
    assert over("light_dke_gcn-joint/assistant", "light_dke_gcn-joint/dkd") == 0
    assert over("light_dke_gcn-joint/dkd", light) == 0 and over(f"{light}@window", light) == -1
    for stream in ("dke_gcn-bone", "light_dke_gcn-bone", "dke_gcn-two"):
        assert over(f"{stream}/dkd", f"{stream}/none") == 0
    assert over("dke_gcn-joint/dkd", joint) == over("dke_gcn-two/dkd", "ctr_gcn-two/-") == 0


def test_of_decoupled_distillation() -> None:
    suite, wanted = "dke_gcn_nwucla", []
    for model in ("dke_gcn-joint", "light_dke_gcn-joint"):
        ours, theirs = ([by_episode(r) for r in side] for side in pairs(suite, f"{model}/dkd", f"{model}/none"))
        wanted.append(needed(ours, theirs).seeds)
        lower = [a < b for a, b in zip(losses(suite, f"{model}/dkd"), losses(suite, f"{model}/none"), strict=True)]
        assert lower == [True] * 3, "lower for every seed"
    assert f"would take {wanted[0]} seeds for DKE-GCN and {wanted[1]} for the light network" in text(suite)
    for stream in ("dke_gcn-bone", "light_dke_gcn-bone", "dke_gcn-two"):
        each = zip(losses(suite, f"{stream}/dkd"), losses(suite, f"{stream}/none"), strict=True)
        assert sum(a < b for a, b in each) in (1, 2)


def test_of_missed_clips() -> None:
    done = [result for result in results("dke_gcn_nwucla") if result.record.status == "done"]
    predicted = np.array([result.predicted[:, 0] for result in done if result.predicted is not None])
    asked = np.array([result.query_class[:, 0] for result in done if result.query_class is not None])
    assert len(predicted) == len(done) and (asked == asked[0]).all() and asked.shape[1] == 464
    missed, names = predicted != asked, done[0].class_names
    told = f"{missed.all(0).sum()} of the 464 clips are missed by every row of these tables"
    assert f"What is missed. {told}, {(~missed.any(0)).sum()} by none" in text("dke_gcn_nwucla")
    assert names is not None
    number = {str(name): index for index, name in enumerate(names)}
    one, carry = number["pick up with one hand"], number["carry"]
    assert 0.45 < missed[(asked == one) | (asked == carry)].sum() / missed.sum() < 0.55
    for true, taken in ((one, number["pick up with two hands"]), (carry, number["throw"])):
        assert np.bincount(predicted[missed & (asked == true) & (predicted >= 0)]).argmax() == taken


def kept_scores(suite: str, name: str) -> dict[str, dict[str, np.ndarray]]:
    """Logits and labels of every row that kept them, by file name, from the zip of these files."""
    found = {}
    with zipfile.ZipFile(RECORDS / suite / f"{name}.zip") as files:
        for file in sorted(files.namelist()):
            with np.load(io.BytesIO(files.read(file)), allow_pickle=False) as kept:
                found[file] = {key: kept[key] for key in ("logits", "labels")}
    return found


def test_of_sums_of_everything() -> None:
    summed, labels = None, None
    files = kept_scores("dke_gcn_nwucla", "scores")
    for kept in files.values():
        summed = kept["logits"].astype(np.float64) + (0 if summed is None else summed)
        assert labels is None or (labels == kept["labels"]).all()
        labels = kept["labels"]
    assert summed is not None and labels is not None
    missed = int((summed.argmax(1) != labels).sum())
    told = f"all {len(files)} rows that kept them, over networks, streams and seeds, still miss {missed} clips"
    assert f"{told} ({100 * (1 - missed / len(labels)):.1f} %)" in text("dke_gcn_nwucla")
    assert missed / len(labels) > 0.04


def test_of_teachers_trained_again() -> None:
    suite, told = "dke_gcn_nwucla", text("dke_gcn_nwucla")
    scores = kept_scores(suite, "retrained-scores")
    again = sorted(results(suite, "retrained"), key=lambda result: result.record.cell.seed)
    first = records(row(suite, "ctr_gcn-joint/-"))
    assert [result.record.key for result in again] == [result.record.key for result in first]
    for result in again:
        [kept] = [k for name, k in scores.items() if name.endswith(f"-{result.record.key[:12]}.npz")]
        assert result.predicted is not None and (kept["logits"].argmax(1) == result.predicted[:, 0]).all()
    came, were = ([f"{100 * by_episode(result).mean():.2f}" for result in side] for side in (again, first))
    assert f"came to {came[0]}, {came[1]} and {came[2]} %, where the table's" in told
    assert f"have {were[0]}, {were[1]} and {were[2]} (" in told
    joints = [by_episode(result) for result in again]
    for name, verb in (("dke_gcn-joint/dkd", "is"), ("ctr_gcn-two/-", "are")):
        found = paired_over_seeds([by_episode(result) for result in records(row(suite, name))], joints)
        low, high = 100 * found.headline.low, 100 * found.headline.high
        assert f"{verb} {100 * found.mean:+.2f} [{low:.2f}, {high:.2f}] points" in told


def test_of_the_supervised_study_of_msr_action3d() -> None:
    suite, teacher = "dke_gcn_msr", "ctr_gcn-joint/-"
    theirs, asked = answers(suite, teacher)
    alike, repeated = {}, {}
    for model in ("dke_gcn-joint", "light_dke_gcn-joint"):
        assert sign(suite, f"{model}/none", teacher) == sign(suite, f"{model}/dkd", teacher) == 0
        assert sign(suite, f"{model}/dkd", f"{model}/none") == 0
        near, far = (difference(suite, f"{model}/{name}", teacher).headline for name in ("dkd", "none"))
        assert near.high - near.low < (far.high - far.low) / 2
        each = zip(losses(suite, f"{model}/dkd"), losses(suite, f"{model}/none"), strict=True)
        assert any(a > b for a, b in each), "not lower for every seed"
        for name in ("none", "dkd"):
            same = answers(suite, f"{model}/{name}")[0] == theirs
            alike[name, model] = 100 * same.mean()
            repeated[name, model] = np.array([s[w].mean() for s, w in zip(same, theirs != asked, strict=True)])
        assert (repeated["dkd", model] > repeated["none", model]).all(), "more for every seed"
    told = text(suite)
    a, with_a, b, with_b = (f"{share:.1f}" for share in alike.values())
    assert f"for {with_a} and {with_b} % of the clips, without it for {a} and {b} %" in told
    a, with_a, b, with_b = (f"{100 * share.mean():.0f}" for share in repeated.values())
    assert f"they repeat {with_a} and {with_b} % of its mistakes instead of {a} and {b} %" in told


def test_of_episodic_training_across_data_sets() -> None:
    for student in ("dke_gcn", "light_dke_gcn"):
        assert sign("dke_gcn_msr_to_ucla", f"{student}/none", "teacher/-") == 0
    assert sign("dke_gcn_ucla_to_msr", "light_dke_gcn/none", "teacher/-") == 0
    assert sign("dke_gcn_msr_fewshot", "light_dke_gcn/none", "teacher/-") == 0
    kept = [result.record for result in results("dke_gcn_msr_to_ucla") if result.record.cell.shot == 1]
    steps = [record.selection["selected_step"] for record in kept if record.cell.role == "student"]
    moved, told = [step for step in steps if step], text("dke_gcn_msr_to_ucla")
    assert f"{len(moved)} of their {len(steps)} rows keep the weights after {min(moved)} to {max(moved)}" in told
    own = [100 * record.selection["val_accuracy"] for record in kept]
    other = [100 * record.metrics.accuracy for record in kept if record.metrics]
    assert f"{min(own):.0f} to {max(own):.0f} % of the 1-shot" in told
    assert f"reach {min(other):.0f} to {max(other):.0f} % on the other" in told
    there = [result.record for result in results("dke_gcn_ucla_to_msr") if result.record.cell.shot == 1]
    steps = [record.selection["selected_step"] for record in there if record.cell.role == "student"]
    assert f"of the {len(steps)} rows of students, {steps.count(0)} keep" in text("dke_gcn_ucla_to_msr")
    assert f"and {steps.count(25)} those after 25 of the 150 episodes" in text("dke_gcn_ucla_to_msr")


@pytest.mark.parametrize("record", ["epyc", "xeon"])
def test_of_speed(record: str) -> None:
    found = speed(record)["rows"]
    assert all(each["agrees"] and each["largest_difference"] <= 2e-6 for each in found if "agrees" in each)
    limits = [each["over_gemm_limit"] for each in found if each["side"] == "ours" and "over_gemm_limit" in each]
    assert limits and max(limits) < 1.4
