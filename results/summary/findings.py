"""What the rows allow to be said, and what a reader must know before believing it."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fewdistill.results.records.record import shot_order
from fewdistill.results.records.result import Problem, Result
from fewdistill.results.stats import hypervolume
from fewdistill.results.summary.rows import FEWEST_SEEDS, Row, Setting, table_of


@dataclass(frozen=True)
class Notice:
    """kind: "problem" (fix it), "caution" (read with care) or "note"."""

    kind: str
    text: str
    items: tuple[str, ...] = ()


def headline(rows: Sequence[Row]) -> str:
    """One or two sentences: how often distillation is shown to help, and the largest gain that may be claimed."""
    tested = [row for row in rows if row.gain and not row.setting.variant]
    finished = [row for row in rows if row.accuracy]
    if not finished:
        return "No cell has finished yet."
    if not tested:
        return f"{len(finished)} settings measured; none has a plainly trained twin to compare distillation with."
    claims = [row for row in tested if row.claimed]
    wins = [row for row in claims if row.helps]
    losses = len(claims) - len(wins)
    few = sum(1 for row in tested if row.gain and row.gain.n_seeds < FEWEST_SEEDS)
    if not wins:
        reason = (
            f"{few} of {len(tested)} comparisons have fewer than {FEWEST_SEEDS} seeds"
            if few
            else "no corrected p-value is below 0.05"
        )
        return f"No gain from distillation is established over {len(tested)} comparisons: {reason}." + (
            f" A loss is established in {losses}." if losses else ""
        )
    text = f"Distillation is shown to help in {len(wins)} of {len(tested)} comparisons"
    text += f" and to harm in {losses}." if losses else "."
    best = max(wins, key=lambda row: abs(row.gain.mean) * row.main.scale if row.gain else 0.0)
    assert best.gain and best.accuracy
    span, main = best.gain.headline, best.main
    scale, unit = main.scale, f" {main.unit}" if main.unit else ""
    text += (
        f' Most: "{best.setting.distillation}" takes {best.setting.model} from'
        f" {scale * (best.accuracy.mean - best.gain.mean):.1f} to {scale * best.accuracy.mean:.1f}{unit}"
        f"{'' if best.shot is None else f' at {best.at}'} ({scale * best.gain.mean:+.1f} {main.points},"
        f" 95 % interval {scale * span.low:.1f} to {scale * span.high:.1f}, {best.gain.n_seeds} seeds)"
    )
    return text + _against_teacher(best, rows) + "."


def _against_teacher(best: Row, rows: Iterable[Row]) -> str:
    teachers = [
        row
        for row in rows
        if row.setting.role == "teacher"
        and not row.setting.variant
        and row.accuracy
        and (table_of(row.setting), row.shot) == (table_of(best.setting), best.shot)
        and (row.setting.stream == best.setting.stream or not row.setting.metrics.stream_teachers)
    ]
    if not teachers or not best.accuracy:
        return ""
    teacher = max(teachers, key=lambda row: row.main.sign * row.accuracy.mean if row.accuracy else 0.0)
    assert teacher.accuracy
    text = f", {100 * best.accuracy.mean / teacher.accuracy.mean:.0f} % of its teacher's {best.main.name}"
    ours, theirs = best.cost.gmacs_per_episode, teacher.cost.gmacs_per_episode
    return text + (f" for {100 * ours / theirs:.2g} % of its MACs" if ours and theirs else "")


def warnings(results: Sequence[Result], rows: Sequence[Row], problems: Sequence[Problem]) -> list[Notice]:
    """Everything a reader must know, worst first."""
    found = [
        Notice("problem", "Files left out of this report", tuple(str(each) for each in problems if not each.note)),
        Notice("problem", "Chosen on the test split: these accuracies are too high", _chosen_on(results, "test")),
        Notice(
            "problem",
            "Cells which are not finished",
            tuple(f"{row.setting.name}, {row.at}: {line}" for row in rows for line in row.unfinished),
        ),
        Notice(
            "caution",
            f"Fewer than {FEWEST_SEEDS} training seeds: no claim is made for these",
            tuple(
                f"{row.setting.name}, {row.at} ({len(row.by_seed)})"
                for row in rows
                if row.accuracy and len(row.by_seed) < FEWEST_SEEDS
            ),
        ),
        Notice(
            "caution",
            "Gains that could not be tested",
            tuple(
                f"{row.setting.name}, {row.at}: {row.gain_why}"
                for row in rows
                if row.accuracy and not row.gain and row.gain_why not in ("the reference", "a teacher")
            ),
        ),
        Notice(
            "note",
            "Checkpoint or setting chosen on the validation split, as it should be",
            _chosen_on(results, "val"),
        ),
        Notice("note", "Worth knowing about the records", tuple(str(each) for each in problems if each.note)),
    ]
    return [warning for warning in found if warning.items]


def _chosen_on(results: Iterable[Result], split: str) -> tuple[str, ...]:
    seeds: dict[tuple[str, int, str], list[int]] = defaultdict(list)
    for result in results:
        cell = result.record.cell
        if result.record.status == "done" and result.record.selection.get("split") == split:
            seeds[Setting.of(cell).name, shot_order(cell.shot), cell.at].append(cell.seed)
    return tuple(
        f"{name}, {at}, seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, sorted(numbers)))}"
        for (name, _, at), numbers in sorted(seeds.items())
    )


@dataclass(frozen=True)
class Front:
    """Hypervolume of one distillation's students, in decades of MACs x percentage points above chance."""

    table: str
    shot: int | None
    distillation: str
    students: int
    area: float

    @staticmethod
    def title(setting: Setting) -> str:
        return f"{setting.suite}, {setting.dataset} {setting.split}, {setting.way}-way"


def fronts(rows: Sequence[Row]) -> list[Front]:
    """How much of the accuracy-over-MACs plane each distillation's students cover, against chance at the dearest.

    The corner is the cost of the dearest row of the table (teacher included) and 1 / way. Distillations with
    different sets of students are not comparable; ``students`` says how many count.
    """
    groups: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        comparable = row.main.higher_is_better and not row.setting.variant
        if row.accuracy and row.cost.gmacs_per_episode and comparable:
            groups[table_of(row.setting), row.shot].append(row)
    found = []
    for group in groups.values():
        dearest = max(math.log10(row.cost.gmacs_per_episode or 1) for row in group)
        for name in sorted({row.setting.distillation for row in group if row.setting.role == "student"}):
            chosen = [row for row in group if row.setting.distillation == name]
            area = hypervolume(
                [math.log10(row.cost.gmacs_per_episode or 1) for row in chosen],
                [100 * row.accuracy.mean for row in chosen if row.accuracy],
                dearest,
                100 / chosen[0].setting.way,
            )
            setting = chosen[0].setting
            found.append(Front(Front.title(setting), chosen[0].shot, name, len(chosen), area))
    return found
