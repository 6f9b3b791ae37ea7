"""Links lead somewhere, and every command that the pages quote is one: its name, its options, its arguments."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from fewdistill.benchmark.cli.main import app
from tests.docs.pages import PAGES, ROOT, anchors, fences, lines
from tools.docs.reference import ROOT as ROOT_OF_RECORDS
from tools.speed.__main__ import app as speed

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        targets = re.findall(r"\]\(([^)\s#]+\.md)", page.read_text())
        ahead += [found for target in targets if (found := (page.parent / target).resolve()) in PAGES]
        ahead = [found for found in ahead if found not in reached]
    assert reached == set(PAGES)


def test_every_reference_suite_has_a_page() -> None:
    suites = {path.name for path in ROOT_OF_RECORDS.iterdir()} - {"speed"}
    assert suites == {page.stem for page in (ROOT / "docs" / "results").glob("*.md")} - {"README"}


def commands(page: Path) -> list[str]:
    """Quoted command lines that begin with fewdistill, make or a tool of this project."""
    text = re.sub(r"^[ ]*```.*?^[ ]*```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    inline = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]
    blocks = [line for fence in fences(page) if fence.language in ("", "sh") for line in lines(fence.text)]
    return [line for line in [*inline, *blocks] if re.match(r"(fewdistill|python -m tools|torchrun|make) ", line)]


def known(line: str) -> None:
    """Fail where a line names a command, a subcommand or an option that there is not."""
    words = shlex.split(line.partition(" # ")[0].replace("[", " ").replace("]", " "))
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), line
        return
    start, tree = 1, typer.main.get_command(app)
    if words[0] == "torchrun":
        start = words.index("fewdistill") + 1
    elif words[0] == "python":
        assert words[2] == "tools.speed"
        start, tree = 3, typer.main.get_command(speed)
    place, at, alternative = tree, tree, False
    for word in words[start:]:
        if word == "|":
            at, alternative = place, True
        elif word.startswith("--"):
            options = {name for parameter in at.params for name in (*parameter.opts, *parameter.secondary_opts)}
            assert word.partition("=")[0] in options | {"--help"}, f"{line}: {word}"
        elif not hasattr(at, "commands"):
            continue  # an argument
        elif word in at.commands:
            at = at.commands[word]
            place = at if hasattr(at, "commands") else place
        else:  # "list students | heads": an argument's other value
            assert place is tree and alternative, f"{line}: {word}"


@each_page
def test_every_quoted_command_is_one(page: Path) -> None:
    for line in commands(page):
        known(line)


def test_pages_quote_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 40


@pytest.mark.parametrize(
    "line", ["fewdistill runn demo", "fewdistill run demo --sett a=b", "fewdistill data generat x", "make everything"]
)
def test_a_wrong_command_is_noticed(line: str) -> None:
    with pytest.raises(AssertionError):
        known(line)
