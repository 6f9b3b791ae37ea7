"""A selection of records: what a name on the command line means.

embedded                              a suite's run under --runs
runs/embedded, somewhere/records      a run folder, a folder of records or of a bundle
embedded:resnet18/d2m                 a row of any of these, its seeds pooled; "teacher" for the teacher
embedded:resnet18/d2m/s0@flips        one seed of it; a variant
embedded:040704fb                     one record by the start of its key; or the path of its JSON
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from fewdistill.results import ResultError
from fewdistill.results.records.bundle import RECORDS, open_records
from fewdistill.results.records.record import Cell
from fewdistill.results.records.result import Result
from fewdistill.results.summary.rows import Setting

_KEY = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True)
class RecordSelection:
    """name: as typed. whole: everything of a folder, not one row. left_out: one line for each file not read."""

    name: str
    results: tuple[Result, ...]
    whole: bool
    left_out: tuple[str, ...] = ()


def find_selection(text: str, runs: Path) -> RecordSelection:
    """The records that ``text`` names; runs: folder of run folders, for names of suites.

    Raises ResultError, with the nearest names, when there is no such folder, row or record, or when the name fits
    several rows.
    """
    path = Path(text)
    if path.suffix == ".json" and path.is_file():
        read = _read(path.parent)
        return _row(RecordSelection(text, *read), path.stem)
    if _folder(text, runs):
        return RecordSelection(text, *_read(_folder_of(text, runs)))
    folder, colon, row = text.rpartition(":")
    if not colon:
        raise ResultError(_nowhere(text, runs))
    if not folder or not row:
        raise ResultError(f"{text!r}: wanted PLACE:ROW, such as embedded:resnet18/d2m")
    return _row(RecordSelection(text, *_read(_folder_of(folder, runs))), row)


def row_names(cell: Cell) -> tuple[str, ...]:
    """Every name of a cell's row, the shortest first: model, model/distillation, model/distillation/seed, @variant."""
    models = (cell.model, "teacher") if cell.role == "teacher" else (cell.model,)
    at = f"@{cell.variant}" if cell.variant else ""
    tails = ("", f"/{cell.distillation}", f"/{cell.distillation}/s{cell.seed}")
    return tuple(f"{model}{tail}{at}" for tail in tails for model in models)


def nearest(name: str, known: Iterable[str], most: int = 12) -> str:
    """ "; did you mean x, y?" where something is near, and else what there is."""
    names = sorted(set(known))
    close = get_close_matches(name.lower(), [n.lower() for n in names], 3, 0.5)
    if close:
        return "; did you mean " + " or ".join(n for n in names if n.lower() in close) + "?"
    shown = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return f"; there is {shown}" if names else ""


def _folder(text: str, runs: Path) -> bool:
    return bool(text) and (Path(text).is_dir() or any(folder.is_dir() for folder in _of_suite(text, runs)))


def _folder_of(text: str, runs: Path) -> Path:
    """The folder of records, or of a bundle of them, that a path or a suite's name means."""
    for folder in (Path(text) / "records", Path(text), *_of_suite(text, runs)):
        if folder.is_dir():
            return folder
    raise ResultError(_nowhere(text, runs))


def _of_suite(name: str, runs: Path) -> list[Path]:
    """Where a suite's records are stored under ``runs``: the folder of its run, or a bundle in place of it."""
    return [runs / name / "records", *([runs / name] if (runs / name / RECORDS).is_file() else [])]


def _nowhere(text: str, runs: Path) -> str:
    found = [*runs.glob("*/records"), *runs.glob(f"*/{RECORDS}")] if runs.is_dir() else []
    suites = [path.parent.name for path in found]
    return f"{text!r}: no such folder, record or run under {runs}{nearest(text, suites)}"


def _read(folder: Path) -> tuple[tuple[Result, ...], bool, tuple[str, ...]]:
    results, problems = open_records(folder).scan()
    if not results:
        damaged = f" ({len(problems)} other files, the first: {problems[0]})" if problems else ""
        raise ResultError(f"{folder}: no readable record; a run writes <runs>/<suite>/records{damaged}")
    return tuple(results), True, tuple(str(problem) for problem in problems)


def _row(whole: RecordSelection, row: str) -> RecordSelection:
    """The records of one row, which must be one setting."""
    wanted = row.lower()
    found = [r for r in whole.results if wanted in (name.lower() for name in row_names(r.record.cell))]
    if not found and _KEY.fullmatch(wanted):
        found = [r for r in whole.results if r.record.key.startswith(wanted)]
        if len(found) > 1:
            keys = ", ".join(r.record.key[:12] for r in found)
            raise ResultError(f"{whole.name!r}: {len(found)} records begin so ({keys}): give more of the key")
    if not found:
        cells = [r.record.cell for r in whole.results]
        raise ResultError(
            f"{whole.name!r}: no such row or record{nearest(row, (short_name(cell) for cell in cells), 30)}"
        )
    _refuse_several(whole.name, found)
    return RecordSelection(whole.name, tuple(found), False, whole.left_out)


def short_name(cell: Cell) -> str:
    """The name of a row's setting as one types it."""
    row = "teacher" if cell.role == "teacher" else f"{cell.model}/{cell.distillation}"
    return f"{row}@{cell.variant}" if cell.variant else row


def _refuse_several(name: str, found: Sequence[Result]) -> None:
    settings = sorted({Setting.of(result.record.cell) for result in found})
    if len(settings) == 1:
        return
    rows = sorted({short_name(result.record.cell) for result in found})
    if len(rows) > 1:
        raise ResultError(f"{name!r} is {len(rows)} rows: name one of {', '.join(rows)}")
    axes = [axis for axis in vars(settings[0]) if len({getattr(setting, axis) for setting in settings}) > 1]
    values = "; ".join(f"{axis} {', '.join(sorted({str(getattr(s, axis)) for s in settings}))}" for axis in axes)
    raise ResultError(f"{name!r} is {len(settings)} settings ({values}): keep their records in folders apart")
