"""`fewdistill cache`: lists, verifies, cleans and exports cached clips and tokens."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fewdistill.benchmark.cli.output import OUT, add_row, print_line
from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.feature_cache import Entry, Store, export_tree

app = typer.Typer(no_args_is_help=True, help="List, verify, clean and export cached clips and tokens.")
Cache = Annotated[Path, typer.Option(help="The cache folder.")]
DEFAULT = Path("data/cache")


def _entries(cache: Path, digest: str | None = None) -> list[Entry]:
    if not cache.is_dir():
        raise UserError(f"{cache}: no such cache; a run makes one under data/cache, or pass --cache")
    found = [entry for entry in Store(cache).entries() if digest is None or entry.folder.name.startswith(digest)]
    if digest is not None and len(found) != 1:
        raise UserError(f"{len(found)} entries begin with {digest!r}; `fewdistill cache ls` lists them")
    return found


@app.command(name="ls", epilog="Example: fewdistill cache ls")
def ls_command(
    cache: Cache = DEFAULT, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False
) -> None:
    """Every entry: digest, kind, videos, row shape, size."""
    entries = _entries(cache)
    rows = [
        {
            "digest": entry.folder.name,
            "kind": entry.key.kind,
            "videos": len(entry.ids()),
            "shape": list(entry.row_shape),
            "dtype": str(entry.dtype),
            "mib": round(entry.size_bytes() / 2**20, 1),
            "fields": dict(entry.key.fields),
        }
        for entry in entries
    ]
    if as_json:
        OUT.print_json(json.dumps(rows))
        return
    table = Table("digest", "kind", "videos", "dtype", "row", "MiB")
    for row in rows:
        add_row(table, *(str(row[column]) for column in ("digest", "kind", "videos", "dtype", "shape", "mib")))
    OUT.print(table)


@app.command(name="verify", epilog="Example: fewdistill cache verify --repair")
def verify_command(
    cache: Cache = DEFAULT,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove faulty shards; the next run recomputes them.")
    ] = False,
) -> None:
    """Check every shard's checksum; faults are named."""
    faults = 0
    for entry in _entries(cache):
        with bar(f"verify {entry.folder.name}", "shards") as tick:
            found = entry.verify(tick)
        for fault in found:
            print_line(f"{fault.path}: {fault.reason}")
        if found and repair:
            lost = entry.repair()
            print_line(f"{entry.folder.name}: removed {len(found)} shards, {len(lost)} videos to recompute")
        faults += len(found)
    if faults and not repair:
        raise RunError(f"{faults} faulty shards; `fewdistill cache verify --repair` removes them")
    print_line("every shard is sound" if not faults else "repaired; run the suite again to recompute")


@app.command(name="gc", epilog="Example: fewdistill cache gc")
def gc_command(cache: Cache = DEFAULT) -> None:
    """Remove what killed writers left behind."""
    _entries(cache)
    removed = Store(cache).collect()
    print_line(f"{len(removed)} leftover files removed")


@app.command(name="rm", epilog="Example: fewdistill cache rm 1f3a")
def rm_command(
    digest: Annotated[str, typer.Argument(help="The entry's digest, or its first digits.")], cache: Cache = DEFAULT
) -> None:
    """Delete an entry with all its rows; a run that needs them computes them again."""
    (entry,) = _entries(cache, digest)
    Store(cache).remove(entry.folder.name)
    print_line(f"{entry.folder.name} ({entry.key.kind}) removed")


@app.command(name="export", epilog="Example: fewdistill cache export 1f3a feature/teacher")
def export_command(
    digest: Annotated[str, typer.Argument(help="The entry's digest, or its first digits.")],
    folder: Annotated[Path, typer.Argument(help="Tree to write: <folder>/<class>/<video>/feature.npy.")],
    cache: Cache = DEFAULT,
) -> None:
    """Write an entry's tokens in the published layout."""
    (entry,) = _entries(cache, digest)
    with bar("export", "videos") as tick:
        count = export_tree(entry, folder, tick=tick)
    print_line(f"{count} files written under {folder}")
