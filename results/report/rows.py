"""What the page of a report gets of its rows: filters, points of the charts, hover texts, classes, curves."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fewdistill.results.plots.accuracy import by_setting, mean_curve, quantities, title
from fewdistill.results.plots.style import colours, markers
from fewdistill.results.records.metrics import Accuracy, macs_of
from fewdistill.results.records.record import Record
from fewdistill.results.records.result import Result
from fewdistill.results.stats import Interval, Paired, class_bootstrap
from fewdistill.results.summary.ranks import Rank
from fewdistill.results.summary.rows import Match, Row, Setting, table_of
from fewdistill.results.tables.files import number, p_text
from fewdistill.results.tables.tables import axes_of

AXES = ("suite", "dataset", "split", "role", "model", "distillation", "variant", "head", "way", "query", "frames",
        "image_size", "shot")  # fmt: skip

# Cost axes of the chart: name in the page's address, field of RowCost, what the axis says.
COSTS = (
    ("gmacs", "gmacs_per_episode", "GMACs per episode"),
    ("latency", "latency_ms", "latency per video (ms)"),
    ("parameters", "parameters_m", "parameters (M)"),
    ("size", "size_mb", "size of the weights (MB)"),
)

# matplotlib's marker -> plotly's
_SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "<": "triangle-left",
    ">": "triangle-right", "P": "cross", "h": "hexagon", "*": "star",
}  # fmt: skip


def cost_axes(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The cost axes that any of the rows has a value on: name in the page's address, what the axis says."""
    said = {"gmacs": macs_of({row.setting.protocol for row in rows})}
    return [(name, said.get(name, text)) for name, field, text in COSTS if any(getattr(r.cost, field) for r in rows)]


def axis(row: Row, name: str) -> str:
    """The value of an axis as text, "" for a shot where there is none."""
    value = row.shot if name == "shot" else getattr(row.setting, name)
    return "" if value is None else str(value)


def filters(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The axes in which rows differ, with their values in the order of the table, numbers by size."""
    found = {name: list(dict.fromkeys(axis(row, name) for row in rows)) for name in AXES}
    for name in ("shot", "way", "query", "frames", "image_size"):
        found[name].sort(key=lambda value: int(value or 0))
    found["variant"].sort()
    return {name: values for name, values in found.items() if len(values) > 1}


def columns(rows: Sequence[Row]) -> list[str]:
    """Axes that get a column: what is compared first, then what sets the tables apart."""
    first = ("model", "distillation", "variant")
    axes = axes_of(rows)
    return [*(name for name in first if name in axes), *(name for name in axes if name not in first)]


def _at(row: Row) -> str:
    remark = row.setting.metrics.remark
    return f"{row.at} ({remark})" if remark else row.at


def protocol(rows: Sequence[Row]) -> str:
    """What all rows share of the protocol, in words."""
    says: dict[str, Callable[[Row], str]] = {
        "way": lambda row: f"{row.setting.way} classes" if row.shot is None else f"{row.setting.way}-way",
        "shot": _at,
        "query": lambda row: f"query {row.setting.query}",
        "frames": lambda row: f"{row.setting.frames} frames",
        "image_size": lambda row: f"{row.setting.image_size} px" if row.setting.image_size else "joints",
        "head": lambda row: f"head {row.setting.head}",
    }
    unasked = {"query"} if all(row.shot is None for row in rows) else set()  # of clips, each by itself
    shared = {name: {say(row) for row in rows} for name, say in says.items() if name not in unasked}
    return ", ".join(values.pop() for values in shared.values() if len(values) == 1)


def groups(rows: Sequence[Row], results: Sequence[Result]) -> list[list[Result]]:
    """The results behind each row, by seed."""
    found: dict[Match, list[Result]] = defaultdict(list)
    for result in sorted(results, key=lambda result: result.record.cell.seed):
        found[Setting.of(result.record.cell), result.record.cell.shot].append(result)
    return [found.get((row.setting, row.shot), []) for row in rows]


def row_data(rows: Sequence[Row], results: Sequence[Result]) -> list[dict[str, Any]]:
    """One entry for each row: axes, marks, costs, and what a hover tells; figures and gains in their unit (percent)."""
    settings = [row.setting for row in rows]
    colour, marker = colours(settings), markers(settings)
    behind = groups(rows, results)
    keys = {(row.setting, row.shot): [r.record.key for r in group] for row, group in zip(rows, behind, strict=True)}
    found = []
    for row, group in zip(rows, behind, strict=True):
        gain, scale = row.gain, row.main.scale
        found.append(
            {
                "name": row.setting.name,
                "table": str(table_of(row.setting)),
                "at": row.at,
                "axes": {name: axis(row, name) for name in AXES},
                "records": keys[row.setting, row.shot],
                "compared": row.against.name if row.against else "",
                "against": keys.get((row.against, row.shot), []) if row.against else [],
                "accuracy": scale * row.accuracy.mean if row.accuracy else None,
                "half": scale * row.accuracy.half_width if row.accuracy else None,
                "cost": {name: getattr(row.cost, field) for name, field, _ in COSTS},
                "gain": gain
                and {
                    "mean": scale * gain.mean,
                    "episodes": [scale * gain.episodes.low, scale * gain.episodes.high],
                    "span": [scale * gain.headline.low, scale * gain.headline.high],
                    "claimed": row.claimed,
                },
                "colour": colour[row.setting.distillation],
                "symbol": _SYMBOLS[marker[row.setting.model]],
                "tip": tip(row, group),
            }
        )
    return found


def tip(row: Row, group: Sequence[Result]) -> list[str]:
    """What a hover over a row tells, a line each: every interval of its accuracy and gain, and its cost."""
    lines = [f"{row.setting.name}, {row.at}"]
    if not row.accuracy:
        return [*lines, row.why]
    main, scale = row.main, row.main.scale
    shown = f"{scale * row.accuracy.mean:.2f} ± {scale * row.accuracy.half_width:.2f} {main.unit}".rstrip()
    lines.append(f"{shown}, mean of {_many(len(row.by_seed), 'seed')}")
    if row.rank:
        lines.append(f"rank {rank_text(row.rank)}")
    lines.append(f"closed: {_span(row.accuracy, scale)} over {_many(row.accuracy.n, row.setting.metrics.sample)}")
    lines += [f"open: {text}" for text in _open(group)]
    lines.append(f"seeds: {_span(row.seeds, scale)}" if row.seeds else "seeds: one, so no interval")
    classes = over_classes(group)
    lines.append(f"classes: {_span(classes)}, bootstrap over {classes.n}" if classes else "classes: fewer than two")
    if len(row.by_seed) > 1:
        lines.append("by seed: " + ", ".join(f"{seed}: {scale * value:.2f}" for seed, value in row.by_seed))
    if row.gain:
        gain = row.gain
        lines.append(f"gain {scale * gain.mean:+.2f} {main.points}, {p_text(row.p or 0.0)} (Holm)")
        for name, part in (("episodes", gain.episodes), ("seeds", gain.seeds), ("both", gain.both)):
            lines += [f"gain over {name}: {_span(part, scale)}"] if part else []
    elif row.gain_why not in ("the reference", "a teacher"):
        lines.append(f"no gain: {row.gain_why}")
    return [*lines[:1], *(_typeset(line) for line in [*lines[1:], *_cost_lines(row)])]


def rank_text(rank: Rank) -> str:
    """The place, and in brackets those that the paired intervals leave open."""
    if rank.best is None or rank.worst is None or rank.best == rank.worst:
        return f"{rank.place} of {rank.of}"
    return f"{rank.place} ({rank.best} to {rank.worst}) of {rank.of}"


def over_classes(group: Sequence[Result]) -> Interval | None:
    """Class bootstrap of the accuracy averaged over seeds; None where seeds met other episodes or one class alone."""
    finished = [result for result in group if result.correct is not None]
    first = finished[0] if finished else None
    if first is None or first.query_class is None or np.ptp(first.query_class) == 0:
        return None
    if len({result.episodes for result in finished}) > 1:
        return None
    correct = np.mean([result.correct for result in finished if result.correct is not None], axis=0)
    return class_bootstrap(correct, first.query_class, np.random.default_rng(int(first.record.key[:16], 16)))


def _open(group: Sequence[Result]) -> list[str]:
    found = []
    for record in (result.record for result in group):
        metrics = record.metrics
        if isinstance(metrics, Accuracy) and metrics.open_low is not None and metrics.open_high is not None:
            low, high = 100 * metrics.open_low, 100 * metrics.open_high
            found.append(f"{low:.2f} to {high:.2f} over disjoint episodes, seed {record.cell.seed}")
    return found or ["too few disjoint episodes"]


def _cost_lines(row: Row) -> list[str]:
    cost = row.cost
    lines = []
    if cost.gmacs_per_episode is not None:
        lines.append(f"{number(cost.gmacs_per_episode)} {macs_of({row.setting.protocol})}")
    if cost.latency_ms is not None:
        threads = f", {_many(cost.latency_threads, 'thread')}" if cost.latency_threads else ""
        lines.append(f"{number(cost.latency_ms)} ms per video{threads}")
    if cost.parameters_m is not None:
        lines.append(f"{number(cost.parameters_m)} M parameters")
    return lines


def _span(part: Interval | Paired, scale: float = 100) -> str:
    return f"{scale * part.low:.2f} to {scale * part.high:.2f}"


def _typeset(line: str) -> str:
    """With a minus sign before a figure in place of the hyphen."""
    return re.sub(r"(?<!\S)-(?=\d)", "\N{MINUS SIGN}", line)


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def curve_data(rows: Sequence[Row], results: Sequence[Result]) -> list[dict[str, Any]]:
    """Seed means of every quantity, one entry for each setting and quantity, with the rows it belongs to."""
    records: Mapping[Setting, list[Record]] = by_setting(result.record for result in results)
    colour = colours(records)
    models = sorted({setting.model for setting in records})
    found = []
    for setting, group in sorted(records.items()):
        members = [index for index, row in enumerate(rows) if row.setting == setting]
        for name in sorted(quantities(group), key=lambda name: "accuracy" not in name):
            steps, values = thin(*mean_curve(group, name))
            dash = ("solid", "dash", "dot", "dashdot")[models.index(setting.model) % 4]
            found.append(
                {"label": setting.name, "quantity": title(name), "x": steps, "y": values, "dash": dash,
                 "rows": members, "seeds": len(group),
                 "teacher": setting.role == "teacher", "colour": colour[setting.distillation]}
            )  # fmt: skip
    return found


def thin(steps: Sequence[int], values: Sequence[float], most: int = 400) -> tuple[list[int], list[float]]:
    """At most about ``most`` points of a long curve, evenly, the last among them; six digits that count."""
    every = -(-len(steps) // most) or 1
    kept = sorted({*range(0, len(steps), every), len(steps) - 1} if steps else set())
    return [steps[i] for i in kept], [float(f"{values[i]:.6g}") for i in kept]
