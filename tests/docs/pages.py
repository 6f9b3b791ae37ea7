"""What the pages hold: fences, the files and commands that readers are told to copy, links and anchors."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True)
class Fence:
    """A block of code. says: the comment before it ("file: x.py", "run", "run: 2"), language, and its text."""

    says: str
    language: str
    text: str


def fences(page: Path) -> list[Fence]:
    pattern = r"(?:<!-- ([^>]*?) -->\n)?^([ ]*)```(\w*)\n(.*?)^\2```$"
    found = re.findall(pattern, page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [Fence(says, language, text) for says, _, language, text in found]


def files(page: Path) -> dict[str, str]:
    """The files that a page has its reader write, by name."""
    return {f.says.removeprefix("file: "): f.text for f in fences(page) if f.says.startswith("file: ")}


def lines(text: str) -> list[str]:
    """The commands of a fence, continued lines joined."""
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


GENERATED = re.compile(r"<!--cog.*?-->\n(.*?)<!--end-->", flags=re.DOTALL)


def generated(page: Path) -> str:
    """The text of a page that cog wrote."""
    return "\n".join(GENERATED.findall(page.read_text()))


def prose(page: Path) -> str:
    """A page without fences, generated blocks and inline code."""
    text = re.sub(r"^[ ]*```.*?^[ ]*```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`", "", GENERATED.sub("", text))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
