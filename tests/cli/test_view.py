"""`fewdistill view` on a suite that was really run: refusals by name, and the page in a browser beside the records."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fewdistill.benchmark.api import load_suite
from fewdistill.benchmark.graph.protocol import RunOptions
from fewdistill.benchmark.protocols.episodic.opening import OpenedVideos, open_videos
from fewdistill.benchmark.protocols.episodic.student import student_stage
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.viewer.collect import check_present, collect
from fewdistill.benchmark.viewer.strips import strips
from fewdistill.results.records.record import Record
from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.episode_page import render
from tests.browser import Browser
from tests.command import TINY, fewdistill, succeeded
from tests.skeleton_suites import arena_of, run_here, write_few_shot

pytestmark = pytest.mark.slow

NONE, BOTH, TEACHER = "pico/none/s0", "pico/both/s0", "teacher/-/s0"
LIGHT = TINY.replace('["rgb", "depth", "flow", "skeleton"]', '["rgb"]').replace('"skeleton"', '"rgb"')
LIGHT = LIGHT.replace("epochs = 4", "epochs = 2").replace("episodes = 20\n", "episodes = 10\n").replace("= 200", "= 60")


def opened(home: Path, *settings: str) -> OpenedVideos:
    suite = load_suite(str(home / "tiny.toml"), settings)
    assert isinstance(suite, Suite)
    return open_videos(suite, RunOptions(home / "runs", home / "data", "cpu"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny suite, with a page of both students."""
    home = tmp_path_factory.mktemp("view")
    (home / "tiny.toml").write_text(LIGHT)
    assert all(each.done for each in run_here(opened(home)))
    shown = succeeded("view", "tiny.toml", NONE, BOTH, "--wrong", "--shot", "2", "--episodes", "5", cwd=home)
    assert re.search(r"view: view\.html \(0\.\d MB\)", shown.stdout)
    return home


@pytest.fixture
def page(browser: Browser, home: Path) -> Iterator[Browser]:
    with browser.showing(home / "view.html"):
        yield browser


def recorded(home: Path, name: str, shot: int) -> tuple[Record, np.ndarray]:
    """The record of a row of the tiny suite and its correctness."""
    found = opened(home)
    store = RecordStore(found.context.runs / "records")
    (key,) = (record.key for row in found.rows() if row.name == name for cell, record in row.cells if cell.shot == shot)
    return store.read(key), store.arrays(key)["correct"]


def test_answers_equal_the_records(page: Browser, home: Path) -> None:
    records = [recorded(home, name, 2) for name in (NONE, BOTH, TEACHER)]
    right = np.concatenate([correct for _, correct in records[:2]], axis=1).min(1)
    wanted = np.flatnonzero(right == 0)[:5].tolist()
    assert page.run("[...document.querySelectorAll('.episode')].map(e => e.id)") == [f"episode-{n}" for n in wanted]
    marks = (
        "[...document.querySelectorAll('.query')].map(q => [...q.querySelectorAll('.mark')].map(m => m.classList[1]))"
    )
    shown = np.array(page.run(marks)).reshape(5, 3, 3)  # episodes, queries, networks
    for network, (record, correct) in enumerate(records):
        assert ((shown[:, :, network] == "right") == correct[wanted]).all()
        cells = page.run(
            f"[...document.querySelectorAll('.networks tbody tr')[{network}].children].map(c => c.innerText)"
        )
        assert record.metrics and cells[2] == f"{100 * record.metrics.accuracy:.2f} %"
        assert cells[3] == f"{int(correct[wanted].sum())} of 15"


def test_bars_are_the_softmax_and_the_highest_is_predicted(page: Browser) -> None:
    bars = page.run(
        "[...document.querySelectorAll('.query')].flatMap(q => [0, 1, 2].map(n =>"
        " [...q.querySelectorAll(`.bar[data-network='${n}']`)].map(b => [Number(b.dataset.logit),"
        " b.style.getPropertyValue('--p'), 'predicted' in b.dataset, b.className, b.closest('tr').className])))"
    )
    assert len(bars) == 5 * 3 * 3
    for column in bars:
        logits = np.array([bar[0] for bar in column])
        powers = np.exp(logits - logits.max())
        assert [float(bar[1].rstrip("%")) for bar in column] == pytest.approx(100 * powers / powers.sum(), abs=0.0051)
        assert [bar[2] for bar in column].index(True) == logits.argmax()
        chosen = column[int(logits.argmax())]
        if "right" in chosen[3]:
            assert chosen[4] == "true"
        elif "wrong" in chosen[3]:
            assert chosen[4] == ""


def test_stepping_with_buttons_keys_and_the_list(page: Browser) -> None:
    visible = "[...document.querySelectorAll('.episode')].map(e => e.offsetParent !== null).indexOf(true)"
    press = "document.dispatchEvent(new KeyboardEvent('keydown', {key: '%s', bubbles: true}))"
    assert page.run(visible) == 0 and page.run("document.getElementById('previous').disabled")
    page.run("document.getElementById('next').click()")
    assert page.run(visible) == 1
    page.run(press.replace("document.dispatch", "document.body.dispatch") % "ArrowRight")
    assert page.run(visible) == 2
    page.run(press.replace("document.dispatch", "document.body.dispatch") % "ArrowLeft")
    page.run("document.getElementById('previous').click()")
    assert page.run(visible) == 0
    page.run(
        "(() => { const list = document.getElementById('episode'); list.value = '4';"
        " list.dispatchEvent(new Event('change')); })()"
    )
    assert page.run(visible) == 4 and page.run("document.getElementById('next').disabled")
    assert page.run("[...document.querySelectorAll('.episode')].filter(e => e.offsetParent).length") == 1


def test_a_chosen_bar_shows_what_was_matched(page: Browser) -> None:
    for network, name in enumerate((NONE, BOTH, TEACHER)):
        page.run(f'document.querySelector(\'.query .bar[data-network="{network}"][data-class="1"]\').click()')
        told = page.run("document.querySelector('.query .matched').innerText")
        classes = page.run(
            "[...document.querySelectorAll('.episode .class figcaption')].slice(0, 3).map(c => c.innerText)"
        )
        assert f"What {name} matched with {classes[1]}" in told and "Attention over pairs of frames" in told
        links = page.run("[...document.querySelector('.query').querySelectorAll('.matched li')].map(l => l.innerText)")
        weights = [float(match[1]) for link in links if (match := re.search(r"([\d.]+) %", link))]
        assert len(weights) == 5 and weights == sorted(weights, reverse=True) and all(0 < w <= 100 for w in weights)
        lines = page.run("document.querySelector('.query').querySelectorAll('.pairing line').length")
        assert lines == 5 * 2  # two frames a link
    page.run("document.querySelectorAll('.query .matched li')[2].click()")
    assert page.run("document.querySelectorAll('.query header .f.hit').length") == 2
    assert page.run("document.querySelectorAll('.support .class[data-class=\"1\"] .f.hit').length") == 2
    words = page.run("document.querySelector('.query .words tbody').textContent")
    assert words.count("→") == 3 * 3 * 5 and "of\N{NO-BREAK SPACE}video\N{NO-BREAK SPACE}2" in words


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (390, True)])
def test_it_fits_the_window(page: Browser, home: Path, width: int, dark: bool) -> None:
    page.open(home / "view.html", width, 844, dark)
    assert page.run("document.documentElement.scrollWidth") <= width
    parts = "[...document.querySelectorAll('main *')].filter(e => e.offsetParent && !e.closest('.scroll, .side'))"
    assert page.run(f"{parts}.filter(e => e.getBoundingClientRect().right > innerWidth + 1).length") == 0
    assert (page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)") is not dark


@pytest.mark.parametrize(
    ("settings", "row", "asked", "says"),
    [
        ((), "pico/bth/s0", {}, f"in the suite tiny: did you mean {BOTH}"),
        ((), BOTH, {"numbers": (60,)}, "no test episode 60: they are numbered 0 to 59"),
        ((), BOTH, {"shot": 3}, "no 3-shot episodes: the suite evaluates at 1, 2 shots"),
        (("episodic.episodes=20",), BOTH, {}, f"{BOTH} is not finished at 1 shots: no record in"),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    home: Path, settings: tuple[str, ...], row: str, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        collect(opened(home, *settings), [row], **asked)


def test_a_failed_row_says_why_it_failed(copy: Path) -> None:
    record, _ = recorded(copy, BOTH, 1)
    failed = {"status": "failed", "reason": "no room on the disk", "metrics": None, "cost": None}
    RecordStore(copy / "runs" / "tiny" / "records").write(record.model_copy(update=failed))
    with pytest.raises(UserError, match=r"is not finished at 1 shots \(failed: no room on the disk\); run `fewdistill"):
        collect(opened(copy), [BOTH])


def test_wrong_usage_is_one_line(home: Path) -> None:
    result = fewdistill("view", "tiny.toml", BOTH, "--hardest", "--wrong", "--out", "refused.html", cwd=home)
    assert result.returncode == 2 and "give one of them" in result.stderr and "Traceback" not in result.stderr
    assert not (home / "refused.html").exists()


def test_a_look_at_nothing_begins_no_run(home: Path, tmp_path: Path) -> None:
    suite = load_suite(str(home / "tiny.toml"))
    with pytest.raises(UserError, match="tiny: no run folder with records"):
        check_present(suite, tmp_path, home / "data")
    with pytest.raises(UserError, match="the run's embedded data set is not there"):
        check_present(suite, home / "runs", tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_hardest_come_first(home: Path) -> None:
    _, correct = recorded(home, BOTH, 1)
    shown = collect(opened(home), [BOTH], order="hardest", count=3)
    wanted = correct.mean(1).argsort(kind="stable")[:3]
    assert [episode.number for episode in shown.episodes] == wanted.tolist()
    assert [network.name for network in shown.networks] == [BOTH, TEACHER]


def test_frames_are_as_large_as_the_page_allows() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 4, 128, 128, 3), dtype=np.uint8)
    ids = ["a", "b", "c"]
    width = {}
    for limit in (200_000, 60_000):
        found = strips(ids, lambda video: noise[ids.index(video)], limit)
        assert sum(len(strip.jpeg) for strip in found.values()) <= limit
        width[limit] = cv2.imdecode(np.frombuffer(found["a"].jpeg, np.uint8), cv2.IMREAD_COLOR).shape
    assert width[200_000][0] > width[60_000][0] and width[60_000][1] == 4 * width[60_000][0]
    with pytest.raises(UserError, match="3 videos do not fit in"):
        strips(ids, lambda video: noise[ids.index(video)], 2_000)


@pytest.fixture
def copy(home: Path, tmp_path: Path) -> Path:
    shutil.copytree(home / "runs", tmp_path / "runs")
    shutil.copy(home / "tiny.toml", tmp_path)
    (tmp_path / "data").symlink_to(home / "data")
    return tmp_path


def test_weights_that_are_not_the_records_are_an_error(copy: Path) -> None:
    found = opened(copy)
    none, both = (student_stage(found.run, "pico", named, 0).folder for named in ("none", "both"))
    shutil.copy(none / "weights.safetensors", both)
    with pytest.raises(RunError, match=r"1-shot episode \d+: the record") as error:
        collect(found, [BOTH], count=60)
    told = str(error.value)
    assert both.name in told and "the run folder is stale" in told and recorded(copy, BOTH, 1)[0].key[:12] in told


def test_a_teacher_without_tokens_is_left_out_and_named(copy: Path) -> None:
    [fusion] = (copy / "runs" / "tiny" / "stages").glob("fusion-s0-*")
    shutil.rmtree(fusion)
    shown = collect(opened(copy), [BOTH], numbers=(3,))
    assert [network.name for network in shown.networks] == [BOTH] and len(shown.episodes[0].answers) == 1
    assert shown.notes[0].startswith(f"{TEACHER} is not shown: {TEACHER}: no weights at")
    html = render(shown)
    assert "Chosen by number" in html and f"{TEACHER} is not shown" in html


def test_a_head_without_attention_says_so(home: Path, browser: Browser, tmp_path: Path) -> None:
    shown = collect(opened(home), [BOTH], numbers=(3,))
    [episode] = shown.episodes
    plain = replace(episode, answers=tuple(replace(answer, matches=None) for answer in episode.answers))
    (tmp_path / "plain.html").write_text(render(replace(shown, episodes=(plain,))))
    with browser.showing(tmp_path / "plain.html"):
        assert "this head has no attention" in browser.run("document.querySelector('.matched').innerText")


def test_skeleton_episodes_are_shown_as_stick_figures(browser: Browser, tmp_path: Path) -> None:
    write_few_shot(tmp_path)
    changes = ('students={light_dke_gcn={dkd="teacher"}}', 'teacher="dke_gcn"')
    suite = arena_of(tmp_path, changes)
    assert all(each.done for each in run_here(suite))
    settings = [part for change in changes for part in ("--set", change)]
    asked = ["few.toml", "light_dke_gcn/dkd/s0", *settings, "--episodes", "2", "--shot", "2"]
    succeeded("view", *asked, cwd=tmp_path)
    shown = collect(suite, ["light_dke_gcn/dkd/s0"], shot=2, count=2)
    assert [network.name for network in shown.networks] == ["light_dke_gcn/dkd/s0", "dke_gcn/-/s0"]
    assert {suite.pictures(video).shape for video in shown.strips} == {(2, 112, 112, 3)}, "one figure a token"
    with browser.showing(tmp_path / "view.html"):
        assert browser.run("document.querySelectorAll('.query').length") == 2 * 2
        assert "this head has no attention" in browser.run("document.querySelector('.matched').innerText")
