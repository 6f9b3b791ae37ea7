"""What a comparison says, in words. Differences are shown in percentage points."""

from fewdistill.results.comparison.compare import Comparison, Difference
from fewdistill.results.comparison.published import VersusPublished
from fewdistill.results.stats import Paired
from fewdistill.results.summary.rows import ALPHA, FEWEST_SEEDS

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def outcome(found: Difference) -> str:
    """One or two words: "same", "A", "B" (the better one), "A, these models", "B, these models", "open"."""
    if found.same:
        return "same"
    if found.p >= ALPHA:
        return "open"
    better = "A" if found.a_is_better else "B"
    return better if found.n_seeds >= FEWEST_SEEDS else f"{better}, these models"


def verdict(found: Difference, a: str, b: str, family: int) -> str:
    """The verdict on A (called ``a``) against B; family: how many comparisons Holm's correction went over."""
    of = seeds(found.n_seeds)
    if found.same:
        return f"{a} and {b} are the same: every answer alike over {found.n_episodes:,} episodes, {of}."
    unpaired = f"unpaired ({found.unpaired}): " if found.unpaired else ""
    span, is_better = found.headline, found.a_is_better
    if found.p >= ALPHA:
        return unpaired + _open(found, a, b, family)
    better, worse = (a, b) if is_better else (b, a)
    by = f"{_points(abs(span.mean))} {_range(span if is_better else _turned(span))}"
    if found.n_seeds >= FEWEST_SEEDS:
        return f"{unpaired}{better} is better than {worse} by {by}, {of}."
    return (
        f"{unpaired}{better} scores above {worse} by {by} in these trained models; with {of} nothing is said of others"
        f" trained alike (a claim needs {_NUMBERS[FEWEST_SEEDS]})."
    )


def _open(found: Difference, a: str, b: str, family: int) -> str:
    span = found.headline
    rests = f"{found.n_episodes:,} episodes and {seeds(found.n_seeds)}"
    if span.low <= 0 <= span.high:
        return (
            f"not distinguishable: {a} may be {_points(-span.low)} worse than {b}, or {_points(span.high)} better,"
            f" after {rests}.{_unseen(found, family)}"
        )
    return (
        f"not distinguishable: {_points(span.mean, signed=True)} {_range(span)} after {rests}, but Holm-corrected over"
        f" {family} comparisons p is {found.p:.3f}.{_unseen(found, family)}"
    )


def _unseen(found: Difference, family: int) -> str:
    """What a difference must be to be found by as many seeds and episodes."""
    if found.detectable is None:
        return ""
    aside = ", Holm's correction aside," if family > 1 else ""
    return (
        f" As many seeds and episodes{aside} miss a true difference of under"
        f" {_points(found.detectable)} at least 1 time in 5.{_wanted(found)}"
    )


def _wanted(found: Difference) -> str:
    """What would find a difference as large as the measured one."""
    if found.needed is None or found.headline.mean == 0:
        return ""
    by = " or ".join(
        f"{number:,} {what}"
        for what, number, has in (
            ("episodes", found.needed.episodes, found.n_episodes),
            ("seeds", found.needed.seeds, found.n_seeds),
        )
        if number and number > has
    )
    size = f" One of the measured {_points(abs(found.headline.mean))} would be found"
    return f"{size} by about {by}." if by else ""


def called(found: Comparison, difference: Difference) -> tuple[str, str]:
    """What to call A and B: their settings, or what was typed where the settings have one name."""
    a, b = difference.a.name, difference.b.name
    return (a, b) if a != b else (found.a, found.b)


def published_verdict(found: VersusPublished, ours: str) -> str:
    """Our row beside a printed figure."""
    printed, mean = found.figure, found.ours.mean
    gap = float(printed.accuracy) / 100 - mean
    where = "inside" if found.inside else "outside"
    spread = "" if printed.std is None else f" ± {printed.std}"
    text = (
        f"unpaired (other episodes): {ours} {100 * mean:.2f} % {_range(found.ours)}, {seeds(len(found.seeds))};"
        f" {printed.slug} is printed at {printed.accuracy}{spread} %, {_points(abs(gap))}"
        f" {'above' if gap > 0 else 'below'}, {where} our interval."
    )
    if not found.tested:
        return f"{text} No p-value: the figure has no interval."
    span = found.difference
    p = "p < 0.001" if span.p < 0.001 else f"p {span.p:.3f}"
    return (
        f"{text} Taking its ± as the deviation over trainings: ours minus theirs {_points(span.mean, signed=True)}"
        f" {_range(span)}, {p}; the error of its episodes is not in it."
    )


def summary(found: Comparison) -> str:
    """How the settings of a whole comparison came out."""
    outcomes = [outcome(difference) for difference in found.differences]
    parts = [
        (outcomes.count("A"), "A is better in {}"),
        (outcomes.count("B"), "B is better in {}"),
        (sum(each.endswith("these models") for each in outcomes), "too few seeds for a claim in {}"),
        (outcomes.count("open"), "not distinguishable in {}"),
        (outcomes.count("same"), "the same in {}"),
    ]
    total = len(outcomes)
    text = ", ".join(words.format(count) for count, words in parts if count)
    whys = [difference.unpaired for difference in found.differences if difference.unpaired]
    apart = "".join(f" Unpaired in {whys.count(why)}: {why}." for why in dict.fromkeys(whys))
    return f"Of {total} comparison{'s' * (total != 1)}: {text}. P-values are Holm-corrected over them.{apart}"


def seeds(count: int) -> str:
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    return f"{number} seed{'s' * (count != 1)}"


def _points(value: float, signed: bool = False) -> str:
    return f"{100 * value:+.1f} points" if signed else f"{100 * value:.1f} points"


def _range(span: Paired) -> str:
    """Its ends in points; with more digits where one would read as zero."""
    ends = 100 * span.low, 100 * span.high
    digits = 1 if min(map(abs, ends)) >= 0.05 else 2
    return f"[{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"


def _turned(span: Paired) -> Paired:
    return Paired(-span.mean, -span.high, -span.low, span.p)
