"""Figures printed by others, from ``published.toml``: shown beside ours, never among them."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fewdistill.results import ResultError

FILE = Path(__file__).with_name("published.toml")

DATASETS = {
    "hmdb51": "HMDB51", "ucf101": "UCF101", "kinetics": "Kinetics", "ssv2": "SSv2", "ssv2-full": "SSv2-Full",
    "ssv2-small": "SSv2-Small", "ntu60-xsub": "NTU60 XSub", "ntu60-xview": "NTU60 XView",
    "ntu120-xsub": "NTU120 XSub", "ntu120-xset": "NTU120 XSet",
}  # fmt: skip
"""Names of the file -> names of the tables. "ssv2": the source does not say which split of Something-Something v2."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Source(_Strict):
    """Where figures were printed. ``read``: the text itself, or a note by others on it."""

    title: str = Field(min_length=1)
    read: Literal["itself", "note"]
    url: str = Field("", pattern=r"^(https://\S+)?$")
    arxiv: str = Field("", pattern=r"^(\d{4}\.\d{4,5})?$")
    note: str = ""

    @property
    def link(self) -> str:
        return self.url or (f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else "")


class Protocol(_Strict):
    """How figures were measured; None where it is not known.

    query: queries a class in a test episode. seeds: trainings behind a mean. own_pipeline: data prepared or read in
    the authors' own manner, so that even their re-runs of others stand apart from the others' figures.
    """

    task: Literal["few-shot", "supervised"]
    way: int | None = Field(None, ge=2)
    query: int | None = Field(None, ge=1)
    episodes: int | None = Field(None, ge=1)
    seeds: int | None = Field(None, ge=2)
    frames: int | None = Field(None, ge=1)
    image_size: int | None = Field(None, ge=1)
    own_pipeline: bool | None = None
    split: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _has_a_way(self) -> Self:
        if (self.task == "few-shot") != (self.way is not None):
            raise ValueError("a few-shot protocol has a way, a supervised one has none")
        return self


class _Cell(_Strict):
    """One number of a method. accuracy in percent, std over seeds in points, where printed; shot None: supervised.

    Both keep the digits they were printed with.
    """

    dataset: str
    shot: int | None = Field(None, ge=1)
    accuracy: Decimal = Field(gt=0, le=100)
    std: Decimal | None = Field(None, ge=0)
    unclear: str = ""


class _Method(_Strict):
    name: str = Field(pattern=r"^[a-z0-9+-]+$")
    model: str
    backbone: str
    source: str
    protocol: str
    unclear: str = ""
    figures: list[_Cell] = Field(min_length=1)


class Figure(_Strict):
    """One printed accuracy in percent, in full. source and protocol: keys of ``Published``; unclear: what is."""

    name: str
    model: str
    backbone: str
    dataset: str
    shot: int | None
    accuracy: Decimal
    std: Decimal | None
    source: str
    protocol: str
    unclear: str

    @property
    def slug(self) -> str:
        """Its name on the command line, but for the shot: "lite-mkd/resnet18/hmdb51"."""
        return f"{self.name}/{re.sub(r'[^a-z0-9+-]', '', self.backbone.lower())}/{self.dataset}"


class Compute(_Strict):
    """What is printed as "GFLOPs" of one episode; ``thop_gmacs``: the same count made again on the released model."""

    source: str
    model: str
    gflops: float = Field(gt=0)
    thop_gmacs: float | None = Field(None, gt=0)


class Block(_Strict):
    """All figures on one data set: for each method and backbone a figure, or None, at each of ``shots``."""

    dataset: str
    shots: tuple[int | None, ...]
    lines: tuple[tuple[Figure | None, ...], ...]

    @property
    def title(self) -> str:
        return DATASETS[self.dataset]


class Published(_Strict):
    cautions: list[str]
    sources: dict[str, Source]
    protocols: dict[str, Protocol]
    figures: tuple[Figure, ...]
    compute: tuple[Compute, ...]

    def blocks(self) -> Iterator[Block]:
        """The figures by data set, in the order of ``DATASETS``, methods in the order of the file."""
        for dataset in DATASETS:
            here = [figure for figure in self.figures if figure.dataset == dataset]
            if here:
                shots = tuple(sorted({figure.shot for figure in here}, key=lambda shot: shot or 0))
                found = {(figure.slug, figure.shot): figure for figure in here}
                slugs = dict.fromkeys(figure.slug for figure in here)
                lines = tuple(tuple(found.get((slug, shot)) for shot in shots) for slug in slugs)
                yield Block(dataset=dataset, shots=shots, lines=lines)


class _File(_Strict):
    cautions: list[str]
    sources: dict[str, Source]
    protocols: dict[str, Protocol]
    method: list[_Method]
    compute: list[Compute]


def load(path: Path = FILE) -> Published:
    """Read the published figures; raises ResultError naming the file and the row that is malformed, stands twice,
    or cites a source, protocol or data set that is not there."""
    try:
        file = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ResultError(f"{path}: {error}") from error
    figures: dict[tuple[str, int | None], Figure] = {}
    for method in file.method:
        for cell in method.figures:
            figure = _figure(method, cell)
            _check(path, file, figure)
            if (figure.slug, figure.shot) in figures:
                raise ResultError(f"{path}: {figure.slug} at {figure.shot}-shot stands twice: name the methods apart")
            figures[figure.slug, figure.shot] = figure
    for row in file.compute:
        _known(path, row.model, "sources", row.source, file.sources)
    return Published(
        cautions=file.cautions,
        sources=file.sources,
        protocols=file.protocols,
        figures=tuple(figures.values()),
        compute=tuple(file.compute),
    )


def _figure(method: _Method, cell: _Cell) -> Figure:
    unclear = "; ".join(text for text in (method.unclear, cell.unclear) if text)
    shared = method.model_dump(include={"name", "model", "backbone", "source", "protocol"})
    return Figure(**shared, **cell.model_dump(exclude={"unclear"}), unclear=unclear)


def _check(path: Path, file: _File, figure: Figure) -> None:
    _known(path, figure.slug, "sources", figure.source, file.sources)
    _known(path, figure.slug, "protocols", figure.protocol, file.protocols)
    _known(path, figure.slug, "data sets", figure.dataset, DATASETS)
    protocol = file.protocols[figure.protocol]
    if (protocol.task == "few-shot") != (figure.shot is not None):
        raise ResultError(f"{path}: {figure.slug}: a few-shot figure has a shot, a supervised one has none")
    if figure.std is not None and protocol.seeds is None:
        raise ResultError(f"{path}: {figure.slug}: a std over seeds needs the protocol to say how many")


def _known(path: Path, row: str, what: str, name: str, known: Mapping[str, object]) -> None:
    if name not in known:
        raise ResultError(f"{path}: {row} cites {name!r}, which is not under {what}")
