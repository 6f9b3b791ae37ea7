"""MLflow: a server that MLFLOW_TRACKING_URI names, or an SQLite file in the run folder.

The file is for ``mlflow ui --backend-store-uri sqlite:///runs/<suite>/tracking/mlflow/mlflow.db``.
"""

import logging
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from fewdistill.benchmark.tracking.base import TRACKERS, Run, Tracker, Value, flat, need, numbers
from fewdistill.feature_cache import run_lock

_TAG = "fewdistill.key"
_BATCH = 500  # metrics a request; MLflow takes 1000
_EVERY_S = 2.0
_ENDS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
_WORDS = 500  # characters of a parameter: the least that a server may allow


@TRACKERS.register("mlflow")
class MLflow(Tracker):
    """One MLflow run a run, found again by the tag fewdistill.key; the experiment is the suite."""

    @classmethod
    def check(cls) -> None:
        need("mlflow", "mlflow")

    def open(self, run: Run) -> None:
        from mlflow import MlflowClient

        logging.getLogger("mlflow.store.db").setLevel(logging.WARNING)  # tells of every table that it makes
        own = run.folder / "mlflow"
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        # one process at a time makes tables and experiments
        with nullcontext() if uri else run_lock(own, lambda owner: None):
            self._client = MlflowClient(uri or f"sqlite:///{(own / 'mlflow.db').resolve()}")
            known = self._client.get_experiment_by_name(run.suite)
            place = None if uri else (own / "artifacts").resolve().as_uri()
            experiment = known.experiment_id if known else self._client.create_experiment(run.suite, place)
        found = self._client.search_runs([experiment], f"tags.`{_TAG}` = '{run.key}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            tags = {_TAG: run.key, "kind": run.kind}
            self._id = self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
            self._log_parameters(run)
        self._steps = {name: self._last_step(name) for name in found[0].data.metrics} if found else {}
        self._batch: list[Any] = []
        self._sent = time.monotonic()

    def _log_parameters(self, run: Run) -> None:
        from mlflow.entities import Param

        named = [Param(name, str(value)[:_WORDS]) for name, value in flat(run.config)]
        for start in range(0, len(named), 100):
            self._client.log_batch(self._id, params=named[start : start + 100])

    def _last_step(self, name: str) -> int:
        return max(metric.step for metric in self._client.get_metric_history(self._id, name))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._batch += [
            Metric(name, value, now, step) for name, value in values.items() if step > self._steps.get(name, -1)
        ]
        if len(self._batch) >= _BATCH or time.monotonic() - self._sent >= _EVERY_S:
            self._send()

    def _send(self) -> None:
        self._client.log_batch(self._id, metrics=self._batch)
        self._batch, self._sent = [], time.monotonic()

    def close(self, status: str, summary: Mapping[str, Value]) -> None:
        self._steps = {}  # a summary may change: the last one counts
        self.log(0, numbers(summary))
        self._send()
        for name, value in {"status": status, **summary}.items():
            if isinstance(value, str):
                self._client.set_tag(self._id, name, value[:_WORDS])
        self._client.set_terminated(self._id, _ENDS[status])
