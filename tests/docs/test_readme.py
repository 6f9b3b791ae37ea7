"""Pages say what the records say: stale blocks are named, and quoted figures equal a recomputation from the npz."""

import json
import math
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.cost import count_macs
from results import ResultError
from results.pairing import by_episode
from results.readme import COMMAND, blocks, rendered, stale, stale_parts, write_figures, write_pages
from results.readme_speed import RESNET18_GMACS
from results.reference_records import Reference
from results.stats import needed, paired_over_seeds
from results.store import RecordStore
from results.table_files import DASH
from students.trunks import BACKBONES
from tests.command import fewdistill
from tests.docs.pages import PAGES, REFERENCE, ROOT, prose
from tests.results import made

SOURCE = Reference(REFERENCE)


def test_every_block_and_figure_is_fresh() -> None:
    old = stale_parts(PAGES, SOURCE)
    assert not old, "\n".join([*old, f"run `{COMMAND}` and commit what it writes"])


def test_a_changed_figure_is_named() -> None:
    page = (ROOT / "README.md").read_text()
    assert stale(page, SOURCE) == []
    assert stale(page.replace("59.51 ± 0.30", "59.91 ± 0.30"), SOURCE) == ["main table embedded"]
    assert rendered(page.replace("59.51 ± 0.30", "59.91 ± 0.30"), SOURCE) == page, "the rest is left alone"


def test_a_page_is_written_once(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("It reaches <!-- begin: accuracy: embedded resnet18/tokens 5 --><!-- end -->.\n")
    assert write_pages([page], SOURCE) == [page]
    assert page.read_text().endswith("5 -->59.51 ± 0.30 %<!-- end -->.\n")
    assert write_pages([page], SOURCE) == []


def test_pages_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.md", tmp_path / "bad.md"
    good.write_text("<!-- begin: claims: demo -->\n<!-- end -->\n")
    bad.write_text("<!-- begin: nothing -->\n<!-- end -->\n")
    before = good.read_text()
    with pytest.raises(ResultError, match=r"bad\.md: no block 'nothing'"):
        write_pages([good, bad], SOURCE)
    assert good.read_text() == before


def test_a_faulty_page_leaves_tables_and_plots_alone(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "demo", tmp_path / "demo")
    page = tmp_path / "page.md"
    page.write_text("<!-- begin: figure: demo gains-5shot -->\n")
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(ResultError, match="never ends"):
        write_figures(Reference(tmp_path), "demo", [page])
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<!-- begin: main tabel: embedded -->\n<!-- end -->", "no block 'main tabel': did you mean main table"),
        ("<!-- begin: main table: embedded -->\n", "'main table' never ends"),
        ("a\n<!-- end -->", "page:2: an end without a begin"),
        ("<!-- begin: claims: demo --><!-- begin: claims: demo --><!-- end -->", "begins within block 'claims'"),
        ("<!-- begin: main table -->\n<!-- end -->", "'main table' does not take ''"),
        ("<!-- begin: main table: nowhere -->\n<!-- end -->", "nowhere"),
        ("<!-- begin: accuracy: demo resnet18/none five --><!-- end -->", "does not take 'demo resnet18/none five'"),
        ("<!-- begin: accuracy: demo resnet18/d2m 5 --><!-- end -->", "no finished row 'resnet18/d2m' at 5-shot"),
        ("a\n<!-- begin: claims: demo -->\n<!-- end -->", "'claims' begins a line of a paragraph"),
        ("a <!-- begin: main table: demo --><!-- end -->", "begin it on a line of its own"),
    ],
)
def test_a_wrong_marker_is_named(text: str, says: str) -> None:
    with pytest.raises(ResultError, match=re.escape(says)):
        rendered(text, SOURCE, "page")


def test_a_teacher_of_each_stream_is_quoted_by_its_model(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "lite" / "records")
    for stream, accuracy in (("joint", 0.6), ("bone", 0.8)):
        store.write(*made.finished(made.supervised(f"ctr_gcn-{stream}"), accuracy))
    source = Reference(tmp_path)
    shown = rendered("<!-- begin: main table: lite -->\n<!-- end -->\n", source)
    for stream, words in (("joint", "joints"), ("bone", "bones")):
        row = source.row("lite", f"ctr_gcn-{stream}/-", 0)
        assert row.setting.model == f"ctr_gcn-{stream}" and row.accuracy
        assert f"| teacher: CTR-GCN, {words} | {DASH} | 1 | {100 * row.accuracy.mean:.2f} ± " in shown
    with pytest.raises(ResultError, match=r"'teacher/-' at 0-shot is any of ctr_gcn-\w+, ctr_gcn-\w+: name the model"):
        source.row("lite", "teacher/-", 0)


def seeds_of(model: str, distillation: str, shot: int) -> dict[int, np.ndarray]:
    """Per-episode accuracies (E,) by seed, straight from the files."""
    found = {}
    for path in sorted((REFERENCE / "embedded" / "records").glob("*.json")):
        record = json.loads(path.read_text())
        cell = record["cell"]
        if (cell["model"], cell["distillation"], cell["shot"]) == (model, distillation, shot):
            with np.load(path.with_suffix(".npz")) as stored:
                found[cell["seed"]] = stored["correct"].mean(axis=1)
    return found


@pytest.mark.parametrize("model", ["resnet18", "mobilenetv3_large", "mobilenetv3_small"])
@pytest.mark.parametrize("distillation", ["none", "tokens", "d2m", "both"])
def test_the_table_equals_a_recomputation(model: str, distillation: str) -> None:
    for shot in (1, 5):
        ours = seeds_of(model, distillation, shot)
        mean = np.mean(list(ours.values()), axis=0)
        half = 1.96 * mean.std() / math.sqrt(len(mean))
        cell = f"{100 * mean.mean():.2f} ± {100 * half:.2f}"
        text = f"x <!-- begin: accuracy: embedded {model}/{distillation} {shot} --><!-- end -->"
        assert f">{cell} %<" in rendered(text, SOURCE)
        assert cell in (ROOT / "README.md").read_text()
    plain = seeds_of(model, "none", 5)
    gain = np.mean([ours[seed].mean() - plain[seed].mean() for seed in ours.keys() & plain.keys()])
    if distillation != "none":
        assert f"| {100 * gain:+.2f} [" in (ROOT / "README.md").read_text()


def test_clips_of_the_supervised_protocol_are_no_episodes() -> None:
    row = SOURCE.row("dke_gcn_nwucla", "ctr_gcn-joint/-", 0)
    assert row.accuracy and row.cost.gmacs_per_video
    shown = rendered("<!-- begin: main table: dke_gcn_nwucla -->\n<!-- end -->\n", SOURCE)
    head, _, first, *_ = shown.splitlines()[1:]
    assert head.endswith("| accuracy % | gain, points | validation % | GMACs a clip |")
    accuracy = f"{100 * row.accuracy.mean:.2f} ± "
    assert first.startswith(f"| teacher: CTR-GCN, joints | {DASH} | {len(row.by_seed)} | {accuracy}")
    assert first.endswith(f"| {row.cost.gmacs_per_video:.2f} |")
    told = rendered("<!-- begin: conditions: dke_gcn_nwucla -->\n<!-- end -->\n", SOURCE)
    assert "10 classes, 464 test clips, 26 frames of joints" in told and "shot" not in told


def test_variants_of_streams_stand_beside_their_own_rows_alone() -> None:
    text = rendered("<!-- begin: variants table: dke_gcn_nwucla student -->\n<!-- end -->\n", SOURCE)
    head, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[1:-1]]
    assert head[:3] == ["student", "distillation", "variant"]
    varied = {line[0] for line in lines if line[2]}
    assert varied and {line[0] for line in lines if not line[2]} == varied
    text = rendered("<!-- begin: variants table: dke_gcn_nwucla teacher -->\n<!-- end -->\n", SOURCE)
    [bones] = [line for line in text.splitlines() if "CTR-GCN, bones |" in line]
    assert bones.endswith(" |  |  |  |"), "a stream that was trained longer alone is compared with nothing"


def test_a_cross_entropy_is_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "x <!-- begin: nll: dke_gcn_nwucla_views light_dke_gcn-joint/none@published 0 --><!-- end -->"
    [record] = [
        result.record
        for result in SOURCE.results("dke_gcn_nwucla_views")
        if (result.record.cell.distillation, result.record.cell.variant) == ("none", "published")
    ]
    assert record.metrics and f">{record.metrics.nll:.3f}<" in rendered(text, SOURCE)
    kept = record.model_copy(update={"metrics": record.metrics.model_copy(update={"nll": None})})
    monkeypatch.setattr(
        Reference, "of_row", lambda self, row: [replace(SOURCE.results(row.setting.suite)[0], record=kept)]
    )
    with pytest.raises(ResultError, match="keeps no cross entropy"):
        rendered(text, SOURCE)


def test_what_the_prose_concludes_holds() -> None:
    """The sentences around the blocks are typed: each conclusion of theirs, against the rows."""
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


def _side(suite: str, name: str, other: str) -> int:
    """1 or -1 where the interval of the difference lies on one side of zero, else 0."""
    found = SOURCE.difference(suite, name, other, 0).headline
    return (found.low > 0) - (found.high < 0)


def test_what_the_prose_concludes_of_the_training_views_holds() -> None:
    suite, light = "dke_gcn_nwucla_views", "light_dke_gcn-joint/"
    over = partial(_side, suite)
    assert over(f"{light}none", f"{light}none@published") == 1
    assert [over(f"{light}none", f"{light}none@{name}") for name in ("unmirrored", "decay", "window")] == [0, 0, 0]
    assert over(f"{light}dkd", f"{light}none") == -1
    assert over(f"{light}dkd@lighter", f"{light}none") == over("teacher/-", f"{light}none") == 0
    names = ("none@window", "none", "none@decay", "none@unmirrored")
    kept = [rendered(f"x <!-- begin: nll: {suite} {light}{name} 0 --><!-- end -->", SOURCE) for name in names]
    assert [text.split(">")[1] for text in kept] == sorted(text.split(">")[1] for text in kept)


def test_what_the_prose_concludes_of_the_supervised_study_holds() -> None:
    suite = "dke_gcn_nwucla"
    over = partial(_side, suite)
    joint, light = "ctr_gcn-joint/-", "light_dke_gcn-joint/none"
    longer = SOURCE.row(suite, f"{joint}@longer", 0)
    assert longer.accuracy and 1 < 464 * (0.94 - longer.accuracy.mean) < 1.5 and over(f"{joint}@longer", joint) == 0
    assert over("light_dke_gcn-two/none", joint) == over("light_dke_gcn-two/none", f"{joint}@longer") == 0
    assert over("light_dke_gcn-joint/dkd", light) == 0 and over(f"{light}@window", light) == -1
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


def test_figures_of_other_records_are_named(tmp_path: Path) -> None:
    root = tmp_path / "reference"
    shutil.copytree(REFERENCE / "demo", root / "demo")
    assert stale_parts([], Reference(root)) == []
    next((root / "demo" / "records").glob("*.json")).unlink()
    [line] = stale_parts([], Reference(root))
    assert "demo" in line and "other records" in line


def speed_records(tmp_path: Path, **changes: Any) -> Reference:
    """Every record of speed with each row changed."""
    (tmp_path / "speed").mkdir()
    for path in (REFERENCE / "speed").glob("*.json"):
        found = json.loads(path.read_text())
        for row in found["rows"]:
            row |= changes
        (tmp_path / "speed" / path.name).write_text(json.dumps(found))
    return Reference(tmp_path)


def test_the_speed_blocks_take_what_the_record_holds(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "speed.md").read_text()
    fresh = rendered(page, speed_records(tmp_path, ratio=0.5, aim=2, conditions={"load": 0.1}))
    assert {block.name for block in blocks(page)} >= {"speed aims", "speed cases", "speed memory"}
    assert re.search(r"\n0 of \d+ aims are reached", fresh)


def test_a_speed_case_that_does_not_agree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="do not agree"):
        rendered(
            "<!-- begin: speed agreement: xeon -->\n<!-- end -->",
            speed_records(tmp_path, largest_difference=1, agrees=False),
        )


def test_the_macs_that_the_speed_page_uses_are_counted() -> None:
    counted = count_macs(BACKBONES["resnet18"].build(), torch.zeros(1, 3, 224, 224, device="meta"))
    assert counted / 1e9 == pytest.approx(RESNET18_GMACS, abs=1e-3)


def test_no_measured_figure_is_typed_into_the_readme() -> None:
    words = prose(ROOT / "README.md").replace("Python 3.11", "")
    assert not re.findall(r"\d+\.\d+|[-+]?\d+(?:\.\d+)? points", words)


def test_the_command(tmp_path: Path) -> None:
    for name in ("README.md", "docs"):
        source = ROOT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    reference = ["--reference", REFERENCE]
    good = fewdistill("report", "--readme", "--check", *reference, cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    page = tmp_path / "docs" / "results.md"
    page.write_text(page.read_text().replace("| ResNet18 | tokens | 1 | 5 | +", "| ResNet18 | tokens | 1 | 5 | -"))
    bad = fewdistill("report", "--readme", "--check", *reference, cwd=tmp_path)
    assert bad.returncode == 1 and "gains table embedded" in bad.stderr and COMMAND in bad.stderr
    page.unlink()
    for arguments, says in (
        (["report", "records", "--readme"], "leave the record folders out"),
        (["report", "--readme", "--reference", "nowhere"], "nowhere"),
    ):
        wrong = fewdistill(*arguments, cwd=tmp_path)
        assert wrong.returncode == 2 and says in wrong.stderr and "Traceback" not in wrong.stderr, wrong.stderr


def test_what_the_prose_concludes_of_decoupled_distillation_holds() -> None:
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
        losses = [
            (one.record.metrics.nll, other.record.metrics.nll)
            for one, other in zip(taught, plain, strict=True)
            if one.record.metrics and other.record.metrics
        ]
        assert len(losses) == 3 and all(one < other for one, other in losses), "lower for every seed"
    assert f"by some {wanted[0]} and {wanted[1]} seeds" in text


def test_what_the_prose_says_of_teachers_trained_again_holds() -> None:
    text = " ".join((ROOT / "docs" / "results.md").read_text().split())
    again, problems = RecordStore(REFERENCE / "dke_gcn_nwucla" / "retrained").scan()
    first = SOURCE.of_row(SOURCE.row("dke_gcn_nwucla", "ctr_gcn-joint/-", 0))
    assert not problems and {result.record.key for result in again} == {result.record.key for result in first}
    by_seed = sorted(again, key=lambda result: result.record.cell.seed)
    came, were = ([f"{100 * by_episode(result).mean():.2f}" for result in side] for side in (by_seed, first))
    assert f"came to {came[0]}, {came[1]} and {came[2]} % where the table's" in text
    assert f"have {were[0]}, {were[1]} and {were[2]} (" in text
    taught = SOURCE.of_row(SOURCE.row("dke_gcn_nwucla", "dke_gcn-joint/dkd", 0))
    ours, theirs = ([by_episode(result) for result in side] for side in (taught, by_seed))
    apart = paired_over_seeds(ours, theirs)
    low, high = 100 * apart.headline.low, 100 * apart.headline.high
    assert f"({100 * apart.mean:+.2f} [{low:.2f}, {high:.2f}] from those trainings of it that taught" in text
