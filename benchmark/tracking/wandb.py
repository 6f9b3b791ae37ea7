"""Weights & Biases, in the project that WANDB_PROJECT names ("fewdistill"); WANDB_MODE=offline writes files alone."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.tracking.base import TRACKERS, Run, Tracker, Value, need


@TRACKERS.register("wandb")
class WeightsAndBiases(Tracker):
    """One W&B run a run, its id the key: one that goes on takes up the curve where the server has it.

    Offline there is nobody to ask: the whole curve is written again, in the place of what was not yet uploaded.
    """

    @classmethod
    def check(cls) -> None:
        need("wandb", "wandb")
        import wandb

        offline = wandb.setup().settings.mode != "online"
        if not offline and not wandb.login(prompt=False, verify=False):  # else it would ask on the terminal
            raise UserError("--track wandb has no key here: run `wandb login`, or set WANDB_MODE=offline")

    def open(self, run: Run) -> None:
        import wandb

        folder = run.folder / "wandb"  # W&B's own name: it takes the folder above it
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in folder.glob(f"offline-run-*-{run.key[:32]}"):
            if not _uploaded(earlier):
                shutil.rmtree(earlier)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "fewdistill"),
            id=run.key[:32],
            name=run.name,
            group=run.suite,
            job_type=run.kind,
            config=run.config,
            dir=run.folder,
            resume="allow",
            reinit="create_new",
            # standard output and error are the command's own, and so is where its code lies
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
        )
        self._held = self._run.step  # the first step that the server does not have

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self._held:
            self._run.log(dict(values), step=step)

    def close(self, status: str, summary: Mapping[str, Value]) -> None:
        self._run.summary.update({"status": status, **summary})
        self._run.finish(exit_code=0 if status == "done" else 1)


def _uploaded(folder: Path) -> bool:
    """Whether `wandb sync` has left its mark in an offline run's folder."""
    return any(folder.glob("*.synced"))
