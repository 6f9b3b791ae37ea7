"""What tests ask of a report in the browser, and the records as their files have them."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.browser import Browser

LINES = "[...document.querySelectorAll('#{}-table tbody tr')].filter(r => !r.hidden)"
ROWS = LINES.format("main")


def choose(page: Browser, name: str, value: str) -> None:
    chosen = f"={value}" if value and name not in ("x", "quantity", "confusion") else value
    page.run(
        f"(() => {{ const s = document.querySelector('select[name={name}], select#{name}'); s.value = {chosen!r};"
        " s.dispatchEvent(new Event('change')); })()"
    )


def search(page: Browser, text: str) -> None:
    page.run(
        f"(() => {{ const s = document.getElementById('search'); s.value = {text!r};"
        " s.dispatchEvent(new Event('input')); })()"
    )


def column(page: Browser, name: str, table: str = "main") -> int:
    heads = page.run(f"[...document.querySelectorAll('#{table}-table thead th')].map(h => h.textContent.trim())")
    return int(heads.index(name))


def values(page: Browser, name: str, table: str = "main") -> list[float | None]:
    at = column(page, name, table)
    found: list[str] = page.run(f"{LINES.format(table)}.map(r => r.children[{at}].dataset.value)")
    return [None if value == "" else float(value) for value in found]


def by_place(cells: dict[str, dict[str, Any]]) -> dict[tuple[str, str, int], dict[int, dict[str, Any]]]:
    found: dict[tuple[str, str, int], dict[int, dict[str, Any]]] = defaultdict(dict)
    for cell in cells.values():
        axes = cell["cell"]
        found[axes["model"], axes["distillation"], axes["shot"]][axes["seed"]] = cell
    return found


def raw_records(root: Path) -> dict[str, dict[str, Any]]:
    """Every record as its files have it, read without the program: JSON, and correctness (E, Q)."""
    found = {}
    for path in root.glob("*.json"):
        found[path.stem] = json.loads(path.read_text())
        if path.with_suffix(".npz").exists():
            own = np.load(path.with_suffix(".npz"))
            found[path.stem]["correct"] = own["correct"].astype(float)
            found[path.stem]["predicted"] = own["predicted"]
            drawn = np.load(root / f"episodes-{own['episodes'].tobytes().hex()[:16]}.npz")
            found[path.stem]["query_class"] = drawn["query_class"]
    return found
