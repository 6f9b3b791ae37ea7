"""What the libraries behind the trackers hold: (step, value) by name, as tests/curves.py has them of TensorBoard."""

import json
from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from wandb.proto.wandb_internal_pb2 import Record as Saved

from tests.curves import Points


def saved(file: Path) -> Iterator[Saved]:
    """What W&B saved in a file: messages in a log of LevelDB's form, blocks of 32 KiB after a header of 7 bytes."""
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Saved.FromString(whole)
            whole = b""


def history(file: Path) -> Points:
    """(step, value) by name of the points that W&B saved."""
    found: Points = {}
    for record in saved(file):
        if record.WhichOneof("record_type") == "history":
            values = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
            }
            for name, value in values.items():
                if not name.startswith("_"):
                    found.setdefault(name, []).append((values["_step"], value))
    return found


def in_mlflow(client: MlflowClient, run: Run, name: str) -> list[tuple[int, float]]:
    """(step, value) of the points that MLflow holds of a run under a name."""
    return sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))
