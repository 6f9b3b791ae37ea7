"""Conclusions that pages state in sentences, typed around the quoted figures: each against the rows."""

from functools import partial

import numpy as np

from fewdistill.results.readme.generate import rendered
from fewdistill.results.readme.reference import Reference
from fewdistill.results.records.store import RecordStore
from fewdistill.results.stats import needed, paired_over_seeds
from fewdistill.results.summary.pairing import by_episode
from tests.docs.pages import REFERENCE, ROOT

SOURCE = Reference(REFERENCE)


def test_of_the_suites_on_embedded_clips() -> None:
    embedded = [row for row in SOURCE.rows("embedded") if row.gain and row.shot == 5]
    beyond = {(r.setting.model, r.setting.distillation) for r in embedded if r.gain and r.gain.headline.low > 0}
    assert {model for model, name in beyond if name == "d2m"} == {"resnet18"}
    assert {model for model, name in beyond if name == "tokens"} == {r.setting.model for r in embedded}
    for model in ("resnet18", "mobilenetv3_large", "mobilenetv3_small"):
        added = SOURCE.difference("embedded", f"{model}/both", f"{model}/tokens", 5).headline
        assert added.low < 0 < added.high
        chosen = {
            name: np.mean(
                [
                    result.record.selection["val_accuracy"]
                    for result in SOURCE.of_row(SOURCE.row("embedded", f"{model}/{name}", 5))
                ]
            )
            for name in ("none", "tokens", "d2m", "both")
        }
        assert max(chosen, key=chosen.__getitem__) == "tokens"
    small, large = (SOURCE.row("embedded", name, 5) for name in ("mobilenetv3_small/tokens", "mobilenetv3_large/none"))
    assert small.accuracy and large.accuracy and small.accuracy.low > large.accuracy.high
    assert small.cost.gmacs_per_episode and large.cost.gmacs_per_episode
    assert 0.2 < small.cost.gmacs_per_episode / large.cost.gmacs_per_episode < 0.3
    teachers = {row.setting.variant: row for row in SOURCE.rows("ablation") if row.setting.role == "teacher"}
    best = max(teachers, key=lambda name: teachers[name].accuracy.mean if teachers[name].accuracy else 0)
    assert best == "teacher-skeleton"
    defects = [row for row in SOURCE.rows("defects") if row.gain and row.shot == 5]
    sure = {
        (row.setting.distillation, row.setting.variant)
        for row in defects
        if row.gain and (row.gain.headline.low > 0 or row.gain.headline.high < 0)
    }
    assert sure == {("d2m", "flips"), ("d2m", "all-of-these")}
    assert all(row.p is None or row.p > 0.05 for row in SOURCE.rows("defects"))


def _side(suite: str, name: str, other: str, shot: int = 0) -> int:
    """1 or -1 where the interval of the difference lies on one side of zero, else 0."""
    found = SOURCE.difference(suite, name, other, shot).headline
    return (found.low > 0) - (found.high < 0)


def test_of_the_skeleton_as_teacher() -> None:
    def over(name: str, other: str, shot: int = 5) -> int:
        return _side("skeleton_teacher", f"teacher/-{name}", f"teacher/-{other}", shot)

    company = "-with-rgb-and-depth"
    assert over("@joints", "") == over("@joints-light-dke-gcn", "") == -1
    assert over(f"@joints{company}", "@with-rgb-and-depth") == -1
    assert over("@joints-longer", "@skeleton-longer") == over("@joints-longer", "@skeleton-longer", 1) == 1
    assert over(f"@joints-longer{company}", f"@skeleton-longer{company}") == 1
    assert over(f"@joints-longer{company}", f"@skeleton-longer{company}", 1) == 0
    assert over("@with-rgb-and-depth", "") == -1 and over(f"@joints-longer{company}", "@joints-longer") <= 0
    assert over("@all-four", "@with-rgb-and-depth") == 0


def test_of_the_training_views() -> None:
    suite, light = "dke_gcn_nwucla_views", "light_dke_gcn-joint/"
    over = partial(_side, suite)
    assert over(f"{light}none", f"{light}none@published") == 1
    assert [over(f"{light}none", f"{light}none@{name}") for name in ("unmirrored", "decay", "window")] == [0, 0, 0]
    assert over(f"{light}dkd", f"{light}none") == -1
    assert over(f"{light}dkd@lighter", f"{light}none") == over("teacher/-", f"{light}none") == 0
    names = ("none@window", "none", "none@decay", "none@unmirrored")
    kept = [rendered(f"x <!-- begin: nll: {suite} {light}{name} 0 --><!-- end -->", SOURCE) for name in names]
    assert [text.split(">")[1] for text in kept] == sorted(text.split(">")[1] for text in kept)


def test_of_the_supervised_study() -> None:
    suite = "dke_gcn_nwucla"
    over = partial(_side, suite)
    joint, light = "ctr_gcn-joint/-", "light_dke_gcn-joint/none"
    longer = SOURCE.row(suite, f"{joint}@longer", 0)
    assert longer.accuracy and 1 < 464 * (0.94 - longer.accuracy.mean) < 1.5 and over(f"{joint}@longer", joint) == 0
    assert over("light_dke_gcn-two/none", joint) == over("light_dke_gcn-two/none", f"{joint}@longer") == 0
    assert over("ctr_gcn-two/-", joint) == 1 and over("ctr_gcn-four/-", "ctr_gcn-two/-") == 0
    assert (
        over("light_dke_gcn-two/none", "ctr_gcn-two/-")
        == over("light_dke_gcn-four/none", "light_dke_gcn-two/none")
        == 0
    )
    assert [over("dke_gcn-joint/self", f"dke_gcn-joint/{name}") for name in ("dkd", "none")] == [0, 0]
    assert over("light_dke_gcn-joint/dkd", light) == 0 and over(f"{light}@window", light) == -1
    for row in ("dke_gcn-bone", "light_dke_gcn-bone", "dke_gcn-two"):
        assert over(f"{row}/dkd", f"{row}/none") == 0
    assert over("dke_gcn-two/dkd", "ctr_gcn-two/-") == 0
    done = [result for result in SOURCE.results(suite) if result.record.status == "done"]
    answers = np.array([result.predicted[:, 0] for result in done if result.predicted is not None])
    asked = np.array([result.query_class[:, 0] for result in done if result.query_class is not None])
    assert len(answers) == len(done) and (asked == asked[0]).all() and asked.shape[1] == 464
    missed, names = answers != asked, done[0].class_names
    told = f"{missed.all(0).sum()} of the 464 clips are missed by every row of these tables"
    assert f"**What is missed.** {told}, {(~missed.any(0)).sum()} by none" in " ".join(
        (ROOT / "docs" / "results.md").read_text().split()
    )
    assert names is not None
    number = {str(name): index for index, name in enumerate(names)}
    one, carry = number["pick up with one hand"], number["carry"]
    assert 0.45 < missed[(asked == one) | (asked == carry)].sum() / missed.sum() < 0.55
    for true, taken in ((one, number["pick up with two hands"]), (carry, number["throw"])):
        assert np.bincount(answers[missed & (asked == true) & (answers >= 0)]).argmax() == taken


def test_of_decoupled_distillation() -> None:
    suite, text = "dke_gcn_nwucla", " ".join((ROOT / "docs" / "results.md").read_text().split())
    wanted = []
    for model in ("dke_gcn-joint", "light_dke_gcn-joint"):
        plain, taught = (SOURCE.of_row(SOURCE.row(suite, f"{model}/{name}", 0)) for name in ("none", "dkd"))
        assert [r.record.cell.seed for r in plain] == [r.record.cell.seed for r in taught] == [0, 1, 2]
        a, b = ([by_episode(result) for result in side] for side in (taught, plain))
        wanted.append(needed(a, b).seeds)
        assert _side(suite, f"{model}/dkd", f"{model}/none") == 0
        gains = [f"{100 * (one.mean() - other.mean()):+.2f}" for one, other in zip(a, b, strict=True)]
        assert f"{gains[0]}, {gains[1]} and {gains[2]} for" in text
        losses = [_losses(suite, f"{model}/{name}") for name in ("dkd", "none")]
        assert all(one < other for one, other in zip(*losses, strict=True)), "lower for every seed"
    assert f"by some {wanted[0]} and {wanted[1]} seeds" in text


def test_of_the_way_from_msr_action3d_to_nw_ucla() -> None:
    suite, text = "dke_gcn_msr_to_ucla", " ".join((ROOT / "docs" / "results.md").read_text().split())
    for student in ("dke_gcn", "light_dke_gcn"):
        assert _side(suite, f"{student}/none", "teacher/-", 5) == 0
    records = [result.record for result in SOURCE.results(suite) if result.record.cell.shot == 1]
    steps = [record.selection["selected_step"] for record in records if record.cell.role == "student"]
    moved = [step for step in steps if step]
    assert len(records) == 21 and f"{len(moved)} of their {len(steps)} rows keep" in text
    assert f"after {min(moved)} to {max(moved)} of them" in text
    kept = [100 * record.selection["val_accuracy"] for record in records]
    tested = [100 * record.metrics.accuracy for record in records if record.metrics]
    told = f"{min(kept):.0f} to {max(kept):.0f} % of the validation episodes at 1 shot"
    assert told in text and f"become {min(tested):.0f} to {max(tested):.0f} of those of the other" in text


def test_of_sums_of_everything() -> None:
    text, summed, labels = " ".join((ROOT / "docs" / "results.md").read_text().split()), None, None
    files = sorted((REFERENCE / "dke_gcn_nwucla" / "scores").glob("*.npz"))
    for file in files:
        with np.load(file, allow_pickle=False) as kept:
            summed = kept["logits"].astype(np.float64) + (0 if summed is None else summed)
            assert labels is None or (labels == kept["labels"]).all()
            labels = kept["labels"]
    assert summed is not None and labels is not None
    missed = int((summed.argmax(1) != labels).sum())
    told = f"all {len(files)} rows that kept them, summed over networks, streams and seeds, still miss {missed} clips"
    assert f"{told} ({100 * (1 - missed / len(labels)):.1f} %)" in text and missed / len(labels) > 0.04


def test_of_teachers_trained_again() -> None:
    text = " ".join((ROOT / "docs" / "results.md").read_text().split())
    again, problems = RecordStore(REFERENCE / "dke_gcn_nwucla" / "retrained").scan()
    first = SOURCE.of_row(SOURCE.row("dke_gcn_nwucla", "ctr_gcn-joint/-", 0))
    assert not problems and {result.record.key for result in again} == {result.record.key for result in first}
    by_seed = sorted(again, key=lambda result: result.record.cell.seed)
    for result in again:
        [file] = (REFERENCE / "dke_gcn_nwucla" / "retrained-scores").glob(f"*-{result.record.key[:12]}.npz")
        with np.load(file, allow_pickle=False) as kept:
            assert result.predicted is not None and (kept["logits"].argmax(1) == result.predicted[:, 0]).all()
    sums = SOURCE.of_row(SOURCE.row("dke_gcn_nwucla", "ctr_gcn-two/-", 0))
    two, joints = ([by_episode(result) for result in side] for side in (sums, by_seed))
    more = paired_over_seeds(two, joints)
    low, high = 100 * more.headline.low, 100 * more.headline.high
    assert (
        f"({100 * more.mean:+.2f} [{low:.2f}, {high:.2f}] than those trainings of joints that are in the sums" in text
    )
    each = [f"{100 * values.mean():.2f}" for values in two]
    assert f"({each[0]}, {each[1]} and {each[2]}), <!-- begin: difference: dke_gcn_nwucla ctr_gcn-two/-" in text
    came, were = ([f"{100 * by_episode(result).mean():.2f}" for result in side] for side in (by_seed, first))
    assert f"came to {came[0]}, {came[1]} and {came[2]} % where the table's" in text
    assert f"have {were[0]}, {were[1]} and {were[2]} (" in text
    taught = SOURCE.of_row(SOURCE.row("dke_gcn_nwucla", "dke_gcn-joint/dkd", 0))
    ours, theirs = ([by_episode(result) for result in side] for side in (taught, by_seed))
    apart = paired_over_seeds(ours, theirs)
    low, high = 100 * apart.headline.low, 100 * apart.headline.high
    assert f"({100 * apart.mean:+.2f} [{low:.2f}, {high:.2f}] from those trainings of it that taught" in text


def test_of_the_supervised_study_of_msr_action3d() -> None:
    suite, teacher, students = "dke_gcn_msr", "ctr_gcn-joint/-", ("dke_gcn-joint", "light_dke_gcn-joint")
    for model in students:
        assert _side(suite, f"{model}/none", teacher) == _side(suite, f"{model}/dkd", teacher) == 0
        assert _side(suite, f"{model}/dkd", f"{model}/none") == 0
        near, far = (SOURCE.difference(suite, f"{model}/{name}", teacher, 0).headline for name in ("dkd", "none"))
        assert near.high - near.low < (far.high - far.low) / 2
    assert [
        _side(suite, f"dke_gcn-joint/{a}", f"dke_gcn-joint/{b}") for a, b in (("self", "dkd"), ("self", "none"))
    ] == [0, 0]
    for model in students:
        losses = [_losses(suite, f"{model}/{name}") for name in ("dkd", "none")]
        assert any(one > other for one, other in zip(*losses, strict=True)), "not lower for every seed"


def test_of_students_like_their_teacher() -> None:
    suite, text = "dke_gcn_msr", " ".join((ROOT / "docs" / "results.md").read_text().split())
    students = ("dke_gcn-joint", "light_dke_gcn-joint")
    theirs, asked = _answers(suite, "ctr_gcn-joint/-")
    alike, repeated = {}, {}
    for model in students:
        for name in ("none", "dkd"):
            same = _answers(suite, f"{model}/{name}")[0] == theirs
            alike[model, name] = same.mean()
            repeated[model, name] = np.array([s[wrong].mean() for s, wrong in zip(same, theirs != asked, strict=True)])
        assert (repeated[model, "dkd"] > repeated[model, "none"]).all(), "for every seed"
    with_dkd, without = ([100 * alike[model, name] for model in students] for name in ("dkd", "none"))
    assert f"its answer for {with_dkd[0]:.1f} and {with_dkd[1]:.1f} % of the clips, without for" in text
    assert f"without for {without[0]:.1f} and {without[1]:.1f} %" in text
    with_dkd, without = ([100 * repeated[model, name].mean() for model in students] for name in ("dkd", "none"))
    assert f"they repeat {with_dkd[0]:.0f} and {with_dkd[1]:.0f} % of its mistakes instead of" in text
    assert f"of its mistakes instead of {without[0]:.0f} and {without[1]:.0f} %" in text


def _losses(suite: str, name: str) -> list[float]:
    """Cross entropy on the test clips, of seeds 0, 1 and 2."""
    records = [result.record for result in SOURCE.of_row(SOURCE.row(suite, name, 0))]
    assert [record.cell.seed for record in records] == [0, 1, 2]
    found = [record.metrics.nll for record in records if record.metrics and record.metrics.nll is not None]
    assert len(found) == 3
    return found


def _answers(suite: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Classes answered and classes asked for, (seeds, clips), of seeds 0, 1 and 2."""
    results = SOURCE.of_row(SOURCE.row(suite, name, 0))
    assert [result.record.cell.seed for result in results] == [0, 1, 2]
    answers = [result.predicted[:, 0] for result in results if result.predicted is not None]
    asked = [result.query_class[:, 0] for result in results if result.query_class is not None]
    return np.stack(answers), np.stack(asked)


def test_of_the_training_subjects() -> None:
    suite, light = "dke_gcn_msr_subjects", "light_dke_gcn-joint/none"
    assert _side(suite, f"{light}@shorter", light) == 0
    assert _side(suite, f"{light}@mirrored", light) == -1
    short, plain = (SOURCE.of_row(SOURCE.row(suite, name, 0))[0].record.metrics for name in (f"{light}@shorter", light))
    assert short and plain and short.nll and plain.nll and short.nll < plain.nll
    assert round(118 * (plain.accuracy - short.accuracy)) == 1
