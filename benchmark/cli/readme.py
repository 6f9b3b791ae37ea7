"""`fewdistill report --readme`: the pages of a checkout, written anew from the reference records."""

from pathlib import Path

from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.progress import say


def pages(root: Path) -> list[Path]:
    """README.md and the pages of docs/ of a checkout; UserError where there is none."""
    found = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    if not found[0].is_file():
        raise UserError("no README.md here: `fewdistill report --readme` is for the root of a checkout")
    return found


def write(reference: Path, check: bool) -> None:
    """Write the blocks of every page and the plots of every reference suite, or say which of them are stale.

    Raises RunError naming what is stale, UserError outside of a checkout, ResultError where records are missing.
    """
    from fewdistill.results.readme.generate import COMMAND, stale_parts, write_figures, write_pages
    from fewdistill.results.readme.reference import Reference

    every, source = pages(Path()), Reference(reference)
    if check:
        old = stale_parts(every, source)
        if old:
            raise RunError("\n".join([*old, f"{len(old)} stale; `{COMMAND}` writes them anew"]))
        say(f"{len(every)} pages say what the records say")
        return
    for suite in source.suites():
        say(f"{write_figures(source, suite, every)}")
    for page in write_pages(every, source):
        say(f"{page}")
