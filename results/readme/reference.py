"""The records that the documentation quotes: one folder a suite, and the records of the speed cases."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fewdistill.results import ResultError
from fewdistill.results.records.merge import merge
from fewdistill.results.records.result import Result
from fewdistill.results.stats import PairedOverSeeds, paired_over_seeds
from fewdistill.results.summary.pairing import by_episode, done
from fewdistill.results.summary.rows import Row, summarise

TEACHER = "teacher"
"""How a quoted row names a suite's one teacher, whatever its model is called."""


class Reference:
    """Records under ``root``/<suite> and ``root``/speed/*.json, each read once when first asked for."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.results = cache(self._results)
        self.rows = cache(self._rows)
        self.speed = cache(self._speed)

    def suites(self) -> list[str]:
        """Names of the suites with records; ResultError where there are none."""
        found = sorted(path.parent.name for path in self.root.glob("*/records.jsonl"))
        if not found:
            raise ResultError(f"{self.root}: no bundles <suite>/records.jsonl of records; run from a checkout")
        return found

    def row(self, suite: str, name: str, shot: int) -> Row:
        """The finished row of "model/distillation" or "teacher/-", with "@variant" behind it, at one shot.

        Raises ResultError naming the row where it is missing or has no figure, or where several teachers have the name.
        """
        setting, _, variant = name.partition("@")
        model, _, distillation = setting.partition("/")
        found = []
        for row in self.rows(suite):
            at, known = row.setting, (row.setting.model, TEACHER if row.setting.role == TEACHER else "")
            if model in known and (at.distillation, at.variant, row.shot) == (distillation, variant, shot):
                found += [row] if row.accuracy else []
        if not found:
            raise ResultError(f"{self.root / suite}: no finished row {name!r} at {shot}-shot to quote")
        if len(found) > 1:
            several = ", ".join(row.setting.model for row in found)
            raise ResultError(f"{self.root / suite}: {name!r} at {shot}-shot is any of {several}: name the model")
        return found[0]

    def of_row(self, row: Row) -> list[Result]:
        """The finished records behind a row, by seed."""
        wanted = (row.setting.model, row.setting.distillation, row.setting.variant, row.shot)
        chosen = [
            result
            for result in done(self.results(row.setting.suite))
            if (c := result.record.cell) and (c.model, c.distillation, c.variant, c.shot) == wanted
        ]
        return sorted(chosen, key=lambda result: result.record.cell.seed)

    def difference(
        self, suite: str, name: str, other: str, shot: int, only: Sequence[int] | None = None
    ) -> PairedOverSeeds:
        """The row ``name`` minus the row ``other`` over the seeds that both have (of ``only`` these), paired."""
        ours = {r.record.cell.seed: r for r in self.of_row(self.row(suite, name, shot))}
        theirs = {r.record.cell.seed: r for r in self.of_row(self.row(suite, other, shot))}
        seeds = sorted(seed for seed in ours.keys() & theirs.keys() if only is None or seed in only)
        if not seeds or any(ours[seed].episodes != theirs[seed].episodes for seed in seeds):
            raise ResultError(f"{suite}: {name} and {other} at {shot}-shot share no seed and episodes to be paired by")
        shared = len({ours[seed].episodes for seed in seeds}) == 1
        a, b = ([by_episode(side[seed]) for seed in seeds] for side in (ours, theirs))
        return paired_over_seeds(a, b, shared)

    def _results(self, suite: str) -> list[Result]:
        found, problems = merge([self.root / suite])
        if problems:
            raise ResultError("\n".join(map(str, problems)))
        return found

    def _rows(self, suite: str) -> list[Row]:
        return summarise(self.results(suite))

    def _speed(self, record: str) -> dict[str, Any]:
        path = self.root / "speed" / f"{record}.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ResultError(f"{path}: no readable record of speed ({error})") from error
        if not isinstance(found, dict) or not {"environment", "limits", "sizes", "rows"} <= found.keys():
            raise ResultError(f"{path}: not a record of `python -m tools.speed --json`")
        return found
