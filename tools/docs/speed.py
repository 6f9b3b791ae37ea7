"""Tables of docs/speed.md, from one record of the speed cases a processor."""

import math
from typing import Any

from tools.docs.reference import speed
from tools.docs.wording import markdown, wrapped

RESNET18_GMACS = 1.814
"""Of one frame of 224 pixels, trunk and pooling; a test counts them."""

SpeedRow = dict[str, Any]


def speed_machine(record: str) -> str:
    """The processor, its own best speed over all runs, and the sizes of the cases."""
    found, sizes = speed(record), speed(record)["sizes"]
    where, runs = found["environment"], [row["run"] for row in found["rows"]]

    def reached(name: str) -> str:
        values = [run[name] for run in runs]
        return f"{min(values):,.0f} to {max(values):,.0f}"

    return wrapped(
        f"{where['processor']}, {where['threads']} threads, torch {where['torch']}; commits"
        f" {', '.join(dict.fromkeys(run['commit'] for run in runs))}. Matrix products reach"
        f" {reached('gemm_float32_gflops')} GFLOP/s in float32 and {reached('gemm_bfloat16_gflops')} in bfloat16,"
        f" copies {reached('copy_gb')} GB/s. Episodes are {sizes['way']}-way {sizes['shot']}-shot with"
        f" {sizes['query']} queries a class; clips have {sizes['frames']} frames of {sizes['image_size']} pixels;"
        f" tokens have width {sizes['width']:,}."
    )


def speed_aims(record: str) -> str:
    """The cases with a target: time of the baseline and of ours, the ratio, and whether it reaches the target."""
    lines = [
        [_case(row), _time(base), _time(row), _digits(row["ratio"]), f"{row['aim']:g}", _reached(row)]
        for base, row in _pairs(record)
        if row["aim"] is not None
    ]
    return markdown(["case", "baseline", "ours", "speed-up", "target", "reached"], lines)


def speed_cases(record: str) -> str:
    """Every case, with rates, spreads and loads."""
    lines = []
    for base, row in _pairs(record):
        unit = row["unit"].removesuffix("s") + "s"
        rate = f"{_digits(row['per_second'])} {unit}/s"
        spread = f"{row['slowest_over_fastest']:.2f} ({row['repetitions']:,})"
        line = [_case(row), _time(base), _time(row), rate, _digits(row["ratio"]), spread, f"{row['load']:.2f}"]
        least = row.get("over_gemm_limit") if row["side"] == "ours" else None
        lines.append([*line, _digits(least), row["run"]["commit"], row["note"] or base["note"]])
    head = ["case", "baseline", "ours", "rate", "speed-up", "slowest / fastest", "load", "over least work"]
    return markdown([*head, "commit", "note"], lines)


def speed_memory(record: str) -> str:
    """Peak memory of the cases that measure it, above what the process held before."""
    lines = [
        [
            _case(row),
            f"{row['memory_mib']:,.0f}",
            _digits(row["memory_ratio"]),
            f"{row['memory_aim']:g}" if row.get("memory_aim") else "",
            _digits(row.get("memory_limit_mib")),
        ]
        for row in speed(record)["rows"]
        if row.get("memory_mib") is not None
    ]
    return markdown(["case", "MiB", "share of the first", "target, at most", "limit, MiB"], lines)


def speed_bounds(record: str) -> str:
    """How near three cases come to what bounds them: all test episodes, convolutions and cached rows."""
    sizes = speed(record)["sizes"]
    rows = {(row["case"].partition(",")[0], row["side"]): row for row in speed(record)["rows"]}
    embedding, cache = rows["embedding: resnet18", "ours"], rows["cache: rows of an episode", "ours"]
    minutes = [rows["evaluation: 10", side]["milliseconds"] * sizes["episodes"] / 6e4 for side in ("plain", "ours")]
    values = sizes["way"] * (sizes["shot"] + sizes["query"]) * sizes["frames"] * sizes["width"]
    moved = 2 * 4 * values * cache["per_second"] / 1e9  # read and written, float32
    convolved = 2 * RESNET18_GMACS * embedding["per_second"]
    lines = [
        [
            "ResNet18's direct convolutions, GFLOP/s",
            f"{convolved:.0f}",
            f"{embedding['run']['gemm_float32_gflops']:.0f}",
        ],
        ["cached rows read and written, GB/s", f"{moved:.0f}", f"{cache['run']['copy_gb']:.0f}"],
    ]
    time = f"all {sizes['episodes']:,} test episodes of {sizes['test_videos']:,} videos"
    lines = [[time, f"{minutes[1]:.1f} min", f"{minutes[0] / 60:.1f} h"], *lines]
    return markdown(["what", "ours", "baseline, matrix product or plain copy"], lines)


def _pairs(record: str) -> list[tuple[SpeedRow, SpeedRow]]:
    """Each measured side with the first of its case, which is its baseline."""
    first: dict[str, SpeedRow] = {}
    return [(base, row) for row in speed(record)["rows"] if (base := first.setdefault(row["case"], row)) is not row]


def _case(row: SpeedRow) -> str:
    side = row["side"].replace("plain", "baseline")
    return row["case"].replace("plain:", "baseline:") if side == "ours" else f"{row['case']}; {side}"


def _reached(row: SpeedRow) -> str:
    return "yes" if row["ratio"] >= row["aim"] else "no"


def _time(row: SpeedRow) -> str:
    value = row["milliseconds"]
    return f"{_digits(value / 1e3)} s" if value >= 1e3 else f"{_digits(value)} ms"


def _digits(value: float | None) -> str:
    """Three significant digits without an exponent; "" for None."""
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
