"""Figures printed by others: well-formed, sourced, and shown as they were printed."""

import re
from decimal import Decimal
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fewdistill.results import ResultError
from fewdistill.results.published.figures import DATASETS, Figure, load
from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.page import write_report
from tests.results import made

SMALL = """
cautions = []
compute = []
[sources.a]
title = "A paper"
read = "itself"
[protocols.p]
task = "few-shot"
way = 5
[protocols.s]
task = "supervised"
[[method]]
name = "x"
model = "X"
backbone = "R 50"
source = "a"
protocol = "p"
figures = [{ dataset = "hmdb51", shot = 5, accuracy = 70.60 }]
"""


def figure(slug: str, shot: int | None) -> Figure:
    [found] = [figure for figure in load().figures if (figure.slug, figure.shot) == (slug, shot)]
    return found


def test_every_figure_has_its_source_and_a_sensible_value() -> None:
    published = load()
    assert len(published.figures) > 300
    for row in published.figures:
        source, protocol = published.sources[row.source], published.protocols[row.protocol]
        assert 0 < row.accuracy <= 100 and source.title and row.dataset in DATASETS
        assert source.read in ("itself", "note")  # nothing from memory
        assert (row.shot in (1, 5)) == (protocol.task == "few-shot") == (protocol.way == 5)
    for each in published.compute:
        assert each.source in published.sources
    assert {row.source for row in published.figures} == set(published.sources)  # no source without a figure
    assert {row.protocol for row in published.figures} == set(published.protocols)


def test_figures_are_those_printed() -> None:
    for backbone, kinetics, ucf101, hmdb51 in (
        ("resnet18", "84.04", "94.78", "74.65"),
        ("mobilenetv3-small", "80.27", "93.31", "71.72"),
        ("mobilenetv3-large", "83.25", "94.76", "73.95"),
    ):
        for dataset, value in (("kinetics", kinetics), ("ucf101", ucf101), ("hmdb51", hmdb51)):
            assert figure(f"lite-mkd/{backbone}/{dataset}", 5).accuracy == Decimal(value)
    assert str(figure("lite-mkd-alone/resnet18/hmdb51", 5).accuracy) == "70.60"  # the digits it was printed with
    zoo = figure("chamfer++-zoo/r2+1d/ssv2", 1)
    assert (zoo.accuracy, zoo.std, load().protocols[zoo.protocol].seeds) == (Decimal("67.8"), Decimal("0.2"), 3)
    assert figure("bs-dke-gcn/9blocksofctr-gcn/ntu120-xset", None).accuracy == Decimal("89.96")


def test_a_method_never_mixes_pipelines() -> None:
    """What the authors of SOAP, Manta and Otter ran themselves is marked, and apart from what they quote."""
    published = load()
    own = {row.name for row in published.figures if row.source == "otter" and row.protocol == "otter"}
    quoted = {row.name for row in published.figures if row.source == "otter" and row.protocol == "quoted"}
    assert {"trx-by-otter", "lite-mkd-by-otter", "soap", "manta", "otter"} <= own and not own & quoted
    assert published.protocols["otter"].own_pipeline and "85.5" in " ".join(published.cautions)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('source = "a"', 'source = "nobody"', "'nobody', which is not under sources"),
        ('protocol = "p"', 'protocol = "q"', "'q', which is not under protocols"),
        ('"hmdb51"', '"hmdb15"', "'hmdb15', which is not under data sets"),
        ("70.60", "0.0", "accuracy"),
        ("70.60", "100.1", "accuracy"),
        ("70.60", "70.60, std = 0.1", "a std over seeds needs"),
        ("shot = 5, ", "", "a few-shot figure has a shot"),
        ('protocol = "p"', 'protocol = "s"', "a supervised one has none"),
        ('read = "itself"', 'read = "memory"', "read"),
        ("way = 5", "", "a few-shot protocol has a way"),
        ('model = "X"', 'model = "X"\nmood = "good"', "mood"),
        ("accuracy = 70.60 }", 'accuracy = 70.60 }, { dataset = "hmdb51", shot = 5, accuracy = 1 }', "stands twice"),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "published.toml"
    path.write_text(SMALL)
    assert [row.slug for row in load(path).figures] == ["x/r50/hmdb51"]
    assert old in SMALL
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(ResultError, match=re.escape(said)) as raised:
        load(path)
    assert str(path) in str(raised.value)


class _Rows(HTMLParser):
    """The rows of the published section by data set and slug: the values of their cells, and their links."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        self.links: dict[str, str] = {}
        self.anchors: set[str] = set()
        self._slug = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "tr":
            self._slug = given.get("data-slug") or ""
        elif tag == "td" and self._slug and "data-value" in given:
            self.values.setdefault(self._slug, []).append(given["data-value"] or "")
        elif tag == "a" and self._slug:
            self.links[self._slug] = given.get("href") or ""
        if (given.get("id") or "").startswith("source-"):
            self.anchors.add(given["id"] or "")


def test_the_report_shows_every_figure_with_its_source(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "records")
    store.write(*made.finished(made.student(), 0.6))
    text = write_report(store.root, tmp_path / "out").read_text()
    page = _Rows()
    page.feed(text)
    published = load()
    for block in published.blocks():
        for line in block.lines:
            known = next(row for row in line if row)
            assert page.values[known.slug] == [str(row.accuracy) if row else "" for row in line]
            assert page.links[known.slug] == f"#source-{known.source}"
    assert page.anchors == {f"source-{name}" for name in published.sources}
    assert set(page.values) == {row.slug for row in published.figures}
    assert all(caution in unescape(text) for caution in published.cautions)
