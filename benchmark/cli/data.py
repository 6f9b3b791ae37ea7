"""`fewdistill data`: generate, look at, check and pack data sets."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fewdistill.benchmark.cli.output import OUT, print_line
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.progress import bar, say

if TYPE_CHECKING:
    from fewdistill.benchmark.data.problem import DataProblem

app = typer.Typer(no_args_is_help=True, help="Generate, look at, check and pack data sets.")


@app.command(name="generate", epilog="Example: fewdistill data generate data/mine --clips-per-class 10 --size 96")
def generate_command(
    root: Annotated[Path, typer.Argument(help="Folder to write to.")],
    seed: Annotated[int | None, typer.Option(show_default="0", help="Of the clips; the actions stay.")] = None,
    size: Annotated[int | None, typer.Option(show_default="64", help="Image side in pixels.")] = None,
    frames: Annotated[int | None, typer.Option(show_default="8")] = None,
    clips_per_class: Annotated[int | None, typer.Option(show_default="40")] = None,
    train_classes: Annotated[int | None, typer.Option(show_default="30")] = None,
    val_classes: Annotated[int | None, typer.Option(show_default="8")] = None,
    test_classes: Annotated[int | None, typer.Option(show_default="10")] = None,
    container: Annotated[str | None, typer.Option(show_default="frames", help="frames (jpg) or video (mp4).")] = None,
    workers: Annotated[int, typer.Option(help="Processes; the files do not depend on it.")] = 2,
) -> None:
    """Write the embedded data set: articulated people performing actions, with depth and joints."""
    asked = {name: value for name, value in locals().items() if name not in ("root", "workers") and value is not None}
    from fewdistill.benchmark.data.synthetic import EmbeddedSpec, generate

    with bar("embedded data set", "clips") as tick:
        generate(root, EmbeddedSpec(**asked), workers=workers, progress=tick)
    print_line(f"{root}")


@app.command(name="preview", epilog="Example: fewdistill data preview data/mine --out sheet.png")
def preview_command(
    root: Annotated[Path, typer.Argument(help="A data set.")],
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("preview.png"),
    classes: Annotated[int, typer.Option(help="How many classes to show.")] = 6,
    seed: Annotated[int, typer.Option(help="Chooses classes and videos.")] = 0,
) -> None:
    """A contact sheet: frames, depth, skeleton and flow of a few videos, side by side."""
    from fewdistill.benchmark.data.synthetic.preview import preview

    _must_exist(root)
    preview(root, out, classes=classes, seed=seed)
    print_line(f"{out}")


@app.command(
    name="check",
    epilog="Examples: fewdistill data check data/ucf101 --way 5 --shot 5 | "
    "fewdistill data check data/nw_ucla --layout nw_ucla",
)
def check_command(
    root: Annotated[Path, typer.Argument(help="A data set.")],
    way: int = 5,
    shot: int = 5,
    query: int = 1,
    frames: int = 8,
    list_number: Annotated[int, typer.Option(help="NN of trainlistNN.txt.")] = 3,
    shallow: Annotated[bool, typer.Option("--shallow", help="Do not decode frames.")] = False,
    layout: Annotated[
        str | None,
        typer.Option(
            show_default="videos",
            help="A skeleton set instead: nw_ucla, msr_action3d, ntu, kinetics or npy. Lists, way, shot, query and "
            "frames do not matter then.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Every problem of a data set at once: missing, short or corrupt videos, classes too small for an episode."""
    if layout is not None:
        _check_skeletons(root, layout, as_json)
        return
    from fewdistill.benchmark.data.video.check import check

    _must_exist(root)
    with bar("check", "videos") as tick:
        problems = check(
            root,
            way=way,
            shot=shot,
            query=query,
            frames=frames,
            list_number=list_number,
            deep=not shallow,
            progress=tick,
        )
    if as_json:
        OUT.print_json(json.dumps([asdict(problem) for problem in problems]))
    _conclude(root, problems, as_json)


def _check_skeletons(root: Path, layout: str, as_json: bool) -> None:
    """`data check --layout`: what a skeleton set holds and what is wrong with it."""
    from fewdistill.benchmark.data.skeletons.check import check, lines
    from fewdistill.benchmark.suite.registry import load_plugins

    load_plugins()  # a layout may be one of them
    with bar("check", "clips") as tick:
        summary, problems = check(root, layout, tick)
    if as_json:
        found = {"summary": asdict(summary), "problems": [asdict(problem) for problem in problems]}
        OUT.print_json(json.dumps(found))
    for line in [] if as_json else lines(summary):
        print_line(line)
    _conclude(root, problems, as_json)


def _conclude(root: Path, problems: "list[DataProblem]", as_json: bool) -> None:
    """Print the problems, unless that was done as JSON, and end with exit code 2 if there are any."""
    for problem in [] if as_json else problems:
        print_line(str(problem))
    if problems:
        raise UserError(f"{len(problems)} problems in {root}")
    if not as_json:
        print_line(f"{root}: no problems")


@app.command(
    name="pack",
    epilog="Examples: fewdistill data pack data/ucf101 | fewdistill data pack data/ssv2 --out /fast/ssv2 --keep 8 | "
    "fewdistill data pack data/ucf101 --verify",
)
def pack_command(
    root: Annotated[Path, typer.Argument(help="A data set.")],
    out: Annotated[Path | None, typer.Option(show_default="ROOT/pack", help="Folder to write to.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="The suite's data.frames.")] = 8,
    resize: Annotated[int, typer.Option(min=1, help="Short side in pixels: the suite's data.resize.")] = 256,
    keep: Annotated[
        int | None,
        typer.Option(
            show_default="all that training can draw",
            help="Keep at most so many evenly spaced frames a video. Smaller, but another data set to the records.",
        ),
    ] = None,
    list_number: Annotated[int, typer.Option(help="NN of trainlistNN.txt.")] = 3,
    workers: Annotated[int | None, typer.Option(min=1, show_default="all cores", help="Processes.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare a pack's bytes to its checksums instead.")] = False,
) -> None:
    """Decode every listed video once into files that training maps into memory: set data.pack to the folder."""
    from fewdistill.benchmark.data.video import pack_writer
    from fewdistill.benchmark.data.video.folder import VideoFolder
    from fewdistill.benchmark.data.video.pack_reader import verify as verify_pack

    _must_exist(root)
    out = out or root / "pack"
    if verify:
        with bar("verify", "shards") as tick:
            problems = verify_pack(out, tick)
        for problem in problems:
            print_line(str(problem))
        if problems:
            raise UserError(f"{len(problems)} problems in {out}")
        print_line(f"{out}: no problems")
        return
    folder = VideoFolder(root, frames=frames, image_size=resize, resize=resize, list_number=list_number)
    say(f"hashing the files of {sum(map(len, folder.splits.values()))} videos")  # minutes, the first time
    plan = pack_writer.plan(folder, out, keep)
    if plan.missing:
        room = f"about {pack_writer.gib(plan.needed)} to write, {pack_writer.gib(plan.free)} free"
        say(f"{plan.missing} of {len(plan.content)} videos to pack into {out}: {room}")
    with bar("pack", "videos") as tick:
        pack_writer.write(plan, workers=workers or os.cpu_count() or 1, progress=tick)
    print_line(f'{out}: {len(plan.content)} videos; to read them, set data.pack = "{out}"')


def _must_exist(root: Path) -> None:
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; `fewdistill data generate {root}` writes the embedded data set there")
