"""The Python interface: open, status, run, records, compare."""

from pathlib import Path

import pytest

import fewdistill
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.results import ResultError
from tests.skeleton_suites import write_few_shot

REFERENCE = Path(__file__).parents[1] / "results" / "reference" / "embedded"


def test_a_suite_is_opened_run_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = fewdistill.open_suite(str(write_few_shot(tmp_path)), seeds=[0], evaluate__episodes=20)
    assert {row.by_cell["1-shot"] for row in run.status()} == {"missing"}
    done = run.run(only="light_dke_gcn/*", workers=1)
    assert [row.row.name for row in done] == ["light_dke_gcn/none/s0", "light_dke_gcn/assistant/s0"]
    assert all(row.done for row in done)
    frame = run.records()
    assert len(frame) == 4 and set(frame["distillation"]) == {"none", "assistant"} and (frame["episodes"] == 20).all()
    found = fewdistill.compare("few:light_dke_gcn/assistant", "few:light_dke_gcn/none", shot=2)
    assert found["shot"].tolist() == [2] and found["gain"][0] == pytest.approx(found["a"][0] - found["b"][0])
    with pytest.raises(UserError, match="no row matches"):
        run.run(only="nobody/*", workers=1)
    with pytest.raises(UserError, match="at least one"):
        run.run(workers=0)


def test_reference_records_are_a_frame() -> None:
    frame = fewdistill.records(REFERENCE)
    best = frame[(frame["model"] == "resnet18") & (frame["shot"] == 5)].groupby("distillation")["accuracy"].mean()
    assert best["tokens"] > best["none"] and frame["key"].is_unique and "macs_per_episode" in frame
    with pytest.raises(ResultError, match="no such folder of records"):
        fewdistill.records(REFERENCE / "nowhere")


def test_what_is_unknown_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="did you mean embedded"):
        fewdistill.open_suite("embeded")
    with pytest.raises(UserError, match="unknown key"):
        fewdistill.open_suite("demo", nothing=3)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = fewdistill.nothing
