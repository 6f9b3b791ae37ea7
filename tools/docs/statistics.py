"""Tables of docs/numbers.md: one accuracy under several intervals, detectable differences, classes and costs."""

import math

import numpy as np

from fewdistill.results.stats import (
    class_bootstrap,
    closed_interval,
    detectable_over_seeds,
    difference_components,
    paired_difference,
)
from fewdistill.results.summary.pairing import by_episode
from fewdistill.results.tables.files import number
from tools.docs import wording as w
from tools.docs.reference import TEACHER, pairs, records, row, rows, shots


def interval_table(suite: str, *names: str) -> str:
    """Half-widths of four 95 % intervals of one accuracy in percent, at every shot.

    Closed, open and over classes are of the first seed; the interval over seeds is of the mean.
    """
    lines = []
    for shot in shots(suite):
        for name in names:
            found = row(suite, name, shot)
            result = records(found)[0]
            metrics = result.record.metrics
            assert metrics and found.accuracy and result.correct is not None and result.query_class is not None
            rng = np.random.default_rng(int(result.record.key[:16], 16))
            classes = class_bootstrap(result.correct, result.query_class, rng)
            cells = [
                (metrics.closed_low, metrics.closed_high),
                (metrics.open_low, metrics.open_high),
                (classes.low, classes.high),
                (found.seeds.low, found.seeds.high) if found.seeds else (None, None),
            ]
            *of_one, of_seeds = [w.DASH if a is None or b is None else f"± {50 * (b - a):.2f}" for a, b in cells]
            line = [w.label(found), str(shot), f"{100 * metrics.accuracy:.1f}", *of_one]
            lines.append([*line, f"{100 * found.accuracy.mean:.1f}", of_seeds])
    head = ["setting", "shots", "first seed %", "closed", "open", "over classes", "mean of seeds %", "over seeds"]
    return w.markdown(head, lines)


def pairing_table(suite: str, name: str, other: str) -> str:
    """The first seed's difference at the largest shot: its half-width over shared episodes, and over episodes apart."""
    ours, theirs = (by_episode(side[0]) for side in pairs(suite, name, other))
    paired = paired_difference(ours, theirs)
    apart = math.hypot(closed_interval(ours).half_width, closed_interval(theirs).half_width)
    line = [w.label(row(suite, name)), w.label(row(suite, other)), f"{100 * paired.mean:+.2f}"]
    line += [f"± {50 * (paired.high - paired.low):.2f}", f"± {100 * apart:.2f}"]
    head = ["row", "compared with", "difference, first seed", "same episodes", f"{len(ours):,} episodes of its own"]
    return w.markdown([*head, "correlation"], [[*line, f"{np.corrcoef(ours, theirs)[0, 1]:.2f}"]])


def detectable_table(suite: str, *compared: tuple[str, str]) -> str:
    """The true difference, in points, that would be found four times in five, by numbers of seeds and episodes."""
    lines = []
    for name, other in compared:
        ours, theirs = ([by_episode(r) for r in side] for side in pairs(suite, name, other))
        parts = difference_components(ours, theirs)
        for seeds in (3, 5, 10, 20):
            found = [100 * detectable_over_seeds(parts, seeds, episodes) for episodes in (600, 10_000, math.inf)]
            lines.append([w.label(row(suite, name)), str(seeds), *(f"{value:.1f}" for value in found)])
    return w.markdown(["row", "seeds", "600 episodes", "10,000 episodes", "any number of episodes"], lines)


def class_table(suite: str, *names: str) -> str:
    """The spread of accuracies over test classes at the largest shot, mean over seeds, in percent and points."""
    lines = []
    for name in names:
        found = row(suite, name)
        each = [metrics.per_class for r in records(found) if (metrics := r.record.metrics) and metrics.per_class]
        means = {key: 100 * sum(one[key] for one in each) / len(each) for key in each[0]}
        low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        spread = float(np.std(list(means.values()), ddof=1))
        ends = [f"{means[key]:.1f} (`{key}`)" for key in (low, high)]
        lines.append([w.label(found), str(len(means)), *ends, f"{spread:.1f}", f"{spread / math.sqrt(len(means)):.1f}"])
    return w.markdown(["row", "classes", "lowest %", "highest %", "standard deviation", "standard error"], lines)


def cost_table(suite: str) -> str:
    """Parameters, MACs and latency of the teacher and of each student without distillation, at the largest shot."""
    last, lines = shots(suite)[-1], []
    for each in rows(suite):
        cost, plain = each.cost, each.setting.role == TEACHER or each.setting.distillation == "none"
        if each.shot != last or each.setting.variant or not plain:
            continue
        thop, counted = cost.thop_gmacs_per_episode, cost.gmacs_per_episode
        figures = [number(value, 2) for value in (cost.parameters_m, counted, thop)]
        ratio = f"{thop / counted:.2f}" if thop and counted else w.DASH
        line = [w.model_name(each), *figures, ratio, number(cost.latency_ms, 1), number(cost.gmacs_per_video, 2)]
        lines.append(line)
    head = ["model", "parameters, M", f"GMACs an episode, {w.at_shot(last)}", "GMACs by thop", "thop / counted"]
    return w.markdown([*head, "latency, ms a video", "GMACs a video"], lines)
