"""How sure a place on the Pareto front is, and the area under a front: from draws over episodes and seeds."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from fewdistill.results.records.result import Result
from fewdistill.results.report.rows import COSTS, groups
from fewdistill.results.stats import Interval, accuracy_draws, front_probability, hypervolume_interval
from fewdistill.results.summary.findings import Front, fronts
from fewdistill.results.summary.pairing import by_episode, done
from fewdistill.results.summary.rows import Row, table_of

Draws = dict[tuple[object, ...], tuple[list[int], np.ndarray]]


def front_draws(rows: Sequence[Row], results: Sequence[Result]) -> Draws:
    """By table and shot, the numbers of its finished rows (variants aside) and draws (draws, n) of their accuracy."""
    points: dict[tuple[object, ...], dict[int, list[Result]]] = defaultdict(dict)
    for index, (row, group) in enumerate(zip(rows, groups(rows, results), strict=True)):
        finished = done(group)
        enough = all(len(by_episode(result)) > 1 for result in finished)
        if finished and enough and row.main.higher_is_better and not row.setting.variant:
            points[table_of(row.setting), row.shot][index] = finished
    found: Draws = {}
    for place, chosen in points.items():
        shared = len({result.episodes for group in chosen.values() for result in group}) == 1
        values = [[by_episode(result) for result in group] for group in chosen.values()]
        first = next(iter(chosen.values()))[0].record.key
        rng = np.random.default_rng(int(first[:16], 16))
        found[place] = (list(chosen), accuracy_draws(values, rng, draws=2000, shared=shared))
    return found


def front_odds(rows: Sequence[Row], draws: Draws) -> dict[int, dict[str, float]]:
    """By row number and cost axis, the share of draws in which the row is on the front of its table and shot."""
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for indices, drawn in draws.values():
        for name, field, _ in COSTS:
            priced = [(at, index, getattr(rows[index].cost, field)) for at, index in enumerate(indices)]
            priced = [entry for entry in priced if entry[2]]
            if priced:
                share = front_probability([cost for *_, cost in priced], drawn[:, [at for at, *_ in priced]])
                for (_, index, _), odds in zip(priced, share, strict=True):
                    found[index][name] = odds
    return found


def areas(rows: Sequence[Row], draws: Draws) -> list[tuple[Front, Interval | None]]:
    """Each distillation's hypervolume, in the units of ``Front``, with its interval over episodes and seeds."""
    found: list[tuple[Front, Interval | None]] = []
    for front in fronts(rows):
        span = None
        for indices, drawn in draws.values():
            here = [(at, rows[index]) for at, index in enumerate(indices) if rows[index].cost.gmacs_per_episode]
            chosen = [(at, row) for at, row in here if row.setting.distillation == front.distillation]
            if chosen and front.table == Front.title(chosen[0][1].setting) and front.shot == chosen[0][1].shot:
                cost = [math.log10(row.cost.gmacs_per_episode or 1) for _, row in chosen]
                dearest = max(math.log10(row.cost.gmacs_per_episode or 1) for _, row in here)
                accuracy = [100 * row.accuracy.mean for _, row in chosen if row.accuracy]
                columns = 100 * drawn[:, [at for at, _ in chosen]]
                span = hypervolume_interval(cost, accuracy, columns, dearest, 100 / chosen[0][1].setting.way)
        found.append((front, span))
    return found
