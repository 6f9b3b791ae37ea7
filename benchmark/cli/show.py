"""What run and status print of a suite, whatever its protocol."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.benchmark.runtime.progress import say
from fewdistill.feature_cache import run_lock
from fewdistill.results.records.metrics import SUPERVISED

if TYPE_CHECKING:
    from fewdistill.benchmark.graph.place import Place
    from fewdistill.benchmark.graph.status import Standing

OUT = Console()


def standing(found: "Sequence[Standing]") -> None:
    """What stands of each row."""
    table = Table("row", *(f"{shot}-shot" if shot else SUPERVISED for shot in (found[0].status if found else ())))
    for each in found:
        table.add_row(each.row.name, *each.status.values())
    OUT.print(table)
    OUT.print(f"{sum(each.done for each in found)} of {len(found)} rows done")


def main_table(page: Path) -> None:
    """The main table beside a report's page."""
    OUT.print((page.parent / "tables" / "main.md").read_text(), highlight=False, soft_wrap=True, markup=False)


def finish(place: "Place", found: "Sequence[Standing]", every: "Sequence[Standing]", report: bool) -> None:
    """The report of all that a suite's rows have, or what stands of those asked for where no report is wanted; then
    RunError where one that was asked for did not finish."""
    if report:
        _report(place, {key for each in every for key in each.keys.values()})
    else:
        standing(found)
    unfinished = [each.row.name for each in found if not each.done]
    if unfinished:
        raise RunError(f"{len(unfinished)} rows did not finish: {', '.join(unfinished)}; run again to retry")


def _report(place: "Place", keys: set[str]) -> None:
    from fewdistill.results.report.fingerprint import refresh

    with run_lock(place.runs / "locks" / "report", lambda owner: say(f"[waiting for the report: {owner}]")):
        page = refresh(place.runs / "records", place.runs / "report", keys)
    main_table(page)
    OUT.print(f"report: {page}")
