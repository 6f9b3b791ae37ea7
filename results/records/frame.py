"""Finished records as a pandas frame."""

from pathlib import Path

import pandas as pd

from fewdistill.results import ResultError
from fewdistill.results.records.merge import merge


def frame(folder: Path) -> pd.DataFrame:
    """One line a finished record: its axes, its protocol's metrics, its cost, its key.

    folder: of records, a run's or a bundle's. Nested values (accuracy by class) are left to the records. Raises
    ResultError naming a folder that is not there and records that cannot be read.
    """
    if not folder.is_dir():
        raise ResultError(f"{folder}: no such folder of records; a run writes runs/<suite>/records")
    results, problems = merge([folder])
    if problems:
        raise ResultError("\n".join(map(str, problems)))
    lines = []
    for record in (result.record for result in results if result.record.status == "done"):
        assert record.metrics is not None  # a done record has them
        parts = [record.cell, record.metrics, *([record.cost] if record.cost else [])]
        values = {name: value for part in parts for name, value in part.model_dump(mode="json").items()}
        flat = {name: value for name, value in values.items() if not isinstance(value, dict | list)}
        lines.append({**flat, "key": record.key})
    return pd.DataFrame(lines)
