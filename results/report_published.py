"""Published figures as tables of whatever fields their rows fill."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from results.published import Published
from results.table_files import DASH, number


@dataclass(frozen=True)
class Printed:
    """One kind of published row. columns: fields that some row fills; words: those of them that hold text."""

    title: str
    caption: str
    columns: list[str]
    words: set[str]
    lines: list[list[Any]]


def published_tables(published: Published) -> list[Printed]:
    """A table for each list of rows, in the order of the model's fields; a nested value is a column of its own."""
    found = []
    for name in type(published).model_fields:
        rows = getattr(published, name)
        if not isinstance(rows, list | tuple) or not rows or not isinstance(rows[0], BaseModel):
            continue
        flat = [_flat(row.model_dump()) for row in rows]
        known = dict.fromkeys(key for line in flat for key in line)
        columns = [key for key in known if any(_told(line.get(key)) for line in flat)]
        columns.sort(key=lambda key: key == "source")
        words = {key for key in columns if any(isinstance(line.get(key), str) for line in flat)}
        lines = [[line.get(key) for key in columns] for line in flat]
        found.append(Printed(name, " ".join((type(rows[0]).__doc__ or "").split()), columns, words, lines))
    return found


def printed(value: object) -> str:
    """A figure as it was printed, with two decimals where it has any; an en dash where nothing was."""
    if isinstance(value, float) and value != round(value, 2):
        return number(value)
    return number(value, 2) if isinstance(value, float) else DASH if value in (None, "") else str(value)


def _flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{above}{name} ")
        else:
            found[f"{above}{name}"] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return found


def _told(value: object) -> bool:
    return value not in (None, "")
