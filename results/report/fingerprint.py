"""The fingerprint of the records behind a report, so that nobody draws it again or trusts an old one."""

import hashlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path

NAME = "fingerprint.json"


def fingerprint(paths: Iterable[Path]) -> str:
    """sha256 over files: their names and contents, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def stored_fingerprint(folder: Path) -> str:
    """The fingerprint of the records behind the folder; "" where it does not say."""
    try:
        return str(json.loads((folder / NAME).read_text(encoding="utf-8"))["records"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def store_fingerprint(folder: Path, fingerprint: str) -> None:
    """Write the fingerprint of the records that a folder was drawn from."""
    (folder / NAME).write_text(json.dumps({"records": fingerprint}, indent=1) + "\n", encoding="utf-8")


def refresh(records: Path, out: Path, keys: Collection[str]) -> Path:
    """The page of these records in ``out``, made anew where they, or the program that draws it, have changed.

    Raises ResultError like ``write_report``.
    """
    own = Path(__file__).parents[1]  # all of results: statistics and summaries decide what is drawn, too
    drawing = [path for path in own.rglob("*") if path.suffix in (".py", ".html", ".css", ".js", ".toml")]
    found = records.iterdir() if records.is_dir() else ()
    reported = [path for path in found if path.stem in keys or path.name.startswith("episodes-")]
    now, page = f"{fingerprint(reported)} {fingerprint(drawing)}", out / "report.html"
    if stored_fingerprint(out) != now or not page.is_file():
        from fewdistill.results.report.page import write_report  # some seconds of imports

        (out / NAME).unlink(missing_ok=True)
        write_report([records], out, keys)
        store_fingerprint(out, now)
    return page
