"""A protocol that brings metrics of its own: records, tables, plots, comparisons and report work from its model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import Field, ValidationError

from fewdistill.results import ResultError
from fewdistill.results.comparison.compare import compare
from fewdistill.results.comparison.selection import find_selection
from fewdistill.results.comparison.verdicts import outcome
from fewdistill.results.plots.accuracy import accuracy_over_cost
from fewdistill.results.plots.gains import gains_plot
from fewdistill.results.records.bundle import open_records, pack
from fewdistill.results.records.metrics import METRICS, Accuracy, MainFigure, Metrics
from fewdistill.results.records.record import Cell, Cost, Record, key_of
from fewdistill.results.records.store import RecordStore
from fewdistill.results.report.page import write_report
from fewdistill.results.stats import closed_interval
from fewdistill.results.summary.findings import headline
from fewdistill.results.summary.rows import summarise
from fewdistill.results.tables.tables import main_table
from fewdistill.results.tables.text import readable
from tests.results import made


class Retrieval(Metrics):
    """Mean average precision over queries, and what a round sends."""

    main: ClassVar[MainFigure] = MainFigure("mean_ap", "low", "high", "mAP")
    sample: ClassVar[str] = "query"

    mean_ap: float = Field(ge=0, le=1)
    low: float
    high: float
    rank_1: float
    sent_bytes: int


class Forgetting(Retrieval):
    """The same numbers, of which less is better."""

    main: ClassVar[MainFigure] = MainFigure("mean_ap", "low", "high", "forgetting", higher_is_better=False)


@pytest.fixture(autouse=True, params=[Retrieval, Forgetting])
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Retrieval]]:
    monkeypatch.setitem(METRICS, "federated", request.param)
    yield request.param


def a_record(cell: Cell, mean: float, model: type[Retrieval]) -> tuple[Record, dict[str, Any]]:
    identity = {"cell": cell.model_dump()}
    noise = np.random.default_rng(cell.seed).normal(0, 0.1, 400)
    values = np.clip(mean + noise, 0, 1)
    span = closed_interval(values)
    metrics = model(
        episodes=400, mean_ap=float(values.mean()), low=span.low, high=span.high, rank_1=0.5, sent_bytes=10**6
    )
    record = Record(
        key=key_of(identity), identity=identity, status="done", cell=cell, metrics=metrics,
        cost=Cost(macs_per_episode=1e9), provenance={"argv": ["fewdistill", "run", "lite"]},
    )  # fmt: skip
    return record, {"values": values, "query": np.arange(400, dtype=np.int32)[:, None]}


def store_of(root: Path, model: type[Retrieval]) -> RecordStore:
    store = RecordStore(root)
    for seed in range(3):
        for name, mean in (("none", 0.5), ("d2m", 0.6 + 0.01 * seed)):
            cell = made.student(distillation=name, shot=None, seed=seed, protocol="federated")
            store.write(*a_record(cell, mean, model))
    return store


def test_its_records_go_the_whole_way(tmp_path: Path, model: type[Retrieval]) -> None:
    store = store_of(tmp_path / "lite" / "records", model)
    results, problems = open_records(pack(store, tmp_path / "packed")[0].parent).scan()
    assert not problems and {type(result.record.metrics) for result in results} == {model}
    assert all(result.values is not None and result.correct is None for result in results)
    rows = {row.setting.distillation: row for row in summarise(results)}
    gain = rows["d2m"].gain
    assert gain and gain.mean == pytest.approx(0.11, abs=0.002) and rows["d2m"].claimed
    better = model.main.higher_is_better
    assert rows["d2m"].helps is better and (rows["d2m"].rank or rows["d2m"]).place == (1 if better else 2)  # type: ignore[union-attr]
    said = headline(list(rows.values()))
    assert said.startswith("Distillation is shown to help" if better else "No gain from distillation is established")
    table = main_table(list(rows.values()))
    assert ("federated", model.main.column) in table.columns and f"{model.main.name} %" in str(readable(table))
    accuracy_over_cost(list(rows.values()), None, tmp_path / "cost")
    gains_plot(list(rows.values()), None, tmp_path / "gains")
    assert model.main.name in (tmp_path / "cost.svg").read_text()
    [found] = compare(*(find_selection(f"lite:resnet18/{name}", tmp_path) for name in ("d2m", "none"))).differences
    assert found.at == "federated" and outcome(found) == ("A" if better else "B")
    page = write_report(tmp_path / "packed", tmp_path / "report").read_text()
    assert model.main.column in page and "sent bytes" in page


def test_what_is_not_its_own_is_refused(tmp_path: Path, model: type[Retrieval]) -> None:
    cell = made.student(shot=None, protocol="federated")
    record, arrays = a_record(cell, 0.5, model)
    store = RecordStore(tmp_path)
    with pytest.raises(ResultError, match="values average"):
        store.write(record, arrays | {"values": arrays["values"] / 2})
    with pytest.raises(ResultError, match=r"values is float64 .399,., wanted float64 .400,."):
        store.write(record, arrays | {"values": arrays["values"][1:]})
    plain, outcome_of_answers = made.finished(made.student(), 0.5)
    with pytest.raises(ResultError, match="correct"):
        store.write(record, outcome_of_answers)
    assert isinstance(plain.metrics, Accuracy)
    with pytest.raises(ValidationError, match=f"Accuracy in the federated protocol: wanted {model.__name__}"):
        Record.model_validate(dict(record) | {"metrics": plain.metrics})
