"""The blocks of the pages that quote a record of the speed cases, whatever cases and sides it holds.

Each names the record: one file a processor.
"""

import math
from collections.abc import Callable
from typing import Any

from fewdistill.results import ResultError
from fewdistill.results.readme.reference import Reference
from fewdistill.results.readme.words import table, wrapped

RESNET18_GMACS = 1.814
"""Of one frame of 224 pixels, trunk and pooling; a test counts them."""

CACHE = "cache: rows of an episode"
EVALUATION = "evaluation: 10,000 episodes, ResNet18, decode included"

SpeedRow = dict[str, Any]


def machine(reference: Reference, record: str) -> str:
    """Where the cases ran, and what that machine reached at best, run by run."""
    found, sizes = reference.speed(record), reference.speed(record)["sizes"]
    where = found["environment"]
    runs = {(row["run"]["commit"], row["run"]["gemm_float32_gflops"]): row["run"] for row in found["rows"]}
    each = "; ".join(
        f"commit {run['commit']} of {run['date']}: {run['gemm_float32_gflops']:,.0f} and"
        f" {run['gemm_bfloat16_gflops']:,.0f} GFLOP/s, {run['copy_gb']:.0f} GB/s"
        for run in runs.values()
    )
    return wrapped(
        f"{where['processor']}, {where['threads']} threads, torch {where['torch']}. GEMM in float32 and bfloat16 and"
        f" copy speed, medians of each run: {each}. {sizes['way']}-way {sizes['shot']}-shot with {sizes['query']}"
        f" queries a class, {sizes['frames']} frames of {sizes['image_size']} pixels, width {sizes['width']:,}."
    )


def aims(reference: Reference, record: str) -> str:
    """The sides for which a ratio is aimed at: what the plain way takes, what ours takes, and the aim."""
    lines = [
        [
            _what(row),
            _time(base),
            _time(row),
            _digits(row["ratio"]),
            f"{row['aim']:g}",
            "yes" if row["ratio"] >= row["aim"] else "no",
        ]
        for base, row in _pairs(reference, record)
        if row["aim"] is not None
    ]
    if not lines:
        raise ResultError(f"speed/{record}.json holds no side with an aim")
    return table(["what", "plain", "ours", "times as fast", "aim", "reached"], lines)


def every_case(reference: Reference, record: str) -> str:
    """Every side of every case."""
    lines = [
        [
            _what(row),
            _time(base),
            _time(row),
            _rate(row),
            _digits(row["ratio"]),
            _aim(row["aim"]),
            _spread(row),
            f"{row['load']:.2f}",
            row["run"]["commit"],
            row["note"] or base["note"],
        ]
        for base, row in _pairs(reference, record)
    ]
    head = ["what", "against", "ours", "rate", "times as fast", "aim", "slowest / fastest", "load", "commit", "note"]
    return table(head, lines)


def memory(reference: Reference, record: str) -> str:
    """Peak memory above the start of the work, of the cases that measure it."""
    rows = [row for row in reference.speed(record)["rows"] if row.get("memory_mib") is not None]
    lines = [
        [
            _what(row),
            f"{row['memory_mib']:,.0f}",
            _digits(row["memory_ratio"]),
            _aim(row.get("memory_aim")),
            _whole(row.get("memory_limit_mib")),
        ]
        for row in rows
    ]
    return table(["what", "MiB", "share of the first", "aim at most", "limit MiB"], lines)


def reached(reference: Reference, record: str) -> str:
    """How many aims are reached, and which are not."""
    rows = [row for _, row in _pairs(reference, record) if row["aim"] is not None]
    short = [f"{_what(row)} ({_digits(row['ratio'])} of {row['aim']:g})" for row in rows if row["ratio"] < row["aim"]]
    text = f"{len(rows) - len(short)} of {len(rows)} aims are reached."
    return wrapped(f"{text} Short of theirs: {'; '.join(short)}." if short else text)


def agreement(reference: Reference, record: str) -> str:
    """How far the sides' values are apart, and how far TRX is from its least work."""
    rows = reference.speed(record)["rows"]
    apart = [row for row in rows if "largest_difference" in row]
    if not all(row["agrees"] for row in apart):
        raise ResultError(f"the sides of {next(r['case'] for r in apart if not r['agrees'])} do not agree")
    far = max(row["largest_difference"] for row in apart)
    power = math.floor(math.log10(far)) if far else 0
    within = f"{math.ceil(far / 10**power)}e{power}"
    text = (
        f"The {len(apart)} sides that compute the same as another agree with it within {within} of the largest value."
    )
    ours = [row for row in rows if row["side"] == "ours" and "over_gemm_limit" in row]
    if ours:
        each = ", ".join(f"{_digits(row['over_gemm_limit'])} ({row['case'].partition(': ')[2]})" for row in ours)
        text += f" In float32 TRX takes {each} times what its smallest exact form would at this GEMM speed."
    return wrapped(text)


def bounds(reference: Reference, record: str) -> str:
    """How long the test episodes take in all, and how much of the machine's best embedding and the cache use."""
    sizes = reference.speed(record)["sizes"]
    embedding, cache = _side(reference, record, "embedding: resnet18", "ours"), _side(reference, record, CACHE, "ours")
    gflops = 2 * RESNET18_GMACS * embedding["per_second"]
    values = sizes["way"] * (sizes["shot"] + sizes["query"]) * sizes["frames"] * sizes["width"]
    moved = 2 * 4 * values * cache["per_second"]
    gemm, copy = embedding["run"]["gemm_float32_gflops"], cache["run"]["copy_gb"]
    sides = [
        _side(reference, record, EVALUATION, side)["milliseconds"] * sizes["episodes"] / 6e4
        for side in ("plain", "ours")
    ]
    note = _side(reference, record, EVALUATION, "plain")["note"]
    return wrapped(
        f"The {sizes['episodes']:,} test episodes of {sizes['test_videos']:,} videos take {sides[0] / 60:.1f} h the"
        f" plain way ({note}) and {sides[1]:.1f} minutes here. ResNet18's {_digits(embedding['per_second'])} frames/s"
        f" would be {gflops:.0f} GFLOP/s of direct convolutions, where a matrix product reaches {gemm:.0f}. The cache"
        f" moves {moved / 1e9:.0f} GB/s, read and written, where copies of large arrays reach {copy:.0f}."
    )


def _pairs(reference: Reference, record: str) -> list[tuple[SpeedRow, SpeedRow]]:
    """Each side with the one that its ratio is taken against, which stands first in its case."""
    first: dict[str, SpeedRow] = {}
    found = []
    for row in reference.speed(record)["rows"]:
        base = first.setdefault(row["case"], row)
        if row is not base:
            found.append((base, row))
    return found


def _side(reference: Reference, record: str, case: str, side: str) -> SpeedRow:
    for row in reference.speed(record)["rows"]:
        if (row["case"], row["side"]) == (case, side):
            return row
    raise ResultError(f"speed/{record}.json holds no side {side!r} of {case!r}")


def _what(row: SpeedRow) -> str:
    return row["case"] if row["side"] == "ours" else f"{row['case']}; {row['side']}"


def _time(row: SpeedRow) -> str:
    value = row["milliseconds"]
    return f"{_digits(value / 1e3)} s" if value >= 1e3 else f"{_digits(value)} ms"


def _rate(row: SpeedRow) -> str:
    unit = row["unit"] + ("" if row["unit"].endswith("s") else "s")
    return f"{_digits(row['per_second'])} {unit}/s"


def _spread(row: SpeedRow) -> str:
    return f"{row['slowest_over_fastest']:.2f} ({row['repetitions']:,})"


def _aim(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _digits(value: float | None) -> str:
    """Three digits that count, without an exponent."""
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    whole = 0 if value == 0 else math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, 2 - whole)}f}"


BLOCKS: dict[str, Callable[..., str]] = {
    "speed machine": machine,
    "speed aims": aims,
    "speed cases": every_case,
    "speed memory": memory,
    "speed reached": reached,
    "speed agreement": agreement,
    "speed bounds": bounds,
}
