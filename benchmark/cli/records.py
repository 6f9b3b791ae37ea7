"""`fewdistill records`: a run's records in two files, and back."""

from pathlib import Path
from typing import Annotated

import typer

from fewdistill.benchmark.cli.output import print_line

app = typer.Typer(no_args_is_help=True, help="Pack a run's records into two files, and unpack them.")


@app.command(
    name="pack",
    epilog="Examples: fewdistill records pack runs/embedded/records embedded | "
    "fewdistill compare embedded:resnet18/d2m embedded:resnet18/none",
)
def pack_command(
    records: Annotated[Path, typer.Argument(metavar="RECORDS", help="A run's folder of records.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the two files; those in it are replaced.")],
) -> None:
    """Pack a folder of records into records.jsonl, one record a line, and outcomes.npz, all their arrays.

    `fewdistill report` and `fewdistill compare` take the folder OUT like any folder of records. Runs do not: unpack
    the bundle for them.
    """
    from fewdistill.results.records.bundle import open_records, pack

    for path in pack(open_records(records), out):
        print_line(f"{path}: {path.stat().st_size:,} bytes")


@app.command(
    name="unpack", epilog="Example: fewdistill records unpack results/reference/embedded runs/embedded/records"
)
def unpack_command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of records.jsonl and outcomes.npz.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of records; those of the same keys are replaced.")],
) -> None:
    """Write a bundle's records to a folder as a run has them, so that a run goes on from them."""
    from fewdistill.results.records.bundle import open_records, unpack

    records = open_records(bundle)
    unpack(records, out)
    print_line(f"{out}: {len(records.all())} records")
