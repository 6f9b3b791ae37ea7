"""Pages say what the records say: stale blocks are named, and quoted figures equal a recomputation from the npz."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fewdistill.benchmark.cost.macs import count_macs
from fewdistill.results import ResultError
from fewdistill.results.readme.generate import COMMAND, blocks, rendered, stale, stale_parts, write_figures, write_pages
from fewdistill.results.readme.reference import Reference
from fewdistill.results.readme.speed import RESNET18_GMACS
from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.fingerprint import stored_fingerprint
from fewdistill.results.tables.files import DASH
from fewdistill.students.trunks import BACKBONES
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


def test_a_suite_gets_its_tables_and_the_plots_that_pages_show(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE / "demo", tmp_path / "demo", ignore=shutil.ignore_patterns("report"))
    page = tmp_path / "page.md"
    page.write_text("<!-- begin: figure: demo gains-5-shot ../ Gains -->\n<!-- end -->\n")
    made = write_figures(Reference(tmp_path), "demo", [page])
    assert [path.name for path in (made / "plots").iterdir()] == ["gains-5-shot.svg"]
    written, kept = (
        {p.name: p.read_bytes() for p in (at / "tables").iterdir()} for at in (made, REFERENCE / "demo/report")
    )
    assert written == kept and stored_fingerprint(made) == stored_fingerprint(REFERENCE / "demo" / "report")


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
    head, _, *lines = shown.splitlines()[1:]
    assert head.endswith("| accuracy % | gain, points | validation % | GMACs a clip |")
    accuracy = f"{100 * row.accuracy.mean:.2f} ± "
    name = f"| teacher: CTR-GCN, joints | {DASH} | {len(row.by_seed)} | {accuracy}"
    [quoted] = [line for line in lines if line.startswith(name)]
    assert quoted.endswith(f"| {row.cost.gmacs_per_video:.2f} |")
    told = rendered("<!-- begin: conditions: dke_gcn_nwucla -->\n<!-- end -->\n", SOURCE)
    assert "10 classes, 464 test clips, 26 frames of joints" in told and "shot" not in told


def test_variants_of_streams_stand_beside_their_own_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    text = rendered("<!-- begin: variants table: dke_gcn_nwucla student -->\n<!-- end -->\n", SOURCE)
    head, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[1:-1]]
    assert head[:3] == ["student", "distillation", "variant"]
    varied = {line[0] for line in lines if line[2]}
    assert varied and {line[0] for line in lines if not line[2]} == varied
    teachers = "<!-- begin: variants table: dke_gcn_nwucla teacher -->\n<!-- end -->\n"
    plain, longer = [line for line in rendered(teachers, SOURCE).splitlines() if "CTR-GCN, joints and bones |" in line]
    assert plain.endswith(" |  |  |  |") and "| the suite's teacher |" in longer
    fewer = Reference(REFERENCE)
    cells = [(result, result.record.cell) for result in SOURCE.results("dke_gcn_nwucla")]
    left = [result for result, cell in cells if (cell.model, cell.variant) != ("ctr_gcn-two", "")]
    monkeypatch.setattr(fewer, "results", lambda suite: left)
    [summed] = [line for line in rendered(teachers, fewer).splitlines() if "CTR-GCN, joints and bones |" in line]
    assert summed.endswith(" |  |  |  |"), "a row that stands longer alone is compared with nothing"


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
