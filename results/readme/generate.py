"""Pages whose figures come from records: what stands between two markers is written anew from the reference records.

``<!-- begin: NAME -->`` or ``<!-- begin: NAME: ARGUMENTS -->`` opens a block, ``<!-- end -->`` closes it. A marker that
begins its line holds a block of lines; within a line it holds a figure. What stands around blocks is left alone.
"""

import difflib
import inspect
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fewdistill.results import ResultError
from fewdistill.results.readme.blocks import BLOCKS as SUITE_BLOCKS
from fewdistill.results.readme.numbers import BLOCKS as NUMBER_BLOCKS
from fewdistill.results.readme.quotes import BLOCKS as QUOTES
from fewdistill.results.readme.reference import Reference
from fewdistill.results.readme.speed import BLOCKS as SPEED_BLOCKS
from fewdistill.results.report.fingerprint import fingerprint, store_fingerprint, stored_fingerprint

BLOCKS: dict[str, Callable[..., str]] = SUITE_BLOCKS | QUOTES | SPEED_BLOCKS | NUMBER_BLOCKS
COMMAND = "fewdistill report --readme"
_MARKER = re.compile(r"<!-- (?:begin: *([^:>]+?) *(?:: *([^>]*?) *)?|(end)) -->")


@dataclass(frozen=True)
class Block:
    """A place in a page: text[start:end] stands between the markers; own_lines: they begin their lines."""

    name: str
    arguments: str
    start: int
    end: int
    own_lines: bool


def rendered(text: str, reference: Reference, page: str = "the page") -> str:
    """The page with every block written anew; ResultError names a block that nobody knows, or that never ends."""
    parts, at = [], 0
    for block in blocks(text, page):
        body = _body(block, reference, page)
        if "\n" in body and not block.own_lines:
            raise ResultError(f"{page}: the block {block.name!r} has several lines: begin it on a line of its own")
        parts += [text[at : block.start], f"\n{body}\n" if block.own_lines else body]
        at = block.end
    return "".join([*parts, text[at:]])


def stale(text: str, reference: Reference, page: str = "the page") -> list[str]:
    """Names of the blocks of a page that say something else than the records do now."""
    fresh = rendered(text, reference, page)
    pairs = zip(blocks(text, page), blocks(fresh, page), strict=True)
    return [
        " ".join(filter(None, [old.name, old.arguments]))
        for old, new in pairs
        if text[old.start : old.end] != fresh[new.start : new.end]
    ]


def write_pages(pages: Iterable[Path], reference: Reference) -> list[Path]:
    """Write the blocks of the pages anew, all or, where one cannot be, none; returns the pages that changed."""
    old = {page: _read(page) for page in pages}
    fresh = {page: rendered(text, reference, str(page)) for page, text in old.items()}
    changed = [page for page in old if fresh[page] != old[page]]
    for page in changed:
        page.write_text(fresh[page], encoding="utf-8")
    return changed


def stale_parts(pages: Iterable[Path], reference: Reference) -> list[str]:
    """One line for each block, and for each folder of tables and plots, that the records have left behind."""
    lines = [f"{page}: block {name!r}" for page in pages for name in stale(_read(page), reference, str(page))]
    return lines + [
        f"{reference.root / suite / 'report'}: tables and plots are of other records"
        for suite in reference.suites()
        if stored_fingerprint(reference.root / suite / "report") != _now(reference, suite)
    ]


def shown(pages: Iterable[Path]) -> set[tuple[str, str]]:
    """Suite and plot of every figure that the pages show."""
    every = (block for page in pages for block in blocks(_read(page), str(page)) if block.name == "figure")
    return {(suite, plot) for suite, plot, *_ in (block.arguments.split() for block in every)}


def write_figures(reference: Reference, suite: str, pages: Iterable[Path]) -> Path:
    """Write a suite's tables, as the report has them, and those of its plots that the pages show, as SVG, to its folder
    ``report``; returns that folder. The other plots are a command away and would fill a checkout."""
    from fewdistill.results.report.figures import parts, plots
    from fewdistill.results.report.page import write_tables

    out, wanted = reference.root / suite / "report", shown(pages)
    of = parts(reference.results(suite), reference.rows(suite))
    with tempfile.TemporaryDirectory() as made:
        write_tables(reference.rows(suite), of, Path(made) / "tables")
        for name, draw in (plot for part in of for plot in plots(part).items()):
            if (suite, name) in wanted:
                draw(Path(made) / name)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(Path(made) / "tables", out / "tables")
        for plot in Path(made).glob("*.svg"):
            (out / "plots").mkdir(exist_ok=True)
            shutil.copy(plot, out / "plots")
    store_fingerprint(out, _now(reference, suite))
    return out


def _now(reference: Reference, suite: str) -> str:
    return fingerprint((reference.root / suite / "records").iterdir())


def _read(page: Path) -> str:
    try:
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise ResultError(f"{page}: cannot be read ({error})") from error


def blocks(text: str, page: str = "the page") -> list[Block]:
    """The blocks of a page in order; ResultError names a marker without its other half."""
    found: list[Block] = []
    opened: re.Match[str] | None = None
    for marker in _MARKER.finditer(text):
        line = text.count("\n", 0, marker.start()) + 1
        if marker[3] and opened is None:
            raise ResultError(f"{page}:{line}: an end without a begin")
        if marker[3]:
            assert opened is not None
            before = text[text.rfind("\n", 0, opened.start()) + 1 : opened.start()]
            if not before.strip() and text[: opened.start()].rstrip(" ")[-2:] not in ("", "\n\n"):
                raise ResultError(f"{page}: block {opened[1]!r} begins a line of a paragraph: move a word before it")
            found.append(Block(opened[1], opened[2] or "", opened.end(), marker.start(), not before.strip()))
            opened = None
        elif opened is not None:
            raise ResultError(f"{page}:{line}: block {marker[1]!r} begins within block {opened[1]!r}")
        else:
            opened = marker
    if opened is not None:
        raise ResultError(f"{page}: block {opened[1]!r} never ends; close it with <!-- end -->")
    return found


def _body(block: Block, reference: Reference, page: str) -> str:
    name, arguments = block.name, block.arguments.split()
    if name not in BLOCKS:
        near = difflib.get_close_matches(name, BLOCKS, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(BLOCKS))}"
        raise ResultError(f"{page}: no block {name!r}: {hint}")
    try:
        inspect.signature(BLOCKS[name]).bind(reference, *arguments)
    except TypeError as error:
        raise ResultError(f"{page}: block {name!r} does not take {block.arguments!r} ({error})") from error
    try:
        return BLOCKS[name](reference, *arguments)
    except ValueError as error:  # a word where a number is wanted
        raise ResultError(f"{page}: block {name!r} does not take {block.arguments!r} ({error})") from error
