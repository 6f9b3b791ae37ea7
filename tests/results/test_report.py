"""The report in a real browser: it opens from disk, shows the records' numbers, filters, sorts, leads to records."""

import html
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from benchmark.scoring import rows as suite_rows
from benchmark.suite_file import load_suite
from benchmark.workspace import Workspace
from results import ResultError
from results.report import write_report
from results.reproduce import command, told
from results.stats import pareto_front
from results.store import RecordStore
from results.summary import Row, summarise
from tests.results import made
from tests.results.browser import Browser

Stores = Callable[[str], RecordStore]

LINES = "[...document.querySelectorAll('#{}-table tbody tr')].filter(r => !r.hidden)"
ROWS = LINES.format("main")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(believable_store: RecordStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(believable_store.root, tmp_path_factory.mktemp("report"))


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Browser]:
    browser.errors.clear()
    browser.requests.clear()
    browser.open(report)
    yield browser
    assert browser.errors == []
    wanted = {url.partition("#")[0] for url in browser.requests if not url.startswith("data:")}
    assert wanted == {report.as_uri()}


@pytest.fixture(scope="module")
def rows(believable_store: RecordStore) -> list[Row]:
    return summarise(believable_store.scan()[0])


@pytest.fixture(scope="module")
def cells(believable_store: RecordStore) -> dict[str, dict[str, Any]]:
    """Every record as its files have it, read without the program: JSON, and correctness (E, Q)."""
    found = {}
    for path in believable_store.root.glob("*.json"):
        found[path.stem] = json.loads(path.read_text())
        if path.with_suffix(".npz").exists():
            own = np.load(path.with_suffix(".npz"))
            found[path.stem]["correct"] = own["correct"].astype(float)
            found[path.stem]["predicted"] = own["predicted"]
            drawn = np.load(believable_store.root / f"episodes-{own['episodes'].tobytes().hex()[:16]}.npz")
            found[path.stem]["query_class"] = drawn["query_class"]
    return found


def choose(page: Browser, name: str, value: str) -> None:
    chosen = f"={value}" if value and name not in ("x", "quantity", "confusion") else value
    page.run(
        f"(() => {{ const s = document.querySelector('select[name={name}], select#{name}'); s.value = {chosen!r};"
        " s.dispatchEvent(new Event('change')); })()"
    )


def search(page: Browser, text: str) -> None:
    page.run(
        f"(() => {{ const s = document.getElementById('search'); s.value = {text!r};"
        " s.dispatchEvent(new Event('input')); })()"
    )


def column(page: Browser, name: str, table: str = "main") -> int:
    heads = page.run(f"[...document.querySelectorAll('#{table}-table thead th')].map(h => h.textContent.trim())")
    return int(heads.index(name))


def values(page: Browser, name: str, table: str = "main") -> list[float | None]:
    at = column(page, name, table)
    found: list[str] = page.run(f"{LINES.format(table)}.map(r => r.children[{at}].dataset.value)")
    return [None if value == "" else float(value) for value in found]


def by_place(cells: dict[str, dict[str, Any]]) -> dict[tuple[str, str, int], dict[int, dict[str, Any]]]:
    found: dict[tuple[str, str, int], dict[int, dict[str, Any]]] = defaultdict(dict)
    for cell in cells.values():
        axes = cell["cell"]
        found[axes["model"], axes["distillation"], axes["shot"]][axes["seed"]] = cell
    return found


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


def test_every_filter_does_what_it_says(page: Browser, rows: list[Row]) -> None:
    axes = page.run("[...document.querySelectorAll('.filters select')].map(s => s.name)")
    assert axes == ["role", "model", "distillation", "shot"]
    plain = {
        axis: sorted({str(getattr(row, axis, "") or getattr(row.setting, axis, "")) for row in rows}) for axis in axes
    }
    tries = [{axis: value} for axis in axes for value in plain[axis]]
    tries += [{"model": model, "shot": "1", "distillation": "d2m"} for model in plain["model"]]
    for chosen in tries:
        for axis in axes:
            choose(page, axis, chosen.get(axis, ""))
        wanted = [
            index
            for index, row in enumerate(rows)
            if all(str(row.shot if axis == "shot" else getattr(row.setting, axis)) == v for axis, v in chosen.items())
        ]
        check_shown(page, rows, wanted)
    page.run("document.getElementById('reset').click()")
    for text in ("resnet18 5-shot", "TOKENS", "small d2m", "teacher", "nothing of the kind"):
        search(page, text)
        wanted = [
            index
            for index, row in enumerate(rows)
            if all(
                word in f"{row.setting.name} {row.setting.role} {row.setting.suite} {row.shot}-shot".lower()
                for word in text.lower().split()
            )
        ]
        check_shown(page, rows, wanted)
    page.run("document.getElementById('reset').click()")
    check_shown(page, rows, list(range(len(rows))))
    assert page.run("location.hash") == ""


def check_shown(page: Browser, rows: list[Row], wanted: list[int]) -> None:
    """Tables, charts and records hold the wanted rows and no other."""
    read = """(() => {
      const lines = (name) => [...document.querySelectorAll(`#${name}-table tbody tr`)]
        .filter(r => !r.hidden).map(r => Number(r.dataset.row));
      const marks = (id) => { const c = document.getElementById(id);
        return c.hidden ? [] : c.data.flatMap(t => t.customdata ? [...t.customdata] : []); };
      const curves = document.getElementById("curves-chart");
      return {main: lines("main"), gains: lines("gains"), cost: lines("cost"), records: [...new Set(lines("records"))],
        classes: lines("classes-1"), chart: marks("cost-chart"), forest: marks("gains-chart"),
        curves: curves.hidden ? [] : [...new Set(curves.data.flatMap(t => t.meta))],
        count: document.getElementById("count").value}; })()"""
    found = page.run(read)
    finished = [index for index in wanted if rows[index].accuracy]
    gained = [index for index in wanted if rows[index].gain]
    assert found["main"] == found["cost"] == wanted
    assert found["records"] == [index for index in wanted if rows[index].planned]
    assert found["classes"] == finished and sorted(found["chart"]) == finished
    assert found["gains"] == found["forest"] == gained
    assert set(found["curves"]) >= set(finished)
    assert {rows[index].setting for index in found["curves"]} == {rows[index].setting for index in finished}
    assert found["count"] == (f"{len(wanted)} of {len(rows)} rows" if len(wanted) < len(rows) else f"{len(rows)} rows")


def test_every_column_of_every_table_sorts_both_ways(page: Browser) -> None:
    for table in ("main", "gains", "cost", "records", "classes-1", "hypervolume", "published-hmdb51"):
        check_sorting(page, table)


def check_sorting(page: Browser, table: str) -> None:
    heads = f"[...document.querySelectorAll('#{table}-table thead th')]"
    read = f"{LINES.format(table)}.map(r => [...r.children].map(c => c.dataset.value ?? c.textContent.trim()))"
    before = page.run(read)
    words = page.run(f"{heads}.map(h => h.classList.contains('word'))")
    numeric = page.run(f"{heads}.map((h, at) => 'value' in h.closest('table').tBodies[0].rows[0].children[at].dataset)")
    for at, (word, number) in enumerate(zip(words, numeric, strict=True)):
        ways = []
        for _ in range(2):
            page.run(f"{heads}[{at}].querySelector('button').click()")
            ways.append(page.run(f"{heads}[{at}].ariaSort"))
            assert page.run(f"{heads}.filter(h => h.hasAttribute('aria-sort')).length") == 1
            shown = [line[at] for line in page.run(read)]
            if number:
                known = [float(value) for value in shown if value != ""]
                assert known == sorted(known, reverse=ways[-1] == "descending")
                assert shown[len(known) :] == [""] * (len(shown) - len(known))  # what was not measured stays last
            elif word and len(set(shown)) > 1 and all(re.fullmatch(r"[a-z0-9_]+|-", value) for value in shown):
                assert (shown[0] < shown[-1]) is (ways[-1] == "ascending")
        assert set(ways) == {"ascending", "descending"}
        page.run(f"{heads}[{at}].querySelector('button').click()")
        assert page.run(read) == before


def test_the_address_holds_the_state(page: Browser, rows: list[Row]) -> None:
    choose(page, "model", "resnet18")
    choose(page, "x", "latency")
    search(page, "5-shot")
    at = column(page, "accuracy %")
    page.run(f"document.querySelectorAll('#main-table thead th button')[{at}].click()")
    shown = page.run(f"{ROWS}.map(r => r.dataset.row)")
    key = page.run("document.querySelector('#main-table tr:not([hidden]) td.number a').hash").removeprefix("#record-")
    page.run("document.querySelector('#main-table tr:not([hidden]) td.number a').click()")
    address = page.run("location.hash")
    assert "model=resnet18" in address and f"record-{key}" in address
    page.reload()
    assert page.run("location.hash") == address
    assert page.run(f"{ROWS}.map(r => r.dataset.row)") == shown and len(shown) == 4
    assert page.run("document.querySelector('select[name=model]').value") == "=resnet18"
    assert page.run("document.getElementById('search').value") == "5-shot"
    assert page.run("document.getElementById('cost-chart').layout.xaxis.title.text") == "latency per video (ms)"
    assert page.run(f"document.querySelectorAll('#main-table thead th')[{at}].ariaSort") == "descending"
    assert page.run("document.getElementById('panel').open") is True
    page.run("document.getElementById('panel').close()")
    page.run("new Promise(r => setTimeout(r))")
    page.run("document.getElementById('reset').click()")
    assert page.run(f"{ROWS}.length") == len(rows) and page.run("location.hash") == ""


def test_the_panel_opens_by_keyboard_and_address_and_gives_focus_back(page: Browser, cells: dict[str, Any]) -> None:
    link = "document.querySelectorAll('#main-table td.number a')[8]"
    page.run(f"{link}.focus()")
    key = page.run(f"{link}.hash").removeprefix("#record-")
    assert page.run("document.getElementById('tip').innerText").count("closed:") == 1  # focus tells what a hover does
    page.press("Enter", 13)
    assert page.run("document.getElementById('panel').open") is True
    accuracy = cells[key]["correct"].mean()
    assert page.run("document.getElementById('panel-accuracy').innerText") == f"{100 * accuracy:.2f} %"
    assert page.run("document.getElementById('record-chart').data.length") == 2
    drawn = page.run("document.getElementById('record-chart').data.map(t => [t.name, [...t.x], [...t.y]])")
    for name, steps, curve in drawn:
        field, scale = ("val_accuracy", 100) if "accuracy" in name else ("train_loss", 1)
        assert steps == [point["step"] for point in cells[key]["curve"]]
        assert curve == pytest.approx([scale * point[field] for point in cells[key]["curve"]], rel=1e-5)
    page.press("Escape", 27)
    page.run("new Promise(r => setTimeout(r))")
    assert page.run("document.getElementById('panel').open") is False
    assert page.run(f"document.activeElement === {link}") is True
    other = next(name for name in cells if name != key)
    page.run(
        "new Promise(r => { addEventListener('hashchange', () => r(), {once: true});"
        f" location.hash = 'record-{other}'; }})"
    )
    assert page.run("document.getElementById('panel').open") is True
    page.run(
        "new Promise(r => { addEventListener('hashchange', () => r(), {once: true}); location.hash = 'record-0'; })"
    )
    assert "no record 0" in page.run("document.getElementById('panel').innerText")
    page.run("new Promise(r => { addEventListener('popstate', () => r(), {once: true}); history.back(); })")
    assert page.run("document.getElementById('panel').innerText").startswith(page.run(f"data.records['{other}'].name"))


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


def test_hover_and_tap_tell_the_intervals(page: Browser, report: Path, rows: list[Row]) -> None:
    cell = "document.querySelector('#main-table tbody tr[data-row=\"2\"] td.number a')"
    where = (
        f"(() => {{ {cell}.scrollIntoView({{block: 'center', behavior: 'instant'}});"
        f" const r = {cell}.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
    )
    tip = "document.getElementById('tip').hidden ? '' : document.getElementById('tip').innerText"
    page.run("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
    spot = page.run(where)
    page.run("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")  # a scroll hides the hover
    page.hover(*spot)
    text = page.run(tip)
    accuracy, seeds = rows[2].accuracy, rows[2].seeds
    assert accuracy and seeds
    assert f"closed: {100 * accuracy.low:.2f} to {100 * accuracy.high:.2f} over 300 episodes" in text
    assert f"seeds: {100 * seeds.low:.2f} to {100 * seeds.high:.2f}" in text
    assert "open: " in text and "classes: " in text and "bootstrap over 10" in text
    page.hover(1, 1)
    assert page.run(tip) == ""
    page.open(report, 390, 844)
    spot = page.run(where)
    page.run("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
    page.tap(*spot)
    page.run("new Promise(r => setTimeout(r, 50))")
    assert "closed: " in page.run(tip) and "open the record" in page.run(tip)
    assert page.run("document.getElementById('panel').open") is False
    page.run("document.querySelector('#tip a').click()")
    assert page.run("document.getElementById('panel').open") is True


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


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_it_fits_the_window(browser: Browser, report: Path, width: int, dark: bool) -> None:
    browser.errors.clear()
    browser.open(report, width, 844, dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(20, 23, 27)") is dark
    parts = "[...document.querySelectorAll('h1,h2,p,select,input,details,.chart,.scroll')]"
    assert browser.run(f"{parts}.filter(e => e.getBoundingClientRect().right > innerWidth + 1).length") == 0
    browser.run("openRecord(Object.keys(data.records)[0])")
    assert browser.run("(p => p.scrollWidth <= p.clientWidth)(document.getElementById('panel'))") is True
    assert browser.run("document.querySelectorAll('select:not([aria-label])').length") == browser.run(
        "document.querySelectorAll('label select').length"
    )
    assert browser.errors == []


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
    assert len(links) >= 9 + 2 * 3  # tables in three formats; two plots of cost and one of the curves
    assert all((report.parent / html.unescape(link)).stat().st_size > 0 for link in links)
    plotly = len(get_plotlyjs())
    assert plotly + (len(text) - plotly) / 77 * 200 < 8e6


def test_one_unfinished_record_and_hostile_names(new_store: Stores, browser: Browser, tmp_path: Path) -> None:
    store = new_store("a")
    odd = made.student(model="<img src=x onerror=alert(1)>", dataset="</script><b>&amp;", distillation="<b>'\"&")
    record, arrays = made.finished(odd, 0.6)
    store.write(record, arrays)
    store.write(made.unfinished(made.student(model="x", dataset="y"), "started"))
    (store.root / "notes.txt").write_text("mine")
    path = write_report([store.root], tmp_path / "out")
    browser.errors.clear()
    browser.requests.clear()
    browser.open(path)
    browser.run(f"openRecord('{record.key}')")
    assert "<img src=x" in browser.run("document.getElementById('panel').innerText")
    assert browser.errors == [] and {u for u in browser.requests if not u.startswith("data:")} == {path.as_uri()}
    assert browser.run(f"{ROWS}.length") == 2
    assert browser.run("document.querySelectorAll('img, td b').length") == 0
    assert "notes.txt: not a record" in browser.run("document.body.textContent")


def test_gains_of_nothing_and_a_variant_have_a_page_too(new_store: Stores, browser: Browser, tmp_path: Path) -> None:
    store = new_store("same")
    plain, arrays = made.finished(made.student(), 0.7)
    distilled, _ = made.finished(made.student(distillation="d2m"), 0.7)
    store.write(plain, arrays)
    store.write(distilled.model_copy(update={"metrics": plain.metrics}), arrays)
    store.write(*made.finished(made.student(distillation="d2m", variant="flips"), 0.6))
    browser.errors.clear()
    browser.open(write_report(store.root, tmp_path / "out"))
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
    assert browser.errors == []


def test_a_record_of_two_suites_is_a_cell_of_both(new_store: Stores, tmp_path: Path) -> None:
    one, two, broken = new_store("one"), new_store("two"), new_store("broken")
    record, arrays = made.finished(made.student(), 0.7)
    one.write(record, arrays)
    cell = record.cell.model_copy(update={"suite": "other"})
    two.write(record.model_copy(update={"cell": cell}), arrays)
    text = write_report([one.root, two.root], tmp_path / "out").read_text()
    assert "1 of 1 records finished" in text and "<h1>lite, other on" in text
    shorter, arrays = made.finished(made.student(), 0.7, count=200)
    broken.write(shorter.model_copy(update={"cell": cell}), arrays)
    with pytest.raises(ResultError, match="the same cell with different results"):
        write_report([one.root, broken.root], tmp_path / "out")


def test_nothing_to_report(new_store: Stores, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no such folder"):
        write_report(tmp_path / "nowhere", tmp_path / "out")
    empty = new_store("empty")
    empty.root.mkdir()
    with pytest.raises(ResultError, match="no readable record"):
        write_report(empty.root, tmp_path / "out")


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (["fewdistill", "run", "lite"], "fewdistill run lite --only 'resnet18/d2m/s3'"),
        (
            ["fewdistill", "run", "--runs", "/r", "my.toml", "--set", "seeds=[3,4]", "--only", "x/*", "--set=a.b=1",
             "--overwrite", "--device", "cuda", "--engine=ray", "--compile"],
            "fewdistill run my.toml --set 'seeds=[3,4]' --set=a.b=1 --device cuda --compile --only 'resnet18/d2m/s3'",
        ),
        (["fewdistill", "demo"], "fewdistill run lite --only 'resnet18/d2m/s3'"),
        (None, "fewdistill run lite --only 'resnet18/d2m/s3'"),
    ],
)  # fmt: skip
def test_the_command_keeps_what_changes_the_numbers(argv: list[str] | None, wanted: str) -> None:
    record, _ = made.finished(made.student(distillation="d2m", seed=3), 0.5)
    record = record.model_copy(update={"provenance": {"argv": argv} if argv else {}})
    assert command(record) == wanted and told(record) is bool(argv)
    many = record.model_copy(update={"provenance": {"argv": argv or [], "processes": 2, "row": "teacher/-/s0@odd"}})
    assert command(many).startswith("torchrun --nproc-per-node 2 -m benchmark.cli run ")
    assert command(many).endswith(" --only 'teacher/-/s0@odd'")


def test_the_commands_of_the_reference_records_name_rows_of_their_suites() -> None:
    names: dict[tuple[str, ...], set[str]] = {}
    for folder in ("demo", "embedded", "ablation"):
        for record in RecordStore(Path(made.__file__).parents[2] / "results/reference" / folder / "records").all():
            words = shlex.split(command(record))
            assert words[:2] == ["fewdistill", "run"] and told(record)
            settings = tuple(words[at + 1] for at, word in enumerate(words) if word == "--set")
            if (words[2], *settings) not in names:
                suite = load_suite(words[2], settings)
                found = {row.name for row in suite_rows(cast(Workspace, SimpleNamespace(suite=suite)))}
                names[words[2], *settings] = found
            assert words[-1] in names[words[2], *settings]
