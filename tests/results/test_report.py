"""The report in a real browser: it opens from disk, shows the records' numbers, filters and sorts."""

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from results import ResultError
from results.report import write_report
from results.stats import pareto_front
from results.store import RecordStore
from results.summary import Row, summarise
from tests.results import made
from tests.results.browser import Browser

Stores = Callable[[str], RecordStore]

ROWS = "[...document.querySelectorAll('#main-table tbody tr')].filter(r => !r.hidden)"


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
    assert {url for url in browser.requests if not url.startswith("data:")} == {report.as_uri()}


@pytest.fixture(scope="module")
def rows(believable_store: RecordStore) -> list[Row]:
    return summarise(believable_store.scan()[0])


def choose(page: Browser, name: str, value: str) -> None:
    page.run(
        f"(() => {{ const s = document.querySelector('select[name={name}], select#{name}'); s.value = {value!r};"
        " s.dispatchEvent(new Event('change')); })()"
    )


def column(page: Browser, name: str, table: str = "main-table") -> int:
    heads = page.run(f"[...document.querySelectorAll('#{table} thead th')].map(h => h.textContent.trim())")
    return int(heads.index(name))


def test_numbers_equal_the_records(page: Browser, rows: list[Row]) -> None:
    for name, wanted in {
        "accuracy %": [100 * row.accuracy.mean if row.accuracy else None for row in rows],
        "gain": [100 * row.gain.mean if row.gain else None for row in rows],
        "p (Holm)": [row.p for row in rows],
        "GMACs": [row.cost.gmacs_per_episode for row in rows],
    }.items():
        at = column(page, name)
        shown = page.run(f"{ROWS}.map(r => r.children[{at}].dataset.value).map(v => v === '' ? null : Number(v))")
        assert shown == wanted, name
    at = column(page, "accuracy %")
    texts = page.run(f"{ROWS}.map(r => r.children[{at}].innerText)")
    for text, row in zip(texts, rows, strict=True):
        if row.accuracy:
            assert text == f"{100 * row.accuracy.mean:.2f} ± {100 * row.accuracy.half_width:.2f}"
        else:
            assert text == row.why


def test_filters_hold_for_table_plot_and_curves(page: Browser, rows: list[Row]) -> None:
    choose(page, "model", "resnet18")
    choose(page, "shot", "5")
    wanted = [i for i, row in enumerate(rows) if row.setting.model == "resnet18" and row.shot == 5]
    assert page.run(f"{ROWS}.map(r => Number(r.dataset.row))") == wanted
    assert page.run("document.getElementById('count').value") == f"{len(wanted)} of {len(rows)} rows"
    drawn = page.run("document.getElementById('cost-chart').data.flatMap(t => t.customdata ? [...t.customdata] : [])")
    assert sorted(drawn) == wanted
    assert page.run("document.getElementById('curves-chart').data.length") == len(wanted)
    visible = "[...document.querySelectorAll('#gains-table tbody tr')].filter(r => !r.hidden).length"
    assert page.run(visible) == 3
    choose(page, "model", "resnet50")
    assert page.run("document.getElementById('cost-chart').hidden") is True
    choose(page, "model", "")
    choose(page, "shot", "")
    assert page.run(f"{ROWS}.length") == len(rows)


def test_sorting_by_number_and_by_word(page: Browser, rows: list[Row]) -> None:
    known = sorted((100 * row.accuracy.mean for row in rows if row.accuracy), reverse=True)
    at = column(page, "accuracy %")
    click = f"document.querySelectorAll('#main-table thead th button')[{at}].click()"
    values = f"{ROWS}.map(r => r.children[{at}].dataset.value).map(v => v === '' ? null : Number(v))"
    page.run(click)
    assert page.run(values) == [*known, None, None]
    page.run(click)
    assert page.run(values) == [*reversed(known), None, None]  # what was not measured stays last
    assert page.run(f"document.querySelectorAll('#main-table thead th')[{at}].ariaSort") == "ascending"
    page.run("document.querySelector('#main-table thead th button').click()")
    names = page.run(f"{ROWS}.map(r => r.children[0].textContent)")
    assert names == sorted(names)


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
    assert all(
        "over 3 seeds" in text and "GMACs" in text and "ms per video, 2 threads" in text
        for text in texts
        if "mfm" not in text
    )
    choose(page, "cost-axis", "latency")
    assert page.run("document.getElementById('cost-chart').layout.xaxis.title.text") == "latency per video (ms)"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_it_fits_the_window(browser: Browser, report: Path, width: int, dark: bool, tmp_path: Path) -> None:
    browser.errors.clear()
    browser.open(report, width, 844, dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(20, 23, 27)") is dark
    parts = "[...document.querySelectorAll('h1,h2,p,select,details,.chart')]"
    assert browser.run(f"{parts}.filter(e => e.getBoundingClientRect().right > innerWidth + 1).length") == 0
    assert browser.errors == []


def test_warnings_details_and_published_are_there(page: Browser) -> None:
    text = page.run("document.body.textContent")
    assert "resnet18 / tokens, 5-shot: seed 3 failed: loss is nan at step 40" in text
    assert "Fewer than 3 training seeds" in text
    assert "Published, not reproduced" in text and "94.76" in page.run(
        "document.getElementById('published').textContent"
    )
    assert "94.76" not in page.run("document.getElementById('main-table').textContent")
    cell = page.run("document.querySelectorAll('details.cell').length")
    assert cell == 77 and "fewdistill run lite" in text and "bootstrap over 10 test classes" in text


def test_files_beside_exist(report: Path) -> None:
    links = re.findall(r'<li><a href="([^"]+)"', report.read_text())
    names = {Path(link).name for link in links}
    stems = ["main", "cost", "gains", "classes-1-shot", "confusions-5-shot"]
    assert names >= {f"{stem}.{kind}" for stem in stems for kind in ("csv", "md", "tex")}
    stems = [f"accuracy-over-{cost}-5-shot" for cost in ("cost", "latency", "parameters")]
    stems += ["accuracy-over-cost-1-shot", "gains-1-shot", "gains-5-shot", "classes-resnet18-5-shot", "learning-curves"]
    assert names >= {f"{stem}.{kind}" for stem in stems for kind in ("svg", "png", "pdf")}
    assert all((report.parent / html.unescape(link)).stat().st_size > 0 for link in links)


def test_one_unfinished_record_and_hostile_names(new_store: Stores, browser: Browser, tmp_path: Path) -> None:
    store = new_store("a")
    odd = made.student(model="<img src=x onerror=alert(1)>", dataset="</script><b>&amp;")
    store.write(*made.finished(odd, 0.6))
    store.write(made.unfinished(made.student(model="x", dataset="y"), "started"))
    (store.root / "notes.txt").write_text("mine")
    path = write_report([store.root], tmp_path / "out")
    browser.errors.clear()
    browser.requests.clear()
    browser.open(path)
    assert browser.errors == [] and {u for u in browser.requests if not u.startswith("data:")} == {path.as_uri()}
    assert browser.run(f"{ROWS}.length") == 2
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert "notes.txt: not a record" in browser.run("document.body.textContent")


def test_gains_of_nothing_have_a_page_too(new_store: Stores, tmp_path: Path) -> None:
    store = new_store("same")
    plain, arrays = made.finished(made.student(), 0.7)
    distilled, _ = made.finished(made.student(distillation="d2m"), 0.7)
    store.write(plain, arrays)
    store.write(distilled.model_copy(update={"metrics": plain.metrics}), arrays)
    assert "±1.0 points" in write_report(store.root, tmp_path / "out").read_text()


def test_nothing_to_report(new_store: Stores, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no such folder"):
        write_report(tmp_path / "nowhere", tmp_path / "out")
    empty = new_store("empty")
    empty.root.mkdir()
    with pytest.raises(ResultError, match="no readable record"):
        write_report(empty.root, tmp_path / "out")
