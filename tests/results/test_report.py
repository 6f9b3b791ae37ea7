"""The report in a real browser: it opens from disk, and every number on it is the records'."""

import html
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from fewdistill.results import ResultError
from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.page import write_report
from fewdistill.results.stats import pareto_front
from fewdistill.results.summary.rows import Row
from tests.browser import Browser
from tests.results import made
from tests.results.pages import LINES, ROWS, by_place, choose, column, values


def test_accuracies_and_gains_equal_the_npz_files(page: Browser, cells: dict[str, dict[str, Any]]) -> None:
    groups = by_place(cells)
    names = [column(page, name) for name in ("model", "distillation", "shot")]
    places = page.run(f"{ROWS}.map(r => {names}.map(at => r.children[at].querySelector('a')?.innerText"
                      " ?? r.children[at].innerText))")  # fmt: skip
    texts = page.run(f"{ROWS}.map(r => r.children[{column(page, 'accuracy %')}].innerText)")
    shown = zip(places, values(page, "accuracy %"), texts, values(page, "gain"), strict=True)
    checked = 0
    for (model, distillation, shot), accuracy, text, gain in shown:
        seeds = {
            s: c["correct"].mean(axis=1) for s, c in groups[model, distillation, int(shot)].items() if "correct" in c
        }
        if not seeds:
            assert accuracy is None and gain is None
            continue
        episodes = np.mean(list(seeds.values()), axis=0)
        half = 196 * episodes.std() / np.sqrt(len(episodes))
        assert accuracy == pytest.approx(100 * episodes.mean(), abs=1e-9)
        assert text == f"{100 * episodes.mean():.2f} ± {half:.2f}"
        plain = {s: c["correct"].mean(axis=1) for s, c in groups[model, "none", int(shot)].items() if "correct" in c}
        if distillation in ("none", "-"):
            assert gain is None
        else:
            both = [(seeds[s] - plain[s]).mean() for s in seeds if s in plain]
            assert gain == pytest.approx(100 * np.mean(both), abs=1e-9)
            checked += 1
    assert checked == 18


def test_every_other_number_equals_the_summary(page: Browser, rows: list[Row]) -> None:
    for name, wanted in {
        "rank": [row.rank.place if row.rank else None for row in rows],
        "seeds": [len(row.by_seed) for row in rows],
        "p (Holm)": [row.p for row in rows],
        "GMACs": [row.cost.gmacs_per_episode for row in rows],
        "thop GMACs": [row.cost.thop_gmacs_per_episode for row in rows],
        "ms/video": [row.cost.latency_ms for row in rows],
        "params M": [row.cost.parameters_m for row in rows],
        "MB": [row.cost.size_mb for row in rows],
    }.items():
        assert values(page, name) == wanted, name
    gained = [row for row in rows if row.gain]
    for name, span in (("over episodes", "episodes"), ("over seeds", "seeds"), ("over both", "both")):
        at = column(page, name, "gains")
        texts = page.run(f"{LINES.format('gains')}.map(r => r.children[{at}].innerText)")
        parts = [getattr(row.gain, span) for row in gained]
        assert [text.replace("\N{MINUS SIGN}", "-") for text in texts] == [
            f"{100 * part.low:.2f} to {100 * part.high:.2f}" for part in parts
        ]
    assert page.run(f"{LINES.format('gains')}.map(r => Number(r.dataset.row))") == [
        index for index, row in enumerate(rows) if row.gain
    ]


def test_classes_and_confusion_equal_the_npz_files(page: Browser, rows: list[Row], cells: dict[str, Any]) -> None:
    groups = by_place(cells)
    heads = page.run("[...document.querySelectorAll('#classes-1-table th.turned')].map(h => h.textContent.trim())")
    assert heads == made.CLASSES
    lines = LINES.format("classes-1")
    shown = page.run(f"{lines}.map(r => [Number(r.dataset.row), [...r.querySelectorAll('td.number')]"
                     ".map(c => Number(c.dataset.value))])")  # fmt: skip
    assert len(shown) == sum(row.accuracy is not None for row in rows)
    for index, accuracies in shown:
        setting = rows[index].setting
        done = [c for c in groups[setting.model, setting.distillation, rows[index].shot].values() if "correct" in c]
        for number, accuracy in enumerate(accuracies):
            each = [c["correct"][c["query_class"] == number].mean() for c in done]
            assert accuracy == pytest.approx(100 * np.mean(each), abs=1e-9)
        counts = page.run(f"data.confusions[{index}]")["counts"]
        wanted = np.zeros((10, 11), dtype=int)
        for cell in done:
            np.add.at(wanted, (cell["query_class"].ravel(), cell["predicted"].ravel()), 1)  # -1, a tie, is the last
        assert counts == wanted.tolist()
    assert page.run("document.getElementById('confusion-chart').data[0].z.length") == 10


def test_every_panel_shows_its_own_record(page: Browser, cells: dict[str, dict[str, Any]], report: Path) -> None:
    panels = page.run("Object.fromEntries(Object.entries(data.records).map(([key, record]) => "
                      "[key, contents(key, record).map(e => e.textContent).join('\\n')]))")  # fmt: skip
    hrefs = page.run("Object.fromEntries(Object.entries(data.records).map(([k, r]) => [k, r.files.map(f => f.href)]))")
    assert panels.keys() == cells.keys()
    for key, text in panels.items():
        record = cells[key]
        axes = record["cell"]
        assert f"{axes['shot']}-shot, seed {axes['seed']}" in text and axes["model"] in text
        assert (
            f"{axes['model'] if axes['role'] == 'student' else 'teacher'}/{axes['distillation']}/s{axes['seed']}"
            in text
        )
        assert [(report.parent / href).resolve().name for href in hrefs[key]] == [f"{key}.json"]
        if record["status"] != "done":
            assert f"{record['status']}: {record['reason']}".rstrip(": ") in text
            continue
        m = record["metrics"]
        assert f"{100 * record['correct'].mean():.2f} %" in text
        assert f"{100 * m['closed_low']:.2f} to {100 * m['closed_high']:.2f}" in text
        assert all(f"{name}{100 * value:.1f}" in text for name, value in m["per_class"].items())
        assert f"commit{record['provenance']['commit']}" in text and "split" in text


def test_plot_shows_intervals_and_the_front(page: Browser, rows: list[Row]) -> None:
    choose(page, "shot", "5")
    keep = "t => ({rows: t.customdata ?? [], y: t.y, half: t.error_y?.array ?? [], meta: t.meta ?? []})"
    data = page.run(f"document.getElementById('cost-chart').data.map({keep})")
    assert sum(len(trace["rows"]) for trace in data) == 13
    for trace in data:
        for row, y, half in zip(trace["rows"], trace["y"], trace["half"], strict=bool(trace["rows"])):
            accuracy = rows[row].accuracy
            assert accuracy is not None
            assert (y, half) == pytest.approx((100 * accuracy.mean, 100 * accuracy.half_width))
    five = [i for i, row in enumerate(rows) if row.shot == 5 and row.accuracy]
    cost = [rows[i].cost.gmacs_per_episode or 0.0 for i in five]
    accuracy = [a.mean for i in five if (a := rows[i].accuracy)]
    assert data[0]["meta"] == [five[i] for i in pareto_front(cost, accuracy)]
    texts = page.run("document.getElementById('cost-chart').data.flatMap(t => t.text ? [...t.text] : [])")
    assert len(texts) == 13 and all("closed: " in text and "GMACs per episode" in text for text in texts)
    assert all(re.search(r"on the front in \d+ % of draws", text) for text in texts)
    assert all("ms per video, 2 threads" in text for text in texts if "mfm" not in text)
    odds = page.run("data.odds")
    assert len(odds) == 26 and all(0 <= share <= 1 for of in odds.values() for share in of.values())
    cheapest = [i for i in five if rows[i].cost.gmacs_per_episode == min(cost)]
    assert sum(odds[str(i)]["gmacs"] for i in cheapest) >= 1  # in every draw one of them is on the front
    assert odds[str(five[accuracy.index(max(accuracy))])]["gmacs"] > 0.9
    options = page.run("[...document.getElementById('x').options].map(o => o.value)")
    assert options == ["gmacs", "latency", "parameters", "size"]
    for name, text in (("latency", "latency per video (ms)"), ("size", "size of the weights (MB)")):
        choose(page, "x", name)
        assert page.run("document.getElementById('cost-chart').layout.xaxis.title.text") == text


def test_a_front_of_one_row_is_no_line_and_has_no_name(page: Browser) -> None:
    choose(page, "shot", "5")
    for role, named in (("student", True), ("teacher", False)):
        choose(page, "role", role)
        names = page.run("document.getElementById('cost-chart').data.map(t => t.name)")
        assert names and ("Pareto front" in names) == named


def test_forest_equals_the_gains(page: Browser, rows: list[Row]) -> None:
    traces = page.run("document.getElementById('gains-chart').data.map(t => [t.mode, [...t.x], t.customdata ?? []])")
    (marks,) = (trace for trace in traces if trace[0] == "markers")
    gained = [row for row in rows if row.gain]
    assert [rows[index] for index in marks[2]] == gained
    bars = [trace[1] for trace in traces if trace[0] == "lines"]
    for at, row in enumerate(gained):
        assert row.gain
        wide, episodes = row.gain.headline, row.gain.episodes
        assert marks[1][at] == pytest.approx(100 * row.gain.mean)
        assert bars[at] == pytest.approx([100 * wide.low, 100 * wide.high])
        assert bars[len(gained) + at] == pytest.approx([100 * episodes.low, 100 * episodes.high])
    low, high = page.run("document.getElementById('gains-chart').layout.xaxis.range")
    ends = [0.0, *(end for bar in bars for end in bar)]
    assert low < min(ends) and high > max(ends), "a bar touches the frame, or there is no zero"


def test_warnings_and_published_are_there(page: Browser) -> None:
    text = page.run("document.body.textContent")
    assert "resnet18 / tokens, 5-shot: seed 3 failed: loss is nan at step 40" in text
    assert "Fewer than 3 training seeds" in text
    assert "Published, not reproduced" in text
    assert "94.76" in page.run("document.getElementById('published').textContent")
    assert "94.76" not in page.run("document.getElementById('main-table').textContent")
    page.run("document.querySelector('#published a[href^=\"#source-\"]').click()")
    assert page.run(f"{ROWS}.length") > 20 and page.run("document.getElementById('panel').open") is False


def test_files_beside_exist_and_two_hundred_records_stay_small(report: Path) -> None:
    text = report.read_text()
    links = re.findall(r'<li><a href="([^"]+)"', text)
    names = {Path(link).name for link in links}
    stems = ["main", "cost", "gains", "classes-1-shot", "confusions-5-shot"]
    assert names >= {f"{stem}.{kind}" for stem in stems for kind in ("csv", "md", "tex")}
    stems = [f"accuracy-over-{cost}-5-shot" for cost in ("cost", "latency", "parameters")]
    stems += ["accuracy-over-cost-1-shot", "gains-1-shot", "gains-5-shot", "classes-resnet18-5-shot", "learning-curves"]
    assert names >= {f"{stem}.{kind}" for stem in stems for kind in ("svg", "png", "pdf")}
    assert all((report.parent / html.unescape(link)).stat().st_size > 0 for link in links)
    plotly = len(get_plotlyjs())
    assert plotly + (len(text) - plotly) / 77 * 200 < 8e6


def test_one_unfinished_record_and_hostile_names(store: RecordStore, browser: Browser, tmp_path: Path) -> None:
    odd = made.student(model="<img src=x onerror=alert(1)>", dataset="</script><b>&amp;", distillation="<b>'\"&")
    record, arrays = made.finished(odd, 0.6)
    store.write(record, arrays)
    store.write(made.unfinished(made.student(model="x", dataset="y"), "started"))
    (store.root / "notes.txt").write_text("mine")
    path = write_report([store.root], tmp_path / "out")
    with browser.showing(path):
        browser.run(f"openRecord('{record.key}')")
        assert "<img src=x" in browser.run("document.getElementById('panel').innerText")
        assert browser.run(f"{ROWS}.length") == 2
        assert browser.run("document.querySelectorAll('img, td b').length") == 0
        assert "notes.txt: not a record" in browser.run("document.body.textContent")


def test_gains_of_nothing_and_a_variant_have_a_page_too(store: RecordStore, browser: Browser, tmp_path: Path) -> None:
    plain, arrays = made.finished(made.student(), 0.7)
    distilled, _ = made.finished(made.student(distillation="d2m"), 0.7)
    store.write(plain, arrays)
    store.write(distilled.model_copy(update={"metrics": plain.metrics}), arrays)
    store.write(*made.finished(made.student(distillation="d2m", variant="flips"), 0.6))
    with browser.showing(write_report(store.root, tmp_path / "out")):
        assert browser.run(f"{LINES.format('ablations')}.length") == 1
        assert browser.run("document.getElementById('ablations-chart').data.at(-1).customdata.length") == 1
        assert browser.run("document.getElementById('cost-empty').hidden") is False  # no costs
        choose(browser, "variant", "flips")
        assert browser.run(f"{ROWS}.length") == 1 and browser.run("location.hash") == "#variant=flips"
        browser.run(
            "(s => { s.selectedIndex = 1; s.dispatchEvent(new Event('change')); })"
            "(document.querySelector('select[name=variant]'))"
        )
        assert browser.run(f"{ROWS}.length") == 2 and browser.run("location.hash") == "#variant="
        browser.reload()
        assert browser.run(f"{ROWS}.length") == 2


def test_marks_of_networks_that_cost_alike_stand_side_by_side(
    store: RecordStore, browser: Browser, tmp_path: Path
) -> None:
    streams = ("joint", "bone", "joint_motion")
    for stream in streams:
        for name in ("none", "dkd"):
            cell = made.supervised(f"light_dke_gcn-{stream}", name)
            store.write(*made.finished(cell, 0.6, count=50, cost=made.Cost(macs_per_episode=1e9)))
    store.write(*made.finished(made.supervised("ctr_gcn-joint"), 0.6, count=50, cost=made.Cost(macs_per_episode=2e9)))
    with browser.showing(write_report(store.root, tmp_path / "out")):
        drawn = "document.getElementById('cost-chart').data.filter(t => t.error_y).flatMap(t => [...t.x])"
        at = sorted(browser.run(drawn))
        assert len(at) == 7 and at[-1] == pytest.approx(2)
        assert min(after - before for before, after in pairwise(at)) > 0.002, "none hides another"
        assert at[0] * at[-2] == pytest.approx(1), "about their cost, on its logarithmic axis"


def test_a_record_of_two_suites_is_a_cell_of_both(new_store: made.Stores, tmp_path: Path) -> None:
    one, two, broken = new_store("one"), new_store("two"), new_store("broken")
    record, arrays = made.finished(made.student(), 0.7)
    one.write(record, arrays)
    cell = record.cell.model_copy(update={"suite": "other"})
    two.write(record.model_copy(update={"cell": cell}), arrays)
    text = write_report([one.root, two.root], tmp_path / "out").read_text()
    assert "1 of 1 records finished" in text and "<h1>lite, other on" in text
    shorter, arrays = made.finished(made.student(), 0.7, count=200)
    broken.write(shorter.model_copy(update={"cell": cell}), arrays)
    text = write_report([one.root, broken.root], tmp_path / "out").read_text()
    assert "the same cell with different results" in text and "0 of 1 records finished" in text


def test_nothing_to_report(new_store: made.Stores, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no such folder"):
        write_report(tmp_path / "nowhere", tmp_path / "out")
    empty = new_store("empty")
    empty.root.mkdir()
    with pytest.raises(ResultError, match="no readable record"):
        write_report(empty.root, tmp_path / "out")
