"""``python -m tools.speed``: every case, one thing at a time, as a table and as JSON."""

import datetime
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from fewdistill.benchmark.cli.main import main
from fewdistill.benchmark.runtime.allocator import keep_freed_memory
from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.progress import bar, say
from fewdistill.benchmark.runtime.provenance import commit
from fewdistill.feature_cache import write_atomic
from tools.speed import (  # noqa: F401  each registers its cases
    derivation_case,
    evaluation_case,
    head_cases,
    network_cases,
    reading_cases,
    skeleton_cases,
)
from tools.speed.cases import CASES, QUICK, Bench, Case, Sample, Sizes
from tools.speed.machine import environment, limits

OUT = Console()
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Folder = Annotated[Path | None, typer.Option(help="Folder of the cases' data, kept; default a temporary one.")]


@app.command(epilog="Examples: python -m tools.speed --only 'head' | python -m tools.speed --json > speed.json")
def speed(
    only: Annotated[list[str] | None, typer.Option(help="Cases whose name contains this. Repeatable.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: shows that cases run, measures nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Also write the JSON to this file, case by case. Cases that stand there from this commit are skipped."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Measure again what stands in --out.")] = False,
    data: Folder = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the cases, and stop.")] = False,
    side: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Time each part of the suite beside the plain way and the machine's limits. Half an hour or more on two cores.

    Run it on an otherwise idle machine: the load is reported, and a second torch job spoils every figure.
    """
    sizes = QUICK if quick else Sizes()
    if side is not None:
        assert data is not None and out is not None
        _run_side(side, Bench(sizes, data), out)
        return
    names = [name for name in CASES if not only or any(part in name for part in only)]
    if not names:
        raise UserError(f"no case contains {' or '.join(only or ())}; the cases are: {'; '.join(CASES)}")
    if list_:
        OUT.print("\n".join(names), highlight=False)
        return
    earlier = _standing(out, sizes)
    here = commit()
    again = overwrite or here.endswith("-dirty")  # changed files may be what is measured
    done = set() if again else {row["case"] for row in earlier if row["run"]["commit"] == here}
    with tempfile.TemporaryDirectory() as temporary:
        found = _measure([name for name in names if name not in done], earlier, quick, data or Path(temporary), out)
    if as_json:
        OUT.print_json(data=found)
    else:
        _print(found)


def _standing(out: Path | None, sizes: Sizes) -> list[dict[str, Any]]:
    """The rows of an earlier run in the file; UserError where they cannot stand beside new ones."""
    if out is None or not out.exists():
        return []
    try:
        found = json.loads(out.read_text())
        same = found["sizes"].items() <= asdict(sizes).items()  # a size that came later is no older case's
        processor = found["environment"]["processor"]
        rows = [row for row in found["rows"] if row["case"] in CASES and row["run"]["commit"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{out}: not written by this program ({error!r}); name another file") from error
    if not same or processor != environment()["processor"]:
        raise UserError(f"{out}: measured at other sizes or on another processor ({processor}); name another file")
    return rows


def _measure(
    names: list[str], earlier: list[dict[str, Any]], quick: bool, folder: Path, out: Path | None
) -> dict[str, Any]:
    """Measure the named cases and put them beside the earlier rows; what was measured is written case by case."""
    with bar("speed", "sides") as tick:
        machine = _in_process("limits::", quick, folder)
        sides = {name: _possible(CASES[name], machine["limits"]) for name in names}
        count = sum(len(sides[name]) * (1 if quick else CASES[name].rounds) for name in names)
        run = {
            "commit": machine["environment"]["commit"], "date": datetime.date.today().isoformat(), **machine["limits"],
        }  # fmt: skip
        rows = earlier
        report: dict[str, Any] = {}
        done = 0
        for name in names:
            found: dict[str, Sample] = {}
            for _ in range(1 if quick else CASES[name].rounds):
                for side in sides[name]:
                    one = _sample(_in_process(f"{name}::{side}", quick, folder))
                    found[side] = found[side].then(one) if side in found else one
                    done += 1
                    tick(done, count)
            for side, one in found.items():
                say(f"{name}, {side}: {_digits(1e3 / one.rate)} ms")  # told at once: a stop loses little
            fresh = [row | {"run": run} for row in _rows(name, CASES[name], found, machine["limits"])]
            rows = [row for row in rows if row["case"] != name] + fresh
            rows.sort(key=lambda row: list(CASES).index(row["case"]))
            report = machine | {"rows": rows}
            if out is not None:
                write_atomic(out, [json.dumps(report, indent=1).encode()])
    return report or machine | {"rows": rows}


def _possible(case: Case, limit: dict[str, float]) -> list[str]:
    """The case's sides, without those in bfloat16 where the processor only emulates it, hundreds of times as slow."""
    emulated = limit["gemm_bfloat16_gflops"] < limit["gemm_float32_gflops"]
    return [side for side in case.sides if not (emulated and "bfloat16" in side)]


def _in_process(side: str, quick: bool, folder: Path) -> dict[str, Any]:
    """A side in a process of its own: no memory, cache or thread of another one is left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "result.json"
    command = [sys.executable, "-m", "tools.speed", "--side", side, "--data", str(folder), "--out", str(result)]
    done = subprocess.run([*command, *(["--quick"] if quick else [])], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
        raise RunError(f"{side}: {last}")
    return json.loads(result.read_text())


def _run_side(side: str, bench: Bench, out: Path) -> None:
    name, _, which = side.partition("::")
    if name == "limits":
        found: dict[str, Any] = {"limits": limits(bench), "environment": environment(), "sizes": asdict(bench.sizes)}
    else:
        if which != CASES[name].against:
            keep_freed_memory()  # as `fewdistill run` does; the plain way leaves the C library as it is
        load, rounds = environment()["load"], CASES[name].rounds
        share = replace(bench.sizes, repeats=-(-bench.sizes.repeats // rounds), seconds=bench.sizes.seconds / rounds)
        sample = CASES[name].sides[which](replace(bench, sizes=share))
        values = None if sample.values is None else sample.values.ravel().tolist()
        found = vars(sample) | {"load": load, "values": values}
    write_atomic(out, [json.dumps(found).encode()])


def _sample(found: dict[str, Any]) -> Sample:
    """What ``_run_side`` wrote of a side."""
    values = None if found["values"] is None else np.array(found["values"])
    return Sample(**found | {"seconds": tuple(found["seconds"]), "values": values})


def _rows(name: str, case: Case, found: dict[str, Sample], limit: dict[str, float]) -> list[dict[str, Any]]:
    base = found[case.against]
    rows = []
    for side, one in found.items():
        row: dict[str, Any] = {
            "case": name, "side": side, "unit": case.unit, "per_second": one.rate,
            "milliseconds": 1e3 / one.rate, "repetitions": len(one.seconds),
            "slowest_over_fastest": max(one.seconds) / min(one.seconds),
            "ratio": one.rate / base.rate, "aim": case.aims.get(side), "load": one.load, "note": one.note,
        }  # fmt: skip
        if case.least_gflop is not None:
            gemm = limit["gemm_bfloat16_gflops" if "bfloat16" in side else "gemm_float32_gflops"]
            row["over_gemm_limit"] = gemm / case.least_gflop / one.rate
        if one.memory_mib is not None and base.memory_mib is not None:
            row["memory_mib"] = one.memory_mib
            row["memory_ratio"] = one.memory_mib / base.memory_mib
            row["memory_aim"] = case.memory_aim if side != case.against else None
            row["memory_limit_mib"] = case.memory_limit_mib
        if one.values is not None and base.values is not None and side != case.against:
            row |= _agreement(one.values, base.values, case.tolerance)
        rows.append(row)
    return rows


def _agreement(ours: np.ndarray, plain: np.ndarray, tolerance: float) -> dict[str, Any]:
    scale = float(np.abs(plain).max()) or 1.0
    difference = float(np.abs(ours - plain).max()) / scale
    return {"largest_difference": difference, "agrees": difference <= tolerance}


def _print(found: dict[str, Any]) -> None:
    where, limit = found["environment"], found["limits"]
    table = Table(title="Speed", title_justify="left")
    for column in ("case", "side", "ms", "a second", "ratio", "aim", "over GEMM limit", "MiB", "difference"):
        table.add_column(column, justify="left" if column in ("case", "side") else "right")
    last = ""
    for row in found["rows"]:
        table.add_row(
            row["case"] if row["case"] != last else "", row["side"], _digits(row["milliseconds"]),
            _digits(row["per_second"]), f"{row['ratio']:.2f}", _digits(row["aim"]), _digits(row.get("over_gemm_limit")),
            _digits(row.get("memory_mib")), f"{row['largest_difference']:.0e}" if "largest_difference" in row else "",
        )  # fmt: skip
        last = row["case"]
    Console(width=max(OUT.width, 150)).print(table)
    OUT.print(
        f"{where['processor']}, {where['threads']} threads, load {where['load']} at the start, torch {where['torch']}; "
        f"GEMM {limit['gemm_float32_gflops']:.0f} GFLOP/s (bfloat16 {limit['gemm_bfloat16_gflops']:.0f}), "
        f"copy {limit['copy_gb']:.0f} GB/s. ms: median for one unit. difference: largest over largest value.",
        highlight=False,
    )


def _digits(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return ""
    whole = 0 if value == 0 else math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, 2 - whole)}f}"


if __name__ == "__main__":
    main(app)
