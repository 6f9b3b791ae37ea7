"""From records to rows: the seeds of one setting and shot become one statement. Tables, plots and report read rows."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from results import ResultError
from results.record import Cell, Cost
from results.stats import Interval, PairedOverSeeds, closed_over_seeds, holm, paired_over_seeds, seed_interval
from results.store import Result

FEWEST_SEEDS = 3
"""A claim needs this many training seeds."""

ALPHA = 0.05


@dataclass(frozen=True, order=True)
class Setting:
    """A cell without its shot and its seed."""

    suite: str
    dataset: str
    split: str
    role: str
    way: int
    query: int
    frames: int
    image_size: int
    head: str
    model: str
    distillation: str
    variant: str = ""

    @classmethod
    def of(cls, cell: Cell) -> "Setting":
        return cls(**{field.name: getattr(cell, field.name) for field in fields(cls)})

    @property
    def name(self) -> str:
        plain = self.model if self.distillation in ("-", "") else f"{self.model} / {self.distillation}"
        return f"{plain} ({self.variant})" if self.variant else plain


@dataclass(frozen=True)
class RowCost:
    """Cost of a row: medians over its seeds; None where no seed measured it. MACs in units of 1e9 (G)."""

    parameters_m: float | None
    gmacs_per_video: float | None
    gmacs_per_episode: float | None
    thop_gmacs_per_episode: float | None
    latency_ms: float | None
    latency_threads: int | None
    training_seconds: float | None
    counter: str


@dataclass(frozen=True)
class Row:
    """A setting at one shot. Accuracies and gains are fractions.

    why: reason for an empty row, else "". accuracy: mean over seeds with its closed interval. seeds: interval over
    training seeds (None with one). by_seed: (seed, accuracy). planned: records of any status. unfinished: one line
    for each record that is not done. gain: paired difference from the setting with distillation "none", for a variant
    from the same setting without it, over the seeds both have; gain_why: reason where there is none; p: Holm-corrected
    over all gains of the summary.
    """

    setting: Setting
    shot: int
    why: str
    accuracy: Interval | None
    seeds: Interval | None
    by_seed: tuple[tuple[int, float], ...]
    planned: int
    unfinished: tuple[str, ...]
    gain: PairedOverSeeds | None
    gain_why: str
    p: float | None
    cost: RowCost

    @property
    def claimed(self) -> bool:
        """Enough seeds, and a corrected p under 5 %: the gain (or loss) may be stated."""
        return self.gain is not None and self.p is not None and self.gain.n_seeds >= FEWEST_SEEDS and self.p < ALPHA


def summarise(results: Iterable[Result]) -> list[Row]:
    """One row for each setting at each shot that occurs anywhere among settings of the same kind, sorted.

    Raises ResultError when two finished records claim the same cell: which of them to show is not ours to choose.
    """
    groups: dict[tuple[Setting, int], list[Result]] = defaultdict(list)
    for result in sorted(results, key=lambda result: result.record.cell.seed):
        groups[Setting.of(result.record.cell), result.record.cell.shot].append(result)
    for group in groups.values():
        _refuse_twins(group)
    shots: dict[object, set[int]] = defaultdict(set)
    for setting, shot in groups:
        shots[table_of(setting)].add(shot)
    settings = {setting for setting, _ in groups}
    wanted = [(setting, shot) for setting in settings for shot in shots[table_of(setting)]]
    rows = [
        _row(setting, shot, groups.get((setting, shot), []), _baseline(groups, setting, shot))
        for setting, shot in sorted(wanted, key=_order)
    ]
    tested = [index for index, row in enumerate(rows) if row.gain]
    corrected = holm([row.gain.headline.p for row in rows if row.gain])
    for index, p in zip(tested, corrected, strict=True):
        rows[index] = replace(rows[index], p=p)
    return rows


def by_episode(result: Result) -> NDArray[np.float64]:
    """Accuracy of each episode, float64 (E,)."""
    if result.correct is None:
        raise ResultError(f"record {result.record.key} is {result.record.status} and has no episodes")
    return result.correct.mean(axis=1, dtype=np.float64)


def done(group: Sequence[Result]) -> list[Result]:
    return [result for result in group if result.record.status == "done"]


def table_of(setting: Setting) -> tuple[object, ...]:
    """What two settings must share to stand in one comparison."""
    return setting.suite, setting.dataset, setting.split, setting.way, setting.query


def _order(place: tuple[Setting, int]) -> tuple[object, ...]:
    """Teachers first, then by model and shot, plain training before distillation."""
    setting, shot = place
    first = (setting.suite, setting.dataset, setting.split, setting.way, setting.query, setting.role != "teacher")
    return *first, setting.model, setting.head, shot, setting.distillation != "none", setting.variant != "", setting


def _refuse_twins(group: Sequence[Result]) -> None:
    seen: dict[int, Result] = {}
    for result in done(group):
        cell, twin = result.record.cell, seen.setdefault(result.record.cell.seed, result)
        if twin is not result:
            raise ResultError(
                f"records {twin.record.key}.json and {result.record.key}.json are both the finished cell"
                f" {Setting.of(cell).name}, {cell.shot}-shot, seed {cell.seed} of {cell.suite}, with different"
                f" identities ({_difference(twin, result)}): name the variants apart in the suite, or remove one"
            )


def _difference(one: Result, two: Result) -> str:
    a, b = one.record.identity, two.record.identity
    names = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    return ", ".join(names)


def _baseline(groups: dict[tuple[Setting, int], list[Result]], setting: Setting, shot: int) -> list[Result] | None:
    """What a setting is compared with: None where a gain makes no sense (teachers, the baseline itself).

    A student is compared with its plainly trained twin, a variant with the same setting of the suite as it stands. A
    teacher of other modalities has another name, and is still compared with the suite's one teacher.
    """
    if setting.variant and setting.role == "teacher":
        others = [s for s, at in groups if s.role == "teacher" and not s.variant and at == shot]
        twins = [s for s in others if table_of(s) == table_of(setting)]
        return groups[twins[0], shot] if len(twins) == 1 else []
    if setting.variant:  # a variant's head may be another
        twins = [s for s, at in groups if at == shot and replace(s, head=setting.head) == replace(setting, variant="")]
        return groups[twins[0], shot] if len(twins) == 1 else []
    if setting.role == "teacher" or setting.distillation in ("none", "-"):
        return None
    return groups.get((replace(setting, distillation="none"), shot), [])


def _row(setting: Setting, shot: int, group: list[Result], baseline: list[Result] | None) -> Row:
    finished = done(group)
    unfinished = tuple(
        f"seed {result.record.cell.seed} {result.record.standing}" for result in group if result.record.status != "done"
    )
    why_not = "a teacher" if setting.role == "teacher" else "the reference"
    gain, gain_why = (None, why_not) if baseline is None else _gain(finished, done(baseline))
    values = [by_episode(result) for result in finished]
    accuracy = closed_over_seeds(values, _shared(finished)) if values else None
    return Row(
        setting=setting,
        shot=shot,
        why="" if finished else "; ".join(unfinished) or "not run",
        accuracy=accuracy,
        seeds=seed_interval([value.mean() for value in values]) if values else None,
        by_seed=tuple((r.record.cell.seed, float(v.mean())) for r, v in zip(finished, values, strict=True)),
        planned=len({result.record.cell.seed for result in group}),
        unfinished=unfinished,
        gain=gain,
        gain_why=gain_why,
        p=None,
        cost=_cost([result.record.cost for result in finished if result.record.cost]),
    )


def _shared(group: Sequence[Result]) -> bool:
    return len({result.episodes for result in group}) == 1


def _gain(ours: list[Result], plain: list[Result]) -> tuple[PairedOverSeeds | None, str]:
    if not ours:
        return None, "not run"
    reference = {result.record.cell.seed: result for result in plain}
    pairs = [(r, reference[r.record.cell.seed]) for r in ours if r.record.cell.seed in reference]
    if not pairs:
        return None, "nothing finished to compare with at these seeds"
    strangers = [r.record.cell.seed for r, p in pairs if r.episodes != p.episodes]
    if strangers:
        return None, f"not paired: seed {strangers[0]} met other episodes than its twin"
    if len(by_episode(pairs[0][0])) < 2:
        return None, "one episode cannot be tested"
    a, b = [by_episode(r) for r, _ in pairs], [by_episode(p) for _, p in pairs]
    return paired_over_seeds(a, b, shared=_shared([r for r, _ in pairs])), ""


def _cost(costs: list[Cost]) -> RowCost:
    def middle(pick: Callable[[Cost], float | None], scale: float = 1.0) -> float | None:
        known = [value for cost in costs if (value := pick(cost)) is not None]
        return median(known) / scale if known else None

    threads = middle(lambda cost: cost.latency_threads)
    return RowCost(
        parameters_m=middle(lambda cost: cost.parameters, 1e6),
        gmacs_per_video=middle(lambda cost: cost.macs_per_video, 1e9),
        gmacs_per_episode=middle(lambda cost: cost.macs_per_episode, 1e9),
        thop_gmacs_per_episode=middle(lambda cost: cost.thop_gmacs_per_episode),
        latency_ms=middle(lambda cost: cost.latency_ms_p50),
        latency_threads=None if threads is None else int(threads),
        training_seconds=middle(lambda cost: cost.training_seconds),
        counter=", ".join(sorted({cost.counter for cost in costs if cost.counter})),
    )
