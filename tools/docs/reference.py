"""Reference records that the documentation quotes: suites and speed measurements in ``results/reference``."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from fewdistill.results import ResultError
from fewdistill.results.records.merge import merge
from fewdistill.results.records.result import Result
from fewdistill.results.stats import PairedOverSeeds, paired_over_seeds
from fewdistill.results.summary.pairing import by_episode
from fewdistill.results.summary.rows import Row, summarise

ROOT = Path(__file__).parents[2] / "results" / "reference"
TEACHER = "teacher"
"""Names a suite's only teacher in "teacher/-", whatever its model is called."""


@cache
def results(suite: str, collection: str = "records") -> list[Result]:
    """All records of a suite with their outcomes. The one place that knows how reference records are stored.

    collection: "records", or the name of other records of the suite, such as "retrained". Raises ResultError where a
    record is missing, damaged or contradicts another.
    """
    folder = ROOT / suite if collection == "records" else ROOT / suite / collection
    found, problems = merge([folder])
    if problems or not found:
        raise ResultError("\n".join(map(str, problems)) or f"{folder}: no reference records")
    return found


@cache
def rows(suite: str) -> list[Row]:
    """The summary of a suite's records: one row a setting and shot."""
    return summarise(results(suite))


@cache
def shots(suite: str) -> list[int]:
    """The shots at which a suite was tested, ascending; a supervised suite has one entry, which counts nothing."""
    found = {row.shot for row in rows(suite)}
    return sorted(found) if len(found) > 1 else list(found)


def row(suite: str, name: str, shot: int | None = None) -> Row:
    """The finished row "model/distillation@variant" or "teacher/-@variant" at one shot, by default the largest.

    Raises ResultError naming the row where none or several are meant.
    """
    setting, _, variant = name.partition("@")
    model, _, distillation = setting.partition("/")
    at = shots(suite)[-1] if shot is None else shot
    found = [
        row
        for row in rows(suite)
        if row.accuracy
        and (row.setting.distillation, row.setting.variant, row.shot) == (distillation, variant, at)
        and (row.setting.model == model or row.setting.role == model == TEACHER)
    ]
    if len(found) != 1:
        names = ", ".join(row.setting.model for row in found) or "nothing"
        raise ResultError(f"{suite}: {name!r} must name one finished row; it names {names}")
    return found[0]


def records(row: Row) -> list[Result]:
    """The finished records behind a row, by seed."""
    wanted = (row.setting.model, row.setting.distillation, row.setting.variant, row.shot)
    chosen = [
        result
        for result in results(row.setting.suite)
        if result.record.status == "done"
        and (cell := result.record.cell)
        and (cell.model, cell.distillation, cell.variant, cell.shot) == wanted
    ]
    return sorted(chosen, key=lambda result: result.record.cell.seed)


def pairs(suite: str, name: str, other: str, shot: int | None = None) -> tuple[list[Result], list[Result]]:
    """The records of two rows at the seeds that both have, in the same order.

    Raises ResultError where they share no seed, or were not tested on the same episodes.
    """
    a, b = ({r.record.cell.seed: r for r in records(row(suite, each, shot))} for each in (name, other))
    seeds = sorted(a.keys() & b.keys())
    if not seeds or any(a[seed].episodes != b[seed].episodes for seed in seeds):
        raise ResultError(f"{suite}: {name} and {other} share no seed and episodes to be paired by")
    return [a[seed] for seed in seeds], [b[seed] for seed in seeds]


def difference(suite: str, name: str, other: str, shot: int | None = None) -> PairedOverSeeds:
    """One row minus another as a fraction, paired by seed and episode."""
    ours, theirs = pairs(suite, name, other, shot)
    shared = len({result.episodes for result in ours}) == 1
    return paired_over_seeds([by_episode(r) for r in ours], [by_episode(r) for r in theirs], shared)


@cache
def speed(record: str) -> dict[str, Any]:
    """One record of ``python -m tools.speed --json``, by the name of its processor."""
    found: dict[str, Any] = json.loads((ROOT / "speed" / f"{record}.json").read_text(encoding="utf-8"))
    return found
