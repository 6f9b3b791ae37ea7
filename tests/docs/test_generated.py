"""Generated tables and figures are those of the records, and sentences repeat only what a table of their page says."""

import re
import shutil
from pathlib import Path

import matplotlib
import pytest
import torch

from fewdistill.benchmark.cost.macs import count_macs
from fewdistill.results import ResultError
from fewdistill.students.trunks import BACKBONES
from tests.docs.pages import PAGES, ROOT, generated, prose
from tools.docs import main_table, reference
from tools.docs.__main__ import draw, figures, regenerate
from tools.docs.speed import RESNET18_GMACS

QUOTING = [page for page in PAGES if generated(page) or page.name == "not-reached.md"]
CONSTANTS = {"0.05", "1.96", "3.11", "4.3"}
"""Significance level, normal quantile, version of Python, t quantile of two degrees of freedom."""

RECOMPUTED = {
    "dke_gcn_msr": {"93.9", "93.1", "90.7"},
    "dke_gcn_nwucla": {"95.5", "92.46", "93.32", "0.43", "0.59", "1.45", "2.23", "0.78", "3.67"},
    "skeleton_teacher": {"0.59", "11.46", "0.09"},
}
"""Figures by page that no table has, and that test_conclusions computes from the records."""


def test_tables_are_those_of_the_records(capfd: pytest.CaptureFixture[str]) -> None:
    assert regenerate(check=True) == 0, f"{capfd.readouterr().out}\nrun `make docs` and commit what it writes"


def test_a_changed_table_is_noticed_and_mended(tmp_path: Path) -> None:
    page, right = tmp_path / "embedded.md", ROOT / "docs" / "results" / "embedded.md"
    page.write_text(right.read_text().replace("59.51 ± 0.30", "59.91 ± 0.30"))
    assert regenerate(check=True, pages=[page]) == 5
    assert regenerate(check=False, pages=[page]) == 0
    assert page.read_text() == right.read_text()


@pytest.mark.parametrize(("suite", "name"), figures())
def test_figures_are_those_of_the_records(suite: str, name: str, tmp_path: Path) -> None:
    committed = (reference.ROOT / suite / "report" / "plots" / f"{name}.svg").read_text()
    if f"Matplotlib v{matplotlib.__version__}," not in committed:
        pytest.skip("drawn by another version of matplotlib, which draws other bytes")
    draw(suite, name, tmp_path)
    assert (tmp_path / f"{name}.svg").read_text() == committed, "run `make docs` and commit what it draws"


def decimals(text: str) -> list[str]:
    return re.findall(r"(?<![\w.])\d+\.\d+(?![\w.]*\d)", text.replace(",", ""))


@pytest.mark.parametrize("page", QUOTING, ids=lambda page: str(page.relative_to(ROOT)))
def test_figures_in_sentences_are_in_a_table_of_the_page(page: Path) -> None:
    known = [float(number) for number in decimals(generated(page))]
    for paragraph in re.split(r"\n\n|\n(?=[*|] )", prose(page)):
        if any(words in " ".join(paragraph.split()) for words in ("no record", "published")):
            continue
        for number in set(decimals(paragraph)) - CONSTANTS - RECOMPUTED.get(page.stem, set()):
            places = len(number.partition(".")[2])
            assert any(abs(value - float(number)) <= 0.5 * 10**-places + 1e-9 for value in known), (number, paragraph)


def test_a_row_is_named_or_refused() -> None:
    found = reference.row("embedded", "resnet18/tokens")
    assert (found.setting.model, found.shot) == ("resnet18", 5)
    assert reference.row("dke_gcn_nwucla", "ctr_gcn-joint/-").setting.model == "ctr_gcn-joint"
    with pytest.raises(ResultError, match="names nothing"):
        reference.row("embedded", "resnet18/nothing")
    with pytest.raises(ResultError, match=r"names ctr_gcn-\w+, ctr_gcn-\w+"):
        reference.row("dke_gcn_nwucla", "teacher/-")


def test_damaged_records_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(reference.ROOT / "demo", tmp_path / "demo")
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    packed = tmp_path / "demo" / "records.jsonl"
    packed.write_text(packed.read_text()[:-100])
    with pytest.raises(ResultError, match=packed.name):
        reference.results.__wrapped__("demo")
    with pytest.raises(ResultError, match="nowhere"):
        reference.results.__wrapped__("nowhere")


def test_test_clips_are_not_called_episodes() -> None:
    head = main_table("dke_gcn_nwucla").splitlines()[0]
    assert head.endswith("| accuracy % | gain, points | cross entropy | GMACs a clip |") and "shot" not in head


def test_the_macs_that_the_speed_page_uses_are_counted() -> None:
    counted = count_macs(BACKBONES["resnet18"].build(), torch.zeros(1, 3, 224, 224, device="meta"))
    assert counted / 1e9 == pytest.approx(RESNET18_GMACS, abs=1e-3)
