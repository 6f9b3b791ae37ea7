"""What the page of a report gets of each record: the panel behind its numbers."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fewdistill.results.plots.accuracy import mean_curve, quantities, title
from fewdistill.results.records.bundle import open_records
from fewdistill.results.records.metrics import Accuracy
from fewdistill.results.records.record import Record
from fewdistill.results.records.reproduce import command, has_command
from fewdistill.results.records.result import Records, Result
from fewdistill.results.report.rows import groups, over_classes, thin
from fewdistill.results.summary.rows import Row, Setting
from fewdistill.results.tables.files import number

_WORDS = {"macs": "MACs", "gmacs": "GMACs", "ms": "(ms)", "p50": "median", "mib": "(MiB)", "thop": "thop",
          "nll": "NLL", "ece": "ECE", "argv": "command line", "image": "image", "bf16": "bf16"}  # fmt: skip

Pairs = list[tuple[str, str]]


def record_data(
    rows: Sequence[Row], results: Sequence[Result], places: Sequence[Path], out: Path
) -> dict[str, dict[str, Any]]:
    """By key, what a record's panel shows; texts are ready to read (JavaScript rounds ties otherwise than
    Python), ``accuracy`` is in percent.

    places: the folders the records came from. out: the folder of the page, to which links are relative.
    """
    found: dict[str, dict[str, Any]] = {}
    sources = [open_records(place) for place in places]
    for index, group in enumerate(groups(rows, results)):
        for result in group:
            record = result.record
            known = found.setdefault(record.key, {"rows": []})
            known["rows"].append(index)
            if len(known["rows"]) == 1:
                known |= _panel(result) | {"files": _files(record.key, sources, out)}
    return found


def _panel(result: Result) -> dict[str, Any]:
    record, metrics = result.record, result.record.metrics
    cost = record.cost.model_dump() if record.cost else {}
    missing = [label(name) for name, value in cost.items() if value is None]
    blocks = {
        "Setting": pairs(record.cell.model_dump() | {"variant": record.cell.variant or "none, the suite as it stands"}),
        "Selection": pairs(record.selection),
        "Cost": pairs({name: value for name, value in cost.items() if value is not None})
        + ([("not measured", ", ".join(missing))] if missing else []),
        "Identity": pairs(record.identity),
        "Behind its hashes": pairs(record.settings),
        "Provenance": pairs(record.provenance),
    }
    return {
        "name": f"{Setting.of(record.cell).name}, {record.cell.at}, seed {record.cell.seed}",
        "seed": record.cell.seed,
        "status": record.status,
        "reason": record.reason,
        "accuracy": metrics.main.scale * metrics.value if metrics else None,
        "shown": f"{metrics.main.scale * metrics.value:.2f} {metrics.main.unit}".rstrip() if metrics else record.status,
        "intervals": _intervals(result),
        "classes": _classes(metrics.per_class) if isinstance(metrics, Accuracy) else [],
        "curves": _curves(record),
        "command": command(record),
        "has_command": has_command(record),
        "blocks": {name: block for name, block in blocks.items() if block},
    }


def _intervals(result: Result) -> list[tuple[str, str, str]]:
    """Name, interval in percent, what it covers."""
    m = result.record.metrics
    if not m:
        return []
    if not isinstance(m, Accuracy):
        low, high = m.interval
        others = m.model_dump(exclude={m.main.field, m.main.low, m.main.high})
        found = [("closed", _span(low, high, m.main.scale), f"other draws of {m.episodes:,} {m.sample}s")]
        return found + [(label(name), _text(value), "") for name, value in others.items()]
    found = [("closed", _span(m.closed_low, m.closed_high), f"other draws of {m.episodes:,} episodes of these videos")]
    if m.open_low is not None and m.open_high is not None:
        found.append(("open", _span(m.open_low, m.open_high), "episodes that share no video"))
    else:
        found.append(("open", "none", "too few episodes that share no video"))
    classes = over_classes([result])
    if classes:
        found.append(("classes", _span(classes.low, classes.high), f"other classes, bootstrap over {classes.n}"))
    else:
        found.append(("classes", "none", "one class alone"))
    if m.nll is not None and m.ece is not None:
        found.append(("NLL, ECE", f"{m.nll:.3f}, {m.ece:.3f}", "of the answers' probabilities"))
    return found


def _classes(per_class: Mapping[str, float]) -> list[tuple[str, float, str]]:
    """Name, fraction and text, the best first."""
    best_first = sorted(per_class.items(), key=lambda item: (-item[1], item[0]))
    return [(name, value, f"{100 * value:.1f}") for name, value in best_first]


def _span(low: float, high: float, scale: float = 100) -> str:
    return f"{scale * low:.2f} to {scale * high:.2f}"


def _curves(record: Record) -> list[dict[str, Any]]:
    found = []
    for name in sorted(quantities([record]), key=lambda name: "accuracy" not in name):
        steps, values = thin(*mean_curve([record], name))
        found.append({"quantity": title(name), "x": steps, "y": values})
    return found


def _files(key: str, sources: Sequence[Records], out: Path) -> list[dict[str, str | None]]:
    """The record's files; a link where page and record lie under one folder, which may be moved as a whole."""
    found: list[dict[str, str | None]] = []
    base = out.resolve()
    for source in sources:
        shown = source.path_of(key)
        if shown is not None:
            path = source.root.resolve() / shown.name.partition(":")[0]
            together = len(Path(os.path.commonpath([path, base])).parts) > 1
            href = Path(os.path.relpath(path, base)).as_posix() if together else None
            found.append({"name": f"{source.root.name}/{shown.name}", "href": href})
    return found


def pairs(values: Mapping[str, Any], above: str = "") -> Pairs:
    """Nested values as lines of name and text; a name within a name is written with a full stop."""
    found: Pairs = []
    for name, value in values.items():
        full = f"{above}{label(name)}"
        if isinstance(value, Mapping) and value:
            found += pairs(value, f"{full}. ")
        else:
            found.append((full, _text(value)))
    return found


def label(name: str) -> str:
    return " ".join(_WORDS.get(word, word) for word in name.split("_"))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float) or value is None:
        return number(value)
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return " ".join(map(str, value)) or "none"
    return json.dumps(value, ensure_ascii=False)
