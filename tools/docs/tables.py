"""Tables of one suite: accuracies, gains, variants, differences, and the conditions under which it ran."""

from statistics import fmean

from fewdistill.results.stats import needed
from fewdistill.results.summary.pairing import by_episode
from fewdistill.results.summary.rows import Row
from fewdistill.results.tables.files import number, p_text
from tools.docs import wording as w
from tools.docs.reference import TEACHER, difference, pairs, records, results, row, rows, shots


def main_table(suite: str) -> str:
    """Every setting of a suite at each shot; gain, validation and MACs at the largest."""
    counts = shots(suite)
    last = counts[-1]
    head = ["model", "distillation", "seeds", *map(_accuracy_of, counts)]
    head += [f"gain at {w.at_shot(last)}, points" if last else "gain, points", "cross entropy", "validation %"]
    head += [f"GMACs an episode, {w.at_shot(last)}" if last else "GMACs a clip"]
    lines = []
    for each in sorted((r for r in rows(suite) if r.shot == last and not r.setting.variant), key=_reading_order):
        lines.append(
            [
                w.model_name(each),
                w.distillation_name(each),
                str(len(each.by_seed)),
                *(w.percent(row(suite, f"{each.setting.model}/{each.setting.distillation}", shot)) for shot in counts),
                w.gain(each),
                w.DASH if last else _cross_entropy(each),
                _validation(each),
                number(each.cost.gmacs_per_episode, 1 if last else 2),
            ]
        )
    return w.markdown(head, lines)


def gains_table(suite: str, shot: int | None = None) -> str:
    """Every gain over the same student without distillation, with each of its intervals, p and Holm's corrected p.

    shot: at this shot only.
    """
    tested = [r for r in rows(suite) if r.gain and not r.setting.variant and shot in (None, r.shot)]
    lines = []
    for each in sorted(tested, key=_reading_order):
        assert each.gain and each.p is not None
        found = each.gain
        spans = [f"[{100 * s.low:.2f}, {100 * s.high:.2f}]" if s else w.DASH for s in (found.episodes, found.seeds)]
        line = [w.model_name(each), w.distillation_name(each), str(each.shot), str(found.n_seeds), *spans]
        lines.append([*line, w.span(found.headline), p_text(found.headline.p), p_text(each.p)])
    head = ["model", "distillation", "shots", "seeds", "over episodes", "over seeds"]
    return w.markdown([*head, "gain, points, over both", "p", "p, Holm"], lines)


def variants_table(suite: str, role: str) -> str:
    """A suite's variants of its "student" or "teacher" rows, each with the row that it is compared with.

    A supervised suite has a row for every stream; those without a variant are left out.
    """
    last = shots(suite)[-1]
    chosen = [r for r in rows(suite) if r.shot == last and (r.setting.role == TEACHER) == (role == TEACHER)]
    if not last:
        compared = {r.against for r in chosen if r.setting.variant}
        chosen = [r for r in chosen if r.setting.variant or r.setting in compared]
    order = ["", *w.VARIANTS]
    chosen.sort(key=lambda r: (order.index(r.setting.variant) if r.setting.variant in order else 1, _reading_order(r)))
    lines = [
        [
            w.model_name(each) if role == TEACHER or not last else "",
            w.distillation_name(each),
            w.variant_name(each),
            w.percent(each),
            w.DASH if last else _cross_entropy(each),
            _compared_with(each),
            w.gain(each),
            p_text(each.p) if each.p is not None else "",
        ]
        for each in chosen
    ]
    head = [role, "distillation", "variant", _accuracy_of(last), "cross entropy", "compared with"]
    return w.markdown([*head, "difference, points", "p, Holm"], lines)


def differences(suite: str, *compared: tuple[str, str]) -> str:
    """Pairs of rows at every shot: the difference, seed by seed too, and MACs of the first as a share of the second's.

    compared: pairs of "model/distillation@variant". "seeds needed": how many would find a difference as large as the
    measured one four times in five; only where the interval includes zero.
    """
    lines = []
    for shot in shots(suite):
        for name, other in compared:
            first, second = row(suite, name, shot), row(suite, other, shot)
            found = difference(suite, name, other, shot).headline
            ours, theirs = ([by_episode(r) for r in side] for side in pairs(suite, name, other, shot))
            seeds = needed(ours, theirs).seeds if len(ours) > 1 and found.low < 0 < found.high else None
            each = [f"{100 * (a.mean() - b.mean()):+.2f}" for a, b in zip(ours, theirs, strict=True)]
            a, b = first.cost.gmacs_per_episode, second.cost.gmacs_per_episode
            line = [w.label(first), w.label(second), str(shot) if shot else "", w.span(found), ", ".join(each)]
            lines.append([*line, str(seeds or w.DASH), f"{a / b:.2f}" if a and b and a != b else w.DASH])
    head = ["row", "compared with", "shots", "difference, points", "by seed", "seeds needed", "share of MACs"]
    return w.markdown(head, lines)


def conditions(suite: str) -> str:
    """How a suite was run, according to its records."""
    found = [result.record for result in results(suite) if result.record.status == "done"]
    cell, counts = found[0].cell, shots(suite)
    episodes = ", ".join(f"{n:,}" for n in sorted({r.metrics.episodes for r in found if r.metrics}))
    if counts[-1]:
        queries = "1 query a class" if cell.query == 1 else f"{cell.query} queries a class"
        tested = f"{cell.way}-way, {' and '.join(map(str, counts))} shots, {queries}, {episodes} frozen test episodes"
        tested += " at each shot" if len(counts) > 1 else ""
    else:
        tested = f"{cell.way} classes, {episodes} test clips"
    size = f"{cell.frames} frames of {cell.image_size} pixels" if cell.image_size else f"{cell.frames} frames of joints"
    seeds = sorted({r.cell.seed for r in found})

    def several(name: str) -> str:
        return ", ".join(dict.fromkeys(str(r.provenance[name]) for r in found))

    return w.wrapped(
        f"{tested}; {size}; seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}; {len(found)} records."
        f" Commits: {several('commit')}. Processor: {several('processor')}; threads: {several('threads')}; torch:"
        f" {several('torch')}."
    )


def _accuracy_of(shot: int) -> str:
    return f"{shot}-shot %" if shot else "accuracy %"


def _compared_with(each: Row) -> str:
    if not each.gain or not each.setting.variant:
        return "none" if each.gain else ""
    return "the suite's teacher" if each.setting.role == TEACHER else w.distillation_name(each)


def _reading_order(each: Row) -> tuple[object, ...]:
    """The teacher first, then students from the most expensive, each without distillation first."""
    known, name = list(w.DISTILLATIONS), each.setting.distillation
    at = known.index(name) if name in known else len(known)
    expensive = -(each.cost.gmacs_per_video or 0)
    return each.setting.role != TEACHER, expensive, each.setting.model, at, name, each.shot


def _validation(each: Row) -> str:
    """Validation accuracy at the selected step in percent, mean over seeds."""
    kept = [result.record.selection.get("val_accuracy") for result in records(each)]
    known = [value for value in kept if isinstance(value, int | float)]
    return f"{100 * fmean(known):.1f}" if known and len(known) == len(kept) else w.DASH


def _cross_entropy(each: Row) -> str:
    """Cross entropy on the test clips in nats, mean over seeds."""
    known = [r.record.metrics.nll for r in records(each) if r.record.metrics and r.record.metrics.nll is not None]
    return f"{fmean(known):.3f}" if known else w.DASH
