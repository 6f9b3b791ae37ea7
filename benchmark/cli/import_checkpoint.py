"""`fewdistill import-checkpoint`: a released checkpoint under our names, with a word on every key."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fewdistill.benchmark.runtime.errors import UserError

OUT = Console(soft_wrap=True)


def import_command(
    file: Annotated[Path, typer.Argument(help="A released checkpoint: .pt, .pth or .safetensors.")],
    kind: Annotated[
        str,
        typer.Option("--as", help="What it is: student (Lite-MKD), teacher (Lite-MKD's fusion and head), trx or strm."),
    ],
    out: Annotated[Path | None, typer.Option(help="A .safetensors file; default FILE's name with that ending.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every key as JSON.")] = False,
) -> None:
    """Map a released checkpoint to our names, say what was mapped and what was left over, and write it.

    Nothing in the file is executed. A suite takes an imported student as weights = "<file>", in place of base training,
    with token_norm = false and data.input_norm = "none"; the other kinds are for use from Python (students.interop).
    """
    from fewdistill.benchmark.training.initial_weights import read_state, write_imported
    from fewdistill.students.interop import KINDS, UNKNOWN, import_state

    known = next((name for name in KINDS if name == kind), None)
    if known is None:
        raise UserError(f"no kind {kind!r} to import as: choose one of {', '.join(KINDS)}")
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    imported = import_state(read_state(file), known)
    path = out or file.with_name(f"{file.stem}.imported.safetensors")
    if path.suffix != ".safetensors":
        raise UserError(f"--out {path}: give it the ending .safetensors")
    write_imported(imported, path)
    if as_json:
        report = {"file": str(path), "kind": known, "backbone": imported.backbone}
        OUT.print_json(json.dumps(report | {"mapped": dict(imported.mapped), "left": dict(imported.left)}))
        return
    parts = Counter(ours.partition(".")[0] for ours in imported.mapped.values())
    table = Table("left over", "why")
    for key, why in imported.left.items():
        table.add_row(key, why)
    if imported.left:
        OUT.print(table)
    strangers = sum(why == UNKNOWN for why in imported.left.values())
    OUT.print(
        f"{len(imported.mapped)} keys mapped ({', '.join(f'{n} {part}' for part, n in sorted(parts.items()))}), "
        f"{len(imported.left)} left over, {strangers} of them not known"
        + (f"; backbone {imported.backbone}" if imported.backbone else "")
    )
    OUT.print(f"written: {path}")
