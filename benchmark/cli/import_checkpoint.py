"""`fewdistill import-checkpoint`: the weights of a released Lite-MKD student as a suite reads them."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fewdistill.benchmark.cli.output import OUT, add_row, print_line
from fewdistill.benchmark.runtime.errors import UserError


def import_command(
    file: Annotated[Path, typer.Argument(help="A released student: .pt, .pth or .safetensors.")],
    out: Annotated[Path | None, typer.Option(help="A .safetensors file; default FILE's name with that ending.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every key as JSON.")] = False,
) -> None:
    """Write the weights of a released Lite-MKD student under this project's names, and list the keys left over.

    Nothing in the file is executed. A suite takes an imported student as weights = "<file>", in place of base training,
    with token_norm = false and data.input_norm = "none".
    """
    from fewdistill.benchmark.training.initial_weights import read_state, write_imported
    from fewdistill.students.interop import UNKNOWN, import_state

    if not file.is_file():
        raise UserError(f"{file}: no such file")
    imported = import_state(read_state(file))
    path = out or file.with_name(f"{file.stem}.imported.safetensors")
    if path.suffix != ".safetensors":
        raise UserError(f"--out {path}: give it the ending .safetensors")
    write_imported(imported, path)
    if as_json:
        report = {"file": str(path), "backbone": imported.backbone}
        OUT.print_json(json.dumps(report | {"mapped": dict(imported.mapped), "left": dict(imported.left)}))
        return
    parts = Counter(ours.partition(".")[0] for ours in imported.mapped.values())
    table = Table("left over", "why")
    for key, why in imported.left.items():
        add_row(table, key, why)
    if imported.left:
        OUT.print(table)
    strangers = sum(why == UNKNOWN for why in imported.left.values())
    print_line(
        f"{len(imported.mapped)} keys mapped ({', '.join(f'{n} {part}' for part, n in sorted(parts.items()))}), "
        f"{len(imported.left)} left over, {strangers} of them not known; backbone {imported.backbone}"
    )
    print_line(f"written: {path}")
