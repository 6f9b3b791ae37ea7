"""The figures that a sentence quotes: one number, or one link, from the reference records."""

from collections.abc import Callable

from fewdistill.results import ResultError
from fewdistill.results.readme.reference import Reference
from fewdistill.results.readme.words import accuracy_text, gain_text, span_text
from fewdistill.results.summary.rows import ALPHA


def figure(reference: Reference, suite: str, plot: str, *words: str) -> str:
    """A link to a plot of a suite's report. words: the caption; a first word that ends with "/" is the way from the
    page to the root of the checkout."""
    way, caption = (words[0], words[1:]) if words and words[0].endswith("/") else ("", words)
    path = reference.root / suite / "report" / "plots" / f"{plot}.svg"
    if not path.is_file():
        raise ResultError(f"{path}: no such plot; `fewdistill report --readme` draws those of the records")
    return f"![{' '.join(caption)}]({way}results/reference/{suite}/report/plots/{plot}.svg)"


def accuracy(reference: Reference, suite: str, name: str, shot: str) -> str:
    """One accuracy with its closed interval, "59.51 ± 0.30 %"."""
    return f"{accuracy_text(reference.row(suite, name, int(shot)))} %"


def mean(reference: Reference, suite: str, name: str, shot: str) -> str:
    """One accuracy without its interval, "59.5 %"."""
    found = reference.row(suite, name, int(shot)).accuracy
    assert found
    return f"{100 * found.mean:.1f} %"


def nll(reference: Reference, suite: str, name: str, shot: str) -> str:
    """The cross entropy of the test clips or queries in nats, mean over seeds, "0.834"."""
    metrics = [result.record.metrics for result in reference.of_row(reference.row(suite, name, int(shot)))]
    found = [each.nll for each in metrics if each and each.nll is not None]
    if len(found) < len(metrics):
        raise ResultError(f"{suite}: a record of {name} at {shot}-shot keeps no cross entropy to quote")
    return f"{sum(found) / len(found):.3f}"


def gain(reference: Reference, suite: str, name: str, shot: str) -> str:
    """One gain over what the setting is compared with, "+5.50 [2.94, 8.06]"."""
    row = reference.row(suite, name, int(shot))
    if row.gain is None:
        raise ResultError(f"{suite}: {name} at {shot}-shot has no gain to quote ({row.gain_why})")
    return gain_text(row)


def difference(reference: Reference, suite: str, name: str, other: str, shot: str, seeds: str = "") -> str:
    """One setting minus another over the seeds and episodes that both have, "+5.50 [2.94, 8.06]".

    seeds: only these, "0,1,2".
    """
    chosen = [int(seed) for seed in seeds.split(",")] if seeds else None
    return span_text(reference.difference(suite, name, other, int(shot), chosen).headline)


def comparisons(reference: Reference, suite: str) -> str:
    """Over how many gains Holm's correction of a suite goes, and how many stay below 5 %."""
    tested = [row for row in reference.rows(suite) if row.p is not None]
    return f"{sum(1 for row in tested if row.p is not None and row.p < ALPHA)} of {len(tested)}"


BLOCKS: dict[str, Callable[..., str]] = {
    "figure": figure,
    "accuracy": accuracy,
    "mean": mean,
    "nll": nll,
    "gain": gain,
    "difference": difference,
    "comparisons": comparisons,
}
