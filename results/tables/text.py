"""The cells of the tables as text, and what a reader must know beside them."""

from collections.abc import Mapping, Sequence

import pandas as pd

from fewdistill.results.records.metrics import METRICS, MainFigure
from fewdistill.results.tables.files import Best, number, p_text, three_digits

# Numbers of one data set and shot, as they stand in the CSV behind the protocol's main figure.
PER_SHOT = (
    "±", "seeds", "planned", "rank", "rank best", "rank worst", "ranked", "gain", "gain low",
    "gain high", "p (Holm)", "GMACs/episode", "thop GMACs/episode", "latency ms/video",
)  # fmt: skip
PARAMETERS = "parameters M"


MAIN_NOTE = (
    "Accuracy: mean over training seeds, ± closed 95 % over test episodes. Rank: among the students of the column; in"
    " brackets the ranks which the paired 95 % intervals leave open, each pair by itself. Gain: paired over the same"
    " episodes, with its 95 % interval over seeds and episodes (over episodes alone with one seed); p after Holm over"
    " all gains of the records. Bold: the best student's accuracy."
)
GAINS_NOTE = (
    "Points of accuracy, with 95 % intervals over other test episodes, other training seeds, and both at once. p and"
    " Holm's correction are of the widest of these. Claimed: three seeds or more and a corrected p under 0.05."
)
ABLATION_NOTE = (
    "Each variant against the same setting of the suite as it stands: points of accuracy, paired over the same"
    " episodes, 95 % interval over seeds and episodes (over episodes alone with one seed); p after Holm over all gains"
    " of the records."
)
COST_NOTE = "Medians over seeds; G: 1e9 multiply-accumulates; MB: 1e6 bytes; latency: p50 of one video."


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The main table as a reader wants it: "71.2 ± 0.4 (3 seeds)", "2 (1 to 4)", "+3.1 [2.2, 4.0], p 0.003"; all text.

    The number of seeds is left out where it is the same everywhere (``main_notes`` says it).
    """
    shown: dict[tuple[str, ...], list[str]] = {}
    counts, figures = uniform_seeds(table) is None, main_figures()
    for group in dict.fromkeys(column[:-1] for column in table.columns if column[-1] != PARAMETERS):
        main = next(figure for figure in figures if (*group, figure.column) in table.columns)
        names = main.column, *PER_SHOT
        lines = zip(*(table[*group, name] for name in names), strict=True)
        block = [dict(zip(names, line, strict=True)) for line in lines]
        best = _best(block, main)
        shown[*group, main.column] = [_bold(_figure_text(cells, counts, main), cells, best, main) for cells in block]
        shown[*group, "rank"] = [_rank_text(cells) for cells in block]
        shown[*group, "gain (95 %)"] = [_gain_text(cells) for cells in block]
        shown[*group, "GMACs/episode"] = [_short(cells["GMACs/episode"]) for cells in block]
    last = table.columns[-1]
    shown[last] = [_fixed(value, 2) for value in table[last]]
    frame = pd.DataFrame(shown, index=table.index, dtype=object)
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def main_notes(table: pd.DataFrame) -> list[str]:
    """What a reader of the main table must know."""
    seeds = uniform_seeds(table)
    notes = [MAIN_NOTE] + ([] if seeds is None else [f"Training seeds of each accuracy: {seeds}."])
    said = {name: model.note for name, model in METRICS.items() if model.note}
    return notes + [note for name, note in said.items() if any(name in column for column in table.columns)]


def uniform_seeds(table: pd.DataFrame) -> int | None:
    """How many seeds are behind every accuracy of the main table, all that were planned; None where they differ."""
    counts = {
        value
        for column in table.columns
        if column[-1] in ("seeds", "planned")
        for value in table[column]
        if not isinstance(value, str)
    }
    return counts.pop() if len(counts) == 1 else None


def readable_gains(gains: pd.DataFrame) -> pd.DataFrame:
    """The gains as text: points with two decimals, each interval in brackets."""
    lines = [dict(zip(gains.columns, line, strict=True)) for line in gains.values.tolist()]
    shown = {
        "gain": [_signed(cells["gain"]) for cells in lines],
        "seeds": [number(cells["seeds"]) if _is_number(cells["seeds"]) else cells["seeds"] for cells in lines],
        **{f"over {name}": [_span_text(cells, name) for cells in lines] for name in ("episodes", "seeds", "both")},
        "p": [_p(cells["p"]) for cells in lines],
        "Holm": [_p(cells["p (Holm)"]) for cells in lines],
        "claimed": [
            cells["claimed"] if isinstance(cells["claimed"], str) else number(cells["claimed"]) for cells in lines
        ],
    }
    return pd.DataFrame(shown, index=gains.index, dtype=object)


def readable_ablation(table: pd.DataFrame) -> pd.DataFrame:
    """The ablation as text, as ``readable`` has it."""
    lines = [dict(zip(table.columns, line, strict=True)) for line in table.values.tolist()]
    shown: dict[str, list[str]] = {}
    for main in (figure for figure in main_figures() if figure.column in table.columns):
        plain = f"as it stands {main.unit}".strip()
        shown[main.column] = [_figure_text(cells, True, main) for cells in lines]
        shown[plain] = [_fixed(cells[plain], 2) for cells in lines]
    shown["gain (95 %)"] = [_gain_text(cells) for cells in lines]
    return pd.DataFrame(shown, index=table.index, dtype=object)


def main_figures() -> list[MainFigure]:
    """The main figures of all protocols, each once."""
    return list({model.main.column: model.main for model in METRICS.values()}.values())


def _figure_text(cells: Mapping[str, object], counts: bool, main: MainFigure) -> str:
    if not _is_number(cells[main.column]):
        return _words(cells[main.column])
    seeds, planned = cells["seeds"], cells["planned"]
    count = f"{seeds}" if seeds == planned else f"{seeds} of {planned}"
    text = f"{number(cells[main.column], 2)} ± {number(cells['±'], 2)}"
    return f"{text} ({count} seed{'s' if planned != 1 else ''})" if counts else text


def _rank_text(cells: Mapping[str, object]) -> str:
    rank, best, worst = cells["rank"], cells["rank best"], cells["rank worst"]
    if not _is_number(rank):
        return _words(rank)
    return f"{rank} ({best} to {worst})" if _is_number(best) else f"{rank} ({best})"


def _gain_text(cells: Mapping[str, object]) -> str:
    gain, p = cells["gain"], cells["p (Holm)"]
    if not isinstance(gain, float) or not isinstance(p, float):
        return _words(gain)
    return f"{gain:+.2f} [{number(cells['gain low'], 2)}, {number(cells['gain high'], 2)}], {p_text(p)}"


def _span_text(cells: Mapping[str, object], name: str) -> str:
    low, high = cells[f"{name} low"], cells[f"{name} high"]
    return f"[{number(low, 2)}, {number(high, 2)}]" if _is_number(low) else _words(low)


def _signed(value: object) -> str:
    return f"{value:+.2f}" if isinstance(value, float) else _words(value)


def _short(value: object) -> str:
    return three_digits(value) if isinstance(value, int | float) else _words(value)


def _p(value: object) -> str:
    return p_text(value).removeprefix("p ") if isinstance(value, float) else _words(value)


def _fixed(value: object, decimals: int) -> str:
    return number(value, decimals) if _is_number(value) else _words(value)


def _words(value: object) -> str:
    """A reason stays what it is; anything else is a mistake in the table."""
    assert isinstance(value, str), value
    return value


def _best(block: Sequence[Mapping[str, object]], main: MainFigure) -> float | None:
    """The best figure among the ranked settings, as printed; None where one stands alone."""
    values = [_printed(cells, main) for cells in block if _is_number(cells["rank"])]
    return max(values, key=lambda value: main.sign * value) if len(values) > 1 else None


def _bold(text: str, cells: Mapping[str, object], best: float | None, main: MainFigure) -> str:
    return Best(text) if _is_number(cells["rank"]) and _printed(cells, main) == best else text


def _printed(cells: Mapping[str, object], main: MainFigure) -> float:
    return float(number(cells[main.column], 2).replace(",", ""))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
