"""``python -m tools.docs``: redraw the figures of the pages and regenerate their tables; ``--check`` only compares."""

import re
import shutil
import sys
import tempfile
from pathlib import Path

from cogapp import Cog

from tools.docs.reference import ROOT, results, rows

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
OPTIONS = ["-P", "-p", "from tools.docs import *", "--markers=<!--cog --> <!--end-->"]
FIGURE = re.compile(r"results/reference/(\w+)/report/plots/([\w.-]+)\.svg")


def regenerate(check: bool, pages: list[Path] = PAGES) -> int:
    """Run cog over the pages; its exit code, 5 where ``check`` finds a page that its records have left behind."""
    how = ["--check", "--diff"] if check else ["-r"]
    return int(Cog().main(["cog", *OPTIONS, *how, *map(str, pages)]))


def figures() -> list[tuple[str, str]]:
    """Suite and name of every plot that a page shows."""
    return sorted({found for page in PAGES for found in FIGURE.findall(page.read_text(encoding="utf-8"))})


def draw(suite: str, name: str, out: Path) -> None:
    """Draw one plot of a suite's report to ``out``/``name``.svg."""
    from fewdistill.results.report.figures import parts, plots

    [part] = parts(results(suite), rows(suite))
    with tempfile.TemporaryDirectory() as folder:
        plots(part)[name](Path(folder) / name)
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(folder) / f"{name}.svg", out)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit("usage: python -m tools.docs [--check]")
    if not sys.argv[1:]:
        for suite, name in figures():
            draw(suite, name, ROOT / suite / "report" / "plots")
    sys.exit(regenerate(check=bool(sys.argv[1:])))
