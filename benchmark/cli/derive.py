"""`fewdistill derive`: the teachers' modality clips alone, before or beside a run."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fewdistill.benchmark.cli.output import OUT, print_line
from fewdistill.benchmark.runtime.errors import UserError


def derive_command(
    suite: Annotated[str, typer.Argument(help="A shipped suite's name or a TOML file.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change one setting: section.key=value. Repeatable.")
    ] = None,
    modality: Annotated[
        str | None, typer.Option(help="Only these, as flow,skeleton; default all that the teachers read.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, show_default="one a core", help="Processes; the clips do not depend on it.")
    ] = None,
    part: Annotated[
        str, typer.Option(help="i/n derives the i-th of n parts, each on a machine of its own, into one folder.")
    ] = "1/1",
    data: Annotated[Path, typer.Option(help="Folder of the embedded data set and the caches.")] = Path("data"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Derive the modality clips that a suite's teachers read, in all its variants. What stands is kept."""
    share = _part(part)
    from fewdistill.benchmark.api import load_suite
    from fewdistill.benchmark.graph.protocol import RunOptions
    from fewdistill.benchmark.protocols.episodic.derive import derive_clips
    from fewdistill.benchmark.protocols.episodic.opening import open_videos
    from fewdistill.benchmark.protocols.episodic.suite import Suite

    loaded = load_suite(suite, tuple(set_ or ()))
    if not isinstance(loaded, Suite):
        raise UserError(f"{suite} has no videos to derive modalities from: its clips are joints")
    run = open_videos(loaded, RunOptions(Path("runs"), data, "cpu")).run
    modalities = None if modality is None else [name.strip() for name in modality.split(",")]
    variants = [name for name, _ in run.suite.versions()]
    found = derive_clips(run, modalities, variants=variants, part=share, workers=workers)
    if as_json:
        OUT.print_json(json.dumps([asdict(entry) for entry in found]))
        return
    for entry in found:
        left = entry.videos - entry.there - entry.made
        others = f", {left} left to other parts" if left else ""
        told = f"{entry.videos} videos: {entry.there} were there, {entry.made} made{others}"
        print_line(f"{entry.name} ({entry.digest}): {told}")
    if not found:
        print_line("nothing to derive: the teachers read rgb alone, from its files")


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--part {text!r}: write i/n with i from 1 to n, for example --part 3/16")
    return int(match[1]), int(match[2])
