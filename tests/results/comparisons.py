"""What comparisons are made of: selections by name, results without files, and the arrays as the files have them."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.results.comparison.compare import Comparison, compare
from fewdistill.results.comparison.selection import RecordSelection, find_selection
from fewdistill.results.records.metrics import Accuracy
from fewdistill.results.records.record import Cell, key_of
from fewdistill.results.records.result import Result
from tests.results import made

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def raw(folder: Path, model: str, distillation: str, shot: int) -> dict[int, dict[str, np.ndarray]]:
    """Arrays of each seed, read with numpy alone."""
    found = {}
    with np.load(folder / "outcomes.npz") as arrays:
        for line in (folder / "records.jsonl").read_text().splitlines():
            record = json.loads(line)
            cell, key = record["cell"], record["key"]
            if (cell["model"], cell["distillation"], cell["shot"]) == (model, distillation, shot) and record["metrics"]:
                asked = arrays[f"episodes-{arrays[f'{key}/episodes'].tobytes().hex()}/query_class"]
                found[cell["seed"]] = {"correct": arrays[f"{key}/correct"].astype(float), "asked": asked}
    return found


def result(cell: Cell, correct: NDArray[np.uint8]) -> Result:
    """A finished record of 12 episodes of five queries, with these answers."""
    identity = {"cell": cell.model_dump()}
    metrics = Accuracy(episodes=12, accuracy=float(correct.mean()), closed_low=0, closed_high=1)
    record = made.unfinished(cell, "started").model_copy(
        update={"status": "done", "metrics": metrics, "identity": identity, "key": key_of(identity)}
    )
    return Result(record, correct, made.episodes(5, 12)["query_class"].astype(np.int16), "same")


def row(name: str, *records: Result) -> RecordSelection:
    return RecordSelection(name, records, False)


def pair(a: str, b: str, place: Path, **more: bool | int | None) -> Comparison:
    return compare(find_selection(f"{place}:{a}", place), find_selection(f"{place}:{b}", place), **more)  # type: ignore[arg-type]
