"""`fewdistill compare` and `fewdistill list published` through the command."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fewdistill.benchmark.cli.compare import compare_command, list_published
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.results import ResultError
from fewdistill.results.comparison.compare import compare
from fewdistill.results.comparison.selection import find_selection
from fewdistill.results.published.figures import load
from fewdistill.results.records.store import RecordStore
from tests.command import fewdistill
from tests.results import made

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def test_two_rows_of_a_run(tmp_path: Path) -> None:
    asked = ("embedded:resnet18/d2m", "embedded:resnet18/none", "--shot", "5", "--runs", str(REFERENCE))
    out = tmp_path / "deep" / "d2m"
    shown = fewdistill("compare", *asked, "--by-class", "--out", f"{out}.md", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    found = compare(*(find_selection(name, REFERENCE) for name in asked[:2]), shot=5, by_class=True)
    [d] = found.differences
    mean, low, high = (100 * value for value in (d.headline.mean, d.headline.low, d.headline.high))
    by = f"{mean:.1f} points [{low:.1f}, {high:.1f}]"
    line = f"5-shot: resnet18 / d2m is better than resnet18 / none by {by}, five seeds."
    assert line in shown.stdout and line in Path(f"{out}.md").read_text()
    for each in d.classes:
        assert each.name in shown.stdout and f"{100 * each.difference.mean:+.2f}" in shown.stdout
    machine = fewdistill("compare", *asked, "--json", "--out", f"{out}.csv", cwd=tmp_path)
    [told] = json.loads(machine.stdout)["differences"]
    assert told["headline"]["low"] == d.headline.low and told["p"] == d.headline.p and told["outcome"] == "A"
    assert told["verdict"] in line and told["unpaired"] == ""
    [written] = csv.DictReader(Path(f"{out}.csv").read_text().splitlines())
    assert float(written["low"]) == 100 * d.headline.low and float(written["A"]) == 100 * d.accuracy[0]
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


def test_two_runs_whole(tmp_path: Path) -> None:
    shown = fewdistill("compare", "demo", "embedded", "--runs", REFERENCE, cwd=tmp_path).stdout
    assert "Of 8 comparisons: too few seeds for a claim in 8." in shown
    assert "Unpaired in 8: different test videos." in shown and "only in B: mobilenetv3_large / both" in shown


def test_beside_a_printed_figure(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "runs" / "mine" / "records")
    for seed in range(3):
        store.write(*made.finished(made.student(dataset="hmdb51", seed=seed), 0.72))
    shown = fewdistill("compare", "mine:resnet18/none", "published:lite-mkd/resnet18/hmdb51", "--json", cwd=tmp_path)
    [told] = json.loads(shown.stdout)
    assert told["paired"] is False and told["ours_minus_published"]["p"] is None
    assert told["published"]["accuracy"] == pytest.approx(0.7465)
    assert told["published"]["source"]["url"] == "https://github.com/HuiGuanLab/Lite-MKD"
    assert (
        told["verdict"].startswith("unpaired (other episodes): mine:resnet18/none") and "at 74.65 %" in told["verdict"]
    )


ROWS = "embedded:resnet18/d2m", "embedded:resnet18/none"


def test_wrong_usage_is_one_line(tmp_path: Path) -> None:
    failed = fewdistill("compare", "embedded:resnet18/d2n", ROWS[1], "--runs", REFERENCE, cwd=tmp_path)
    assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (2, "", 1)
    assert failed.stderr.startswith("error: 'embedded:resnet18/d2n': no such row or record; did you mean")


@pytest.mark.parametrize(
    ("a", "b", "more", "said"),
    [
        ("embeded", "embedded", {}, "'embeded': no such folder, record or run"),
        (ROWS[0], "embedded", {}, "name a row of both, such as embedded:resnet18/d2m"),
        (*ROWS, {"shot": 3}, "no 3-shot record; there is 1, 5-shot"),
        (*ROWS, {"out": Path("x.txt")}, "the name ends in .md or .csv"),
        (ROWS[0], "published:lite-mkd/resnet18/hmdb51", {}, "is on embedded"),
        (ROWS[0], "published:trx/resnet50/hmdb51", {"by_class": True}, "a published figure has no classes"),
        ("published:trx/resnet50/hmdb51", "published:strm/resnet50/hmdb51", {}, "name a row of yours"),
    ],
)
def test_what_cannot_be_compared(
    a: str, b: str, more: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((UserError, ResultError), match=re.escape(said)) as raised:  # which the command makes exit 2
        compare_command(a, b, runs=REFERENCE, **more)
    assert "\n" not in str(raised.value) and capsys.readouterr().out == ""


def test_list_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = fewdistill("list", "published", cwd=tmp_path).stdout
    assert all(figure.slug in shown and str(figure.accuracy) in shown for figure in load().figures)
    assert load().cautions[0] in shown
    list_published(as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert {row["slug"] for row in told} == {figure.slug for figure in load().figures}
