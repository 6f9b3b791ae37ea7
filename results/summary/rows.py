"""From records to rows: the seeds of one setting and shot become one statement. Tables, plots and report read rows."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from fewdistill.results import ResultError
from fewdistill.results.records.metrics import EPISODIC, METRICS, MainFigure, Metrics
from fewdistill.results.records.record import Cell, at_shot, shot_order
from fewdistill.results.records.result import Result
from fewdistill.results.stats import Interval, PairedOverSeeds, closed_over_seeds, holm, seed_interval
from fewdistill.results.summary.cost import RowCost, median_cost
from fewdistill.results.summary.pairing import by_seed, done, pair
from fewdistill.results.summary.ranks import Rank, ranks

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
    protocol: str = EPISODIC

    @classmethod
    def of(cls, cell: Cell) -> "Setting":
        return cls(**{field.name: getattr(cell, field.name) for field in fields(cls)})

    @property
    def name(self) -> str:
        plain = self.model if self.distillation in ("-", "") else f"{self.model} / {self.distillation}"
        return f"{plain} ({self.variant})" if self.variant else plain

    @property
    def stream(self) -> str:
        """What a network of streams reads, which is the end of its name: "joint" of "ctr_gcn-joint"."""
        return self.model.rpartition("-")[2]

    @property
    def metrics(self) -> type[Metrics]:
        """What its protocol measures, and the words for it."""
        return METRICS[self.protocol]


Match = tuple[Setting, int | None]
"""A setting at a shot (None in a protocol without): what records of different seeds share."""


@dataclass(frozen=True)
class Row:
    """A setting at one shot (None in a protocol without). Accuracies and gains are as records have them: fractions.

    accuracy is the main figure of the protocol's metrics, whatever ``main`` calls it.

    why: reason for an empty row, else "". accuracy: mean over seeds with its closed interval. seeds: interval over
    training seeds (None with one). by_seed: (seed, accuracy). planned: records of any status. unfinished: one line
    for each record that is not done. gain: paired difference from the setting with distillation "none", for a variant
    from the same setting without it, over the seeds both have; gain_why: reason where there is none; against: the
    setting it is compared with; p: Holm-corrected over all gains of the summary. rank: place of the accuracy among the
    finished students (variants aside) of its table and shot; rank_why: reason where there is none.
    """

    setting: Setting
    shot: int | None
    why: str
    accuracy: Interval | None
    seeds: Interval | None
    by_seed: tuple[tuple[int, float], ...]
    planned: int
    unfinished: tuple[str, ...]
    gain: PairedOverSeeds | None
    gain_why: str
    against: Setting | None
    p: float | None
    rank: Rank | None
    rank_why: str
    cost: RowCost

    @property
    def at(self) -> str:
        """The shot in words: "5-shot", or the protocol's name where it has none."""
        return at_shot(self.shot, self.setting.protocol)

    @property
    def main(self) -> MainFigure:
        """How to show its figure: name, unit and scale."""
        return self.setting.metrics.main

    @property
    def helps(self) -> bool:
        """Whether the measured gain is for the better."""
        return self.gain is not None and self.main.sign * self.gain.mean > 0

    @property
    def claimed(self) -> bool:
        """Enough seeds, and a corrected p under 5 %: the gain (or loss) may be stated."""
        return self.gain is not None and self.p is not None and self.gain.n_seeds >= FEWEST_SEEDS and self.p < ALPHA


def summarise(results: Iterable[Result]) -> list[Row]:
    """One row for each setting at each shot that occurs anywhere among settings of the same kind, sorted.

    Raises ResultError when two finished records claim the same cell: which of them to show is not ours to choose.
    """
    groups: dict[Match, list[Result]] = defaultdict(list)
    for result in sorted(results, key=lambda result: result.record.cell.seed):
        groups[Setting.of(result.record.cell), result.record.cell.shot].append(result)
    for group in groups.values():
        _refuse_twins(group)
    shots: dict[object, set[int | None]] = defaultdict(set)
    for setting, shot in groups:
        shots[table_of(setting)].add(shot)
    settings = {setting for setting, _ in groups}
    wanted = sorted(((setting, shot) for setting in settings for shot in shots[table_of(setting)]), key=_order)
    present: dict[object, dict[Setting, None]] = defaultdict(dict)
    for setting, shot in groups:
        present[table_of(setting), shot][setting] = None
    placed = _ranks(groups)
    rows = []
    for setting, shot in wanted:
        against = reference_of(setting, present[table_of(setting), shot])
        plain = groups[against, shot] if against else []
        rows.append(_row(setting, shot, groups.get((setting, shot), []), against, plain, placed.get((setting, shot))))
    tested = [index for index, row in enumerate(rows) if row.gain]
    corrected = holm([row.gain.headline.p for row in rows if row.gain])
    for index, p in zip(tested, corrected, strict=True):
        rows[index] = replace(rows[index], p=p)
    return rows


def at_of(rows: Sequence[Row], shot: int | None) -> str:
    """A shot in words among rows of one protocol."""
    return at_shot(shot, rows[0].setting.protocol if rows else EPISODIC)


def table_of(setting: Setting) -> tuple[object, ...]:
    """What two settings must share to stand in one comparison."""
    return setting.suite, setting.dataset, setting.split, setting.way, setting.query


def model_order(setting: Setting) -> tuple[object, ...]:
    """Teachers first, a model's lines together, plain training before distillation."""
    return setting.role != "teacher", setting.model, setting.head, setting.distillation != "none", setting.variant != ""


def labels(settings: Iterable[Setting]) -> dict[Setting, str]:
    """Short name of each setting's model, with its head, frames and size of image where the settings differ in them."""
    settings = list(settings)
    differing = [name for name in ("head", "frames", "image_size") if len({getattr(s, name) for s in settings}) > 1]
    words = {"head": "{}", "frames": "{} frames", "image_size": "{} px"}
    return {s: ", ".join([s.model, *(words[name].format(getattr(s, name)) for name in differing)]) for s in settings}


def _order(match: Match) -> tuple[object, ...]:
    """Teachers first, then by model and shot, plain training before distillation."""
    setting, shot = match
    first = (setting.suite, setting.dataset, setting.split, setting.way, setting.query, setting.role != "teacher")
    return (
        *first,
        setting.model,
        setting.head,
        shot_order(shot),
        setting.distillation != "none",
        setting.variant != "",
        setting,
    )


def _refuse_twins(group: Sequence[Result]) -> None:
    seen: dict[int, Result] = {}
    for result in done(group):
        cell, twin = result.record.cell, seen.setdefault(result.record.cell.seed, result)
        if twin is not result:
            raise ResultError(
                f"records {twin.record.key}.json and {result.record.key}.json are both the finished cell"
                f" {Setting.of(cell).name}, {cell.at}, seed {cell.seed} of {cell.suite}, with different"
                f" identities ({_difference(twin, result)}): name the variants apart in the suite, or remove one"
            )


def _difference(one: Result, two: Result) -> str:
    a, b = one.record.identity, two.record.identity
    names = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    return ", ".join(names)


def reference_of(setting: Setting, others: Collection[Setting]) -> Setting | None:
    """The one of ``others``, at its shot, that a setting is compared with; None where a gain makes no sense or there
    is none.

    A student is compared with its plainly trained twin, a variant with the same setting of the suite as it stands. A
    teacher of other modalities has another name, and is still compared with the suite's one teacher; but where there
    is a teacher for every stream, with that of its own.
    """
    if not setting.variant:
        plain = replace(setting, distillation="none")
        return plain if _has_gain(setting) and plain in others else None
    if setting.role == "teacher":
        same = [s for s in others if s.role == "teacher" and not s.variant and table_of(s) == table_of(setting)]
        same = [s for s in same if s.model == setting.model or not s.metrics.stream_teachers]
    else:  # a variant's head may be another
        same = [s for s in others if replace(s, head=setting.head) == replace(setting, variant="")]
    return same[0] if len(same) == 1 else None


def _has_gain(setting: Setting) -> bool:
    """Teachers and the plainly trained stand for themselves; a variant always changes something."""
    return bool(setting.variant) or (setting.role != "teacher" and setting.distillation not in ("none", "-"))


def _ranks(groups: Mapping[Match, list[Result]]) -> dict[Match, Rank]:
    """Place of every finished student of the suites as they stand, among those of its table and shot."""
    rivals: dict[object, dict[Match, list[Result]]] = defaultdict(dict)
    for (setting, shot), group in groups.items():
        if setting.role == "student" and not setting.variant and done(group):
            rivals[table_of(setting), shot][setting, shot] = done(group)
    placed: dict[Match, Rank] = {}
    for field in rivals.values():
        placed |= dict(zip(field, ranks(list(field.values()), next(iter(field))[0].metrics.main.sign), strict=True))
    return placed


def _row(
    setting: Setting,
    shot: int | None,
    group: list[Result],
    against: Setting | None,
    plain: list[Result],
    rank: Rank | None,
) -> Row:
    scored = by_seed(done(group))
    unfinished = tuple(
        f"seed {result.record.cell.seed} {result.record.standing}" for result in group if result.record.status != "done"
    )
    why = "" if scored else "; ".join(unfinished) or "not run"
    gain, gain_why = None, "a teacher" if setting.role == "teacher" else "the reference"
    if _has_gain(setting):
        gain, gain_why = pair(scored, by_seed(done(plain))) if scored else (None, "not run")
    values = [one.accuracy for one in scored.values()]
    shared = len({one.episodes for one in scored.values()}) == 1
    return Row(
        setting=setting,
        shot=shot,
        why=why,
        accuracy=closed_over_seeds(values, shared) if values else None,
        seeds=seed_interval([value.mean() for value in values]) if values else None,
        by_seed=tuple((seed, float(one.accuracy.mean())) for seed, one in scored.items()),
        planned=len({result.record.cell.seed for result in group}),
        unfinished=unfinished,
        gain=gain,
        gain_why=gain_why,
        against=against,
        p=None,
        rank=rank,
        rank_why="a teacher" if setting.role == "teacher" else "a variant" if setting.variant else why,
        cost=median_cost([result.record.cost for result in done(group) if result.record.cost]),
    )
