"""Rows as tables: numbers for CSV, short readable cells for Markdown, LaTeX and the report.

A cell without a figure holds the reason in words (``Why``), never nothing.
"""

from collections.abc import Sequence
from dataclasses import fields

import pandas as pd

from fewdistill.results import ResultError
from fewdistill.results.records.record import shot_order
from fewdistill.results.stats import Paired
from fewdistill.results.summary.rows import Row, Setting, model_order
from fewdistill.results.tables.files import Why
from fewdistill.results.tables.text import PARAMETERS, PER_SHOT

_ALWAYS = ("model", "distillation")
_SHOWN_IF_MIXED = ("suite", "dataset", "split", "way", "query", "frames", "image_size", "head", "variant")

NOT_COUNTED, NOT_MEASURED, NOT_RUN = Why("not counted"), Why("not measured"), Why("not run")


def main_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Accuracy, rank, gain and cost: rows model x distillation, columns (shot, quantity), then ("", "parameters M").

    With several data sets the columns are (data set, shot, quantity). Accuracies, half-widths (closed, 95 %) and gains
    in percentage points; the gain's interval and Holm-corrected p cover training seeds and episodes, or episodes alone
    where there is one seed.
    """
    _some(rows)
    several = len({row.setting.dataset for row in rows}) > 1
    axes = _places(rows)
    places: dict[tuple[str, ...], tuple[object, ...]] = {}
    table: dict[tuple[str, ...], dict[tuple[str, ...], object]] = {}
    for row in sorted(rows, key=lambda row: (row.setting.dataset, shot_order(row.shot))):
        group = (row.setting.dataset, row.at) if several else (row.at,)
        place = _place(row, axes)
        places.setdefault(place, model_order(row.setting))
        for name, value in _numbers(row).items():
            table.setdefault((*group, name), {})[place] = value
    parameters = table[("",) * (1 + several) + (PARAMETERS,)] = {}
    for row in rows:
        if row.cost.parameters_m is not None or _place(row, axes) not in parameters:
            parameters[_place(row, axes)] = _cost(row, row.cost.parameters_m, NOT_COUNTED)
    order = sorted(places, key=lambda place: (places[place], place))
    frame = pd.DataFrame(
        {column: [cells.get(place, NOT_RUN) for place in order] for column, cells in table.items()},
        index=pd.MultiIndex.from_tuples(order, names=axes),
        dtype=object,
    )
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def cost_table(rows: Sequence[Row]) -> pd.DataFrame:
    """What each setting costs at each shot ("-" in a protocol without); G means 1e9 multiply-accumulates, MB 1e6 bytes.

    A column that no row measured is left out.
    """
    records: list[dict[str, object]] = []
    for row, place in zip(rows, _index(rows), strict=True):
        cost = row.cost
        counted = {
            "parameters M": cost.parameters_m,
            "size MB": cost.size_mb,
            "GMACs/video": cost.gmacs_per_video,
            "GMACs/episode": cost.gmacs_per_episode,
            "thop GMACs/episode": cost.thop_gmacs_per_episode,
            "counter": cost.counter or None,
        }
        measured = {
            "latency ms/video (p50)": cost.latency_ms,
            "threads": cost.latency_threads,
            "training s": cost.training_seconds,
        }
        record: dict[str, object] = dict(zip(axes_of(rows), place, strict=True))
        record["shot"] = _shot(row)
        record |= {name: _cost(row, value, NOT_COUNTED) for name, value in counted.items()}
        record |= {name: _cost(row, value, NOT_MEASURED) for name, value in measured.items()}
        records.append(record)
    frame = pd.DataFrame(records, dtype=object).set_index([*axes_of(rows), "shot"])
    return frame.loc[:, [not all(isinstance(value, Why) for value in frame[name]) for name in frame]]


def gains_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Paired gains over what each setting is compared with in percentage points, with each interval on its own.

    Teachers and references stand for themselves and have no line; a gain that could not be tested says why.
    """
    records = []
    for row, place in zip(rows, _index(rows), strict=True):
        if not row.gain and row.gain_why in ("a teacher", "the reference"):
            continue
        record: dict[str, object] = dict(zip(axes_of(rows), place, strict=True)) | {"shot": _shot(row)}
        records.append(record | _gain_numbers(row))
    frame = pd.DataFrame(records, dtype=object)
    return frame.set_index([*axes_of(rows), "shot"]) if records else frame


def ablation_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Each variant against the suite as it stands, a line for a variant, setting and shot; percentage points.

    "as it stands %" is the accuracy of the setting without the variant, over all its seeds. Raises ResultError
    without a variant.
    """
    by_match = {(row.setting, row.shot): row for row in rows}
    varied = [row for row in rows if row.setting.variant]
    if not varied:
        raise ResultError("no record has a variant; nothing to set against the suite as it stands")
    axes = [name for name in axes_of(rows) if name != "variant"]
    records = []
    for row in sorted(
        varied, key=lambda row: (row.setting.suite, row.setting.dataset, shot_order(row.shot), row.setting.variant)
    ):
        other = by_match.get((row.against, row.shot)) if row.against else None
        cells, gain = _numbers(row), _gain_numbers(row)
        record: dict[str, object] = {"variant": row.setting.variant, "shot": _shot(row)}
        record |= dict(zip(axes, _place(row, axes), strict=True))
        record |= {name: cells[name] for name in (row.main.column, "±", "seeds", "planned")}
        record[f"as it stands {row.main.unit}".strip()] = (
            row.main.scale * other.accuracy.mean
            if other and other.accuracy
            else Why(other.why if other else "no such setting")
        )
        record |= {"gain": gain["gain"], "gain low": cells["gain low"], "gain high": cells["gain high"]}
        records.append(record | {"p (Holm)": gain["p (Holm)"], "claimed": gain["claimed"]})
    return pd.DataFrame(records, dtype=object).set_index(["variant", "shot", *axes])


def _by_variant(row: Row) -> tuple[object, ...]:
    return row.setting.suite, row.setting.dataset, shot_order(row.shot), row.setting.variant


def axes_of(rows: Sequence[Row]) -> list[str]:
    """Axes worth a column: the ones that always matter, and those in which the rows differ."""
    varied = {name for name in _SHOWN_IF_MIXED if len({getattr(row.setting, name) for row in rows}) > 1}
    order = [field.name for field in fields(Setting)]
    return [name for name in order if name in varied or name in _ALWAYS]


def _shot(row: Row) -> object:
    return "-" if row.shot is None else row.shot


def _places(rows: Sequence[Row]) -> list[str]:
    """Axes of the main table's rows: data sets are columns, and what each data set fixes needs no column either."""
    varied = set()
    for dataset in {row.setting.dataset for row in rows}:
        varied |= set(axes_of([row for row in rows if row.setting.dataset == dataset]))
    return [name for name in axes_of(rows) if name in varied and name != "dataset"]


def _numbers(row: Row) -> dict[str, object]:
    accuracy, gain, rank, scale = row.accuracy, row.gain, row.rank, row.main.scale
    span = gain.headline if gain else None
    why, gain_why, rank_why = Why(row.why), Why(row.gain_why), Why(row.rank_why)
    bound = Why("too many to compare") if rank else rank_why
    values: dict[str, object] = {
        row.main.column: scale * accuracy.mean if accuracy else why,
        "±": scale * accuracy.half_width if accuracy else why,
        "seeds": len(row.by_seed) if accuracy else why,
        "planned": row.planned if accuracy else why,
        "rank": rank.place if rank else rank_why,
        "rank best": rank.best if rank and rank.best else bound,
        "rank worst": rank.worst if rank and rank.worst else bound,
        "ranked": rank.of if rank else rank_why,
        "gain": scale * gain.mean if gain else gain_why,
        "gain low": scale * span.low if span else gain_why,
        "gain high": scale * span.high if span else gain_why,
        "p (Holm)": gain_why if row.p is None else row.p,
        "GMACs/episode": _cost(row, row.cost.gmacs_per_episode, NOT_COUNTED),
        "thop GMACs/episode": _cost(row, row.cost.thop_gmacs_per_episode, NOT_COUNTED),
        "latency ms/video": _cost(row, row.cost.latency_ms, NOT_MEASURED),
    }
    return {name: values[name] for name in (row.main.column, *PER_SHOT)}


def _gain_numbers(row: Row) -> dict[str, object]:
    gain, why, scale = row.gain, Why(row.gain_why), row.main.scale

    def ends(name: str, span: Paired | None) -> dict[str, object]:
        none = Why("one seed") if gain else why
        return {f"{name} low": scale * span.low if span else none, f"{name} high": scale * span.high if span else none}

    return {
        "gain": scale * gain.mean if gain else why,
        "seeds": gain.n_seeds if gain else why,
        **ends("episodes", gain.episodes if gain else None),
        **ends("seeds", gain.seeds if gain else None),
        **ends("both", gain.both if gain else None),
        "p": gain.headline.p if gain else why,
        "p (Holm)": why if row.p is None else row.p,
        "claimed": row.claimed if gain else why,
    }


def _cost(row: Row, value: object, missing: Why) -> object:
    if value is not None:
        return value
    return missing if row.accuracy else Why(row.why)


def _some(rows: Sequence[Row]) -> None:
    if not rows:
        raise ResultError("no records to tabulate; run a suite first")


def _place(row: Row, axes: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(getattr(row.setting, name)) for name in axes)


def _index(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    _some(rows)
    return [_place(row, axes_of(rows)) for row in rows]
