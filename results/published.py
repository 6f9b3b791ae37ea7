"""Figures printed by others, from ``published.toml``: shown beside ours, never among them."""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from results import ResultError

FILE = Path(__file__).with_name("published.toml")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    title: str
    url: str
    note: str = ""


class Accuracy(_Strict):
    """Accuracy in percent, 5-way 5-shot; None where nothing was printed."""

    source: str
    model: str
    distillation: str
    kinetics: float | None = None
    ucf101: float | None = None
    hmdb51: float | None = None


class Compute(_Strict):
    """What is printed as "GFLOPs" of one episode; ``thop_gmacs``: the same count made again on the released model."""

    source: str
    model: str
    gflops: float
    thop_gmacs: float | None = None


class Published(_Strict):
    sources: dict[str, Source]
    accuracy: list[Accuracy]
    compute: list[Compute]


def load(path: Path = FILE) -> Published:
    """Read the published figures; raises ResultError naming the file when a row is malformed or has no source."""
    try:
        published = Published.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ResultError(f"{path}: {error}") from error
    cited = [row.source for row in published.accuracy] + [row.source for row in published.compute]
    for source in cited:
        if source not in published.sources:
            raise ResultError(f"{path}: a row cites {source!r}, which is not under [sources]")
    return published
