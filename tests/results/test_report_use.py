"""The report in use: filters, sorting, the address, panels by click and key, hover and tap, the width of a phone."""

import re
from pathlib import Path
from typing import Any

import pytest

from fewdistill.results.summary.rows import Row
from tests.browser import Browser
from tests.results.pages import LINES, ROWS, choose, column, search


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
    page.press("Enter")
    assert page.run("document.getElementById('panel').open") is True
    accuracy = cells[key]["correct"].mean()
    assert page.run("document.getElementById('panel-accuracy').innerText") == f"{100 * accuracy:.2f} %"
    assert page.run("document.getElementById('record-chart').data.length") == 2
    drawn = page.run("document.getElementById('record-chart').data.map(t => [t.name, [...t.x], [...t.y]])")
    for name, steps, curve in drawn:
        field, scale = ("val_accuracy", 100) if "accuracy" in name else ("train_loss", 1)
        assert steps == [point["step"] for point in cells[key]["curve"]]
        assert curve == pytest.approx([scale * point[field] for point in cells[key]["curve"]], rel=1e-5)
    page.run("new Promise(r => { document.getElementById('copy').click(); setTimeout(r, 100); })")
    assert page.run("document.getElementById('copy').innerText") == "copied"
    assert page.run("navigator.clipboard.readText()") == page.run(f"data.records['{key}'].command")
    page.press("Escape")
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


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_it_fits_the_window(browser: Browser, report: Path, width: int, dark: bool) -> None:
    with browser.showing(report, width, 844, dark):
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
