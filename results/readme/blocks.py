"""The blocks of the pages that quote suites: each renders one table, sentence or figure from the reference records."""

from collections.abc import Callable, Sequence

from fewdistill.results.readme.reference import TEACHER, Reference
from fewdistill.results.readme.words import (
    DISTILLATIONS,
    VARIANTS,
    accuracy_text,
    against,
    distillation_name,
    gain_text,
    model_name,
    row_name,
    span_text,
    table,
    variant_name,
    wrapped,
)
from fewdistill.results.summary.findings import headline
from fewdistill.results.summary.rows import ALPHA, Row
from fewdistill.results.tables.files import DASH, number, p_text


def main_table(reference: Reference, suite: str) -> str:
    """Every setting of a suite at each shot, with its gain at the most shots, validation and MACs.

    Of the supervised protocol, which has no shots, the figures are of clips.
    """
    rows, shots = reference.rows(suite), _shots(reference, suite)
    most = max(shots)
    head = ["model", "distillation", "seeds", *map(_accuracy_of, shots)]
    head += [f"gain at {most} shots, points" if most else "gain, points", "validation %"]
    head += [f"GMACs an episode, {most} shots" if most else "GMACs a clip"]
    lines = []
    for row in sorted((row for row in rows if row.shot == most and not row.setting.variant), key=_reading_order):
        twins = [reference.row(suite, row_name(row), shot) for shot in shots]
        lines.append(
            [
                model_name(row),
                distillation_name(row),
                str(len(row.by_seed)),
                *map(accuracy_text, twins),
                gain_text(row),
                _validation(reference, row),
                number(row.cost.gmacs_per_episode, 1 if most else 2),
            ]
        )
    return table(head, lines)


def gains_table(reference: Reference, suite: str) -> str:
    """Every gain of a suite's settings, at every shot, with p before and after Holm's correction."""
    rows = [row for row in reference.rows(suite) if row.gain and not row.setting.variant]
    lines = [
        [
            model_name(row),
            distillation_name(row),
            str(row.shot),
            str(row.gain.n_seeds),
            span_text(row.gain.headline),
            p_text(row.gain.headline.p),
            p_text(row.p or 0.0),
        ]
        for row in sorted(rows, key=_reading_order)
        if row.gain
    ]
    return table(["model", "distillation", "shots", "seeds", "gain, points", "alone", "Holm"], lines)


def variants_table(reference: Reference, suite: str, role: str) -> str:
    """A suite's variants of students ("student") or of the teacher ("teacher"), beside what each is compared with.

    Of the supervised protocol, which has a row for every stream, with the students' names and those rows alone.
    """
    shot = max(_shots(reference, suite))
    rows = [
        row for row in reference.rows(suite) if row.shot == shot and (row.setting.role == TEACHER) == (role == TEACHER)
    ]
    if not shot:
        compared = {row.against for row in rows if row.setting.variant}
        rows = [row for row in rows if row.setting.variant or row.setting in compared]
    rows = sorted(rows, key=lambda row: (row.setting.variant != "", _reading_order(row)))
    named: list[tuple[str, Callable[[Row], str]]] = [("distillation", distillation_name)]
    if role == TEACHER:
        named = [("teacher", model_name)]
    else:
        order = list(VARIANTS)
        rows.sort(key=lambda row: order.index(row.setting.variant) if row.setting.variant in order else -1)
        named = named if shot else [("student", model_name), *named]
    lines = [
        [
            *(name(row) for _, name in named),
            variant_name(row),
            accuracy_text(row),
            against(row),
            gain_text(row),
            p_text(row.p) if row.p is not None else "",
        ]
        for row in rows
    ]
    head = [*(title for title, _ in named), "variant", _accuracy_of(shot), "compared with"]
    return table([*head, "difference, points", "Holm"], lines)


def conditions(reference: Reference, suite: str) -> str:
    """What the records say of how a suite was run."""
    found = [result.record for result in reference.results(suite) if result.record.status == "done"]
    cell = found[0].cell
    shots = " and ".join(map(str, _shots(reference, suite)))
    episodes = ", ".join(f"{n:,}" for n in sorted({r.metrics.episodes for r in found if r.metrics}))
    queries = "1 query a class" if cell.query == 1 else f"{cell.query} queries a class"
    shown = f"{shots} shot{'s' if shots != '1' else ''}, {queries}, {episodes} frozen test episodes at each shot"
    asked = f"{cell.way} classes, {episodes} test clips" if shots == "0" else f"{cell.way}-way, {shown}"
    commits = " and ".join(dict.fromkeys(str(r.provenance["commit"]) for r in found))
    threads = " or ".join(map(str, sorted({int(r.provenance["threads"]) for r in found}, reverse=True)))
    seeds = sorted({r.cell.seed for r in found})
    seen = f"{cell.frames} frames of {f'{cell.image_size} pixels' if cell.image_size else 'joints'}"
    return wrapped(
        f"{asked}, {seen}; seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}; {len(found)}"
        f" records; commit {commits}, on {' and '.join(sorted({str(r.provenance['processor']) for r in found}))},"
        f" {threads} thread{'s' if threads != '1' else ''}, torch"
        f" {' and '.join(sorted({str(r.provenance['torch']) for r in found}))}."
    )


def claims(reference: Reference, suite: str) -> str:
    """The sentence at the head of a suite's report."""
    return wrapped(headline(reference.rows(suite)))


def findings(reference: Reference, suite: str) -> str:
    """What each distillation gains at the most shots, whether more than one gains by being added, and what is kept."""
    shot = max(_shots(reference, suite))
    plain = [row for row in reference.rows(suite) if row.shot == shot and not row.setting.variant]
    tested = sum(1 for row in reference.rows(suite) if row.gain)
    lines = []
    for name in ("tokens", "d2m"):
        rows = sorted((row for row in plain if row.setting.distillation == name and row.gain), key=_reading_order)
        each = ", ".join(f"{model_name(row)} {gain_text(row)}" for row in rows)
        above = sum(1 for row in rows if row.gain and row.gain.headline.low > 0)
        stands = [f"{model_name(row)} (p {row.p:.3g})" for row in rows if row.p is not None and row.p < ALPHA]
        title = "Token distillation" if name == "tokens" else "D2M alone"
        lines.append(
            f"* **{title}** at {shot} shots: {each} points. The interval is above zero for {above} of {len(rows)}"
            f" students; after Holm's correction over the suite's {tested} comparisons p stays below {ALPHA} for"
            f" {' and '.join(stands) or 'none'}."
        )
    both = sorted((row for row in plain if row.setting.distillation == "both"), key=_reading_order)
    added = []
    for row in both:
        found = reference.difference(suite, row_name(row), row_name(row, "tokens"), shot)
        added.append(f"{model_name(row)} {span_text(found.headline)}")
    lines.append(f"* **D2M added to tokens**, against tokens alone at {shot} shots: {', '.join(added)} points.")
    lines.append(_kept(reference, suite, plain, shot))
    return "\n".join(wrapped(line, "  ") for line in lines)


def _kept(reference: Reference, suite: str, plain: Sequence[Row], shot: int) -> str:
    teacher = reference.row(suite, f"{TEACHER}/-", shot)
    assert teacher.accuracy and teacher.cost.gmacs_per_episode
    best: dict[str, Row] = {}
    for row in sorted(plain, key=lambda row: row.accuracy.mean if row.accuracy else 0.0):
        if row.setting.role != TEACHER and row.accuracy and row.cost.gmacs_per_episode:
            best[row.setting.model] = row
    each = [
        f"{model_name(row)} ({distillation_name(row)}) {100 * row.accuracy.mean:.1f} % at"
        f" 1/{teacher.cost.gmacs_per_episode / row.cost.gmacs_per_episode:.0f} of its MACs"
        for row in sorted(best.values(), key=_reading_order)
        if row.accuracy and row.cost.gmacs_per_episode
    ]
    return f"* **What is kept** of the teacher's {100 * teacher.accuracy.mean:.1f} %: {', '.join(each)}."


def _accuracy_of(shot: int) -> str:
    return f"{shot}-shot %" if shot else "accuracy %"


def _shots(reference: Reference, suite: str) -> list[int]:
    return sorted({row.shot for row in reference.rows(suite)})


def _reading_order(row: Row) -> tuple[object, ...]:
    """The teacher, then students from the dearest, each plain first."""
    known = list(DISTILLATIONS)
    name = row.setting.distillation
    at = known.index(name) if name in known else len(known)
    return row.setting.role != TEACHER, -(row.cost.gmacs_per_video or 0), at, name, row.shot, row.setting.model


def _validation(reference: Reference, row: Row) -> str:
    """Mean over seeds of the validation accuracy at the selected step; nothing where a record keeps none."""
    kept = [result.record.selection.get("val_accuracy") for result in reference.of_row(row)]
    known = [value for value in kept if isinstance(value, int | float)]
    return f"{100 * sum(known) / len(known):.1f}" if known and len(known) == len(kept) else DASH


BLOCKS: dict[str, Callable[..., str]] = {
    "main table": main_table,
    "gains table": gains_table,
    "variants table": variants_table,
    "conditions": conditions,
    "claims": claims,
    "findings": findings,
}
