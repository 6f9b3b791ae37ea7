"""The blocks of the page on what the numbers mean: the same records under each kind of interval, count and split."""

import math
from collections.abc import Callable

import numpy as np

from fewdistill.results import ResultError
from fewdistill.results.readme.reference import TEACHER, Reference
from fewdistill.results.readme.words import DISTILLATIONS, MODELS, table, wrapped
from fewdistill.results.records.result import Result
from fewdistill.results.stats import (
    Paired,
    class_bootstrap,
    closed_interval,
    detectable_over_seeds,
    difference_components,
    paired_difference,
)
from fewdistill.results.summary.pairing import by_episode
from fewdistill.results.tables.files import DASH, number


def intervals(reference: Reference, suite: str, shot: str, *names: str) -> str:
    """Half-widths of four 95 % intervals around one accuracy: the first seed's record, and the mean over seeds."""
    lines = []
    for name in names:
        row = reference.row(suite, name, int(shot))
        result = reference.of_row(row)[0]
        metrics = result.record.metrics
        assert metrics and row.accuracy and result.correct is not None and result.query_class is not None
        rng = np.random.default_rng(int(result.record.key[:16], 16))
        classes = class_bootstrap(result.correct, result.query_class, rng)
        ends = metrics.open_low, metrics.open_high
        disjoint = None if ends[0] is None or ends[1] is None else ends[1] - ends[0]
        lines.append(
            [
                label(name),
                f"{100 * metrics.accuracy:.1f}",
                _half(metrics.closed_high - metrics.closed_low),
                _half(disjoint),
                _half(classes.high - classes.low),
                f"{100 * row.accuracy.mean:.1f}",
                _half(row.seeds.high - row.seeds.low) if row.seeds else DASH,
            ]
        )
    head = ["setting", f"{shot}-shot %, one seed", "closed", "open", "over classes", "mean of seeds %", "over seeds"]
    return table(head, lines)


def gain_intervals(reference: Reference, suite: str, shot: str) -> str:
    """Every gain of a suite at one shot with the interval over episodes, over seeds, and over both."""
    rows = [row for row in reference.rows(suite) if row.gain and row.shot == int(shot) and not row.setting.variant]
    lines = [
        [
            label(f"{row.setting.model}/{row.setting.distillation}"),
            str(row.gain.n_seeds),
            f"{100 * row.gain.mean:+.2f}",
            _span(row.gain.episodes),
            _span(row.gain.seeds),
            _span(row.gain.both),
        ]
        for row in rows
        if row.gain
    ]
    return table(["setting", "seeds", "gain, points", "over episodes", "over seeds", "over both"], lines)


def pairing(reference: Reference, suite: str, name: str, other: str, shot: str) -> str:
    """One seed's difference over shared episodes, and what its interval would be had each met its own."""
    ours, theirs = (reference.of_row(reference.row(suite, n, int(shot)))[0] for n in (name, other))
    if ours.episodes != theirs.episodes:
        raise ResultError(f"{suite}: {name} and {other} met other episodes")
    a, b = by_episode(ours), by_episode(theirs)
    paired = paired_difference(a, b)
    apart = math.hypot(closed_interval(a).half_width, closed_interval(b).half_width)
    return wrapped(
        f"{label(name)} minus {label(other)}, seed {ours.record.cell.seed}, {shot} shots:"
        f" {100 * paired.mean:+.2f} points, ± {50 * (paired.high - paired.low):.2f} over the shared episodes;"
        f" ± {100 * apart:.2f} had each met {len(a):,} of its own (the correlation over episodes is"
        f" {np.corrcoef(a, b)[0, 1]:.2f})."
    )


def detectable(reference: Reference, suite: str, name: str, other: str, shot: str) -> str:
    """What difference between two settings would be found four times in five, by seeds and episodes."""
    ours, theirs = (
        {r.record.cell.seed: by_episode(r) for r in reference.of_row(reference.row(suite, n, int(shot)))}
        for n in (name, other)
    )
    seeds = sorted(ours.keys() & theirs.keys())
    parts = difference_components([ours[s] for s in seeds], [theirs[s] for s in seeds])
    lines = []
    for count in (3, 5, 10, 20):
        found = [100 * detectable_over_seeds(parts, count, episodes) for episodes in (600, 10_000, math.inf)]
        lines.append([str(count), *(f"{value:.1f}" for value in found)])
    return table(["seeds", "600 episodes", "10,000 episodes", "any number of episodes"], lines)


def classes(reference: Reference, suite: str, name: str, shot: str) -> str:
    """How far apart the test classes lie for one setting, the mean over its seeds."""
    each = [_per_class(result) for result in reference.of_row(reference.row(suite, name, int(shot)))]
    means = {key: sum(one[key] for one in each) / len(each) for key in each[0]}
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    spread = float(np.std(list(means.values()), ddof=1))
    return wrapped(
        f"{label(name)}, {shot} shots, over its {len(means)} test classes: from {100 * means[low]:.1f} % (`{low}`) to"
        f" {100 * means[high]:.1f} % (`{high}`), standard deviation {100 * spread:.1f} points, so that the mean of"
        f" {len(means)} such classes has a standard error of {100 * spread / math.sqrt(len(means)):.1f}."
    )


def corrections(reference: Reference, suite: str) -> str:
    """How many gains of a suite have p under 5 % alone, and how many after Holm's correction."""
    rows = [row for row in reference.rows(suite) if row.gain and row.p is not None]
    alone = sum(1 for row in rows if row.gain and row.gain.headline.p < 0.05)
    held = sum(1 for row in rows if row.p is not None and row.p < 0.05)
    return wrapped(f"Of {len(rows)} comparisons {alone} have p < 0.05 taken alone, {held} after Holm's correction.")


def costs(reference: Reference, suite: str, shot: str) -> str:
    """What the counters say of each plain student and the teacher."""
    lines = []
    for row in reference.rows(suite):
        cost = row.cost
        if row.shot != int(shot) or row.setting.variant or row.setting.distillation not in ("none", "-"):
            continue
        ratio = cost.thop_gmacs_per_episode and cost.gmacs_per_episode
        name = f"{TEACHER if row.setting.role == TEACHER else row.setting.model}/{row.setting.distillation}"
        lines.append(
            [
                label(name).partition(",")[0],
                number(cost.parameters_m, 2),
                number(cost.gmacs_per_episode, 2),
                number(cost.thop_gmacs_per_episode, 2),
                f"{cost.thop_gmacs_per_episode / ratio:.2f}" if ratio and cost.thop_gmacs_per_episode else DASH,
                number(cost.latency_ms, 1),
                number(cost.gmacs_per_video, 2),
            ]
        )
    head = ["model", "parameters, M", f"GMACs an episode, {shot} shots", "thop's GMACs", "thop / counted"]
    return table([*head, "latency, ms a video", "GMACs a video"], lines)


def validation(reference: Reference, suite: str, shot: str, *names: str) -> str:
    """The accuracy that selected, and the accuracy on test classes, as means over seeds."""
    lines = []
    for name in names:
        row = reference.row(suite, name, int(shot))
        kept = [result.record.selection.get("val_accuracy") for result in reference.of_row(row)]
        if not row.accuracy or any(not isinstance(value, int | float) for value in kept):
            raise ResultError(f"{suite}: a record of {name} keeps no validation accuracy")
        mean = sum(float(value) for value in kept if value is not None) / len(kept)
        lines.append([label(name), f"{100 * mean:.1f}", f"{100 * row.accuracy.mean:.1f}"])
        lines[-1].append(f"{100 * (row.accuracy.mean - mean):+.1f}")
    return table(["setting", "validation %", "test %", "test minus validation"], lines)


def label(name: str) -> str:
    """ "resnet18/both" as the tables say it."""
    model, _, rest = name.partition("/")
    if model == TEACHER:
        return "the teacher"
    return f"{MODELS.get(model, model)}, {DISTILLATIONS.get(rest, rest)}"


def _per_class(result: Result) -> dict[str, float]:
    if result.record.metrics is None or not result.record.metrics.per_class:
        raise ResultError(f"record {result.record.key} keeps no accuracy by class")
    return result.record.metrics.per_class


def _half(width: float | None) -> str:
    return DASH if width is None else f"± {50 * width:.2f}"


def _span(found: Paired | None) -> str:
    return DASH if found is None else f"[{100 * found.low:.2f}, {100 * found.high:.2f}]"


BLOCKS: dict[str, Callable[..., str]] = {
    "intervals": intervals,
    "gain intervals": gain_intervals,
    "pairing": pairing,
    "detectable": detectable,
    "classes": classes,
    "corrections": corrections,
    "costs": costs,
    "validation": validation,
}
