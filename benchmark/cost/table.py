"""Cost of every backbone with every head, and our counts beside the published ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fewdistill.benchmark.cost.episode_cost import (
    Episode,
    EpisodeCost,
    PartCost,
    combined,
    count_encoder,
    episode_cost,
    head_cost,
)
from fewdistill.benchmark.suite.sections import HeadConfig
from fewdistill.results.published.figures import load
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH, TokenEncoder
from fewdistill.students.heads import HEADS
from fewdistill.students.heads.base import Head

TWO_BRANCHES = (QUERY_BRANCH, LABEL_BRANCH)


@dataclass(frozen=True)
class Row:
    """A backbone with a head on one episode."""

    backbone: str
    head: str
    cost: EpisodeCost


def table(
    backbones: Sequence[str],
    heads: Sequence[str],
    episode: Episode,
    width: int,
    branches: tuple[str, ...] = TWO_BRANCHES,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Every backbone with every head, each part counted once. UnknownNameError for a name nobody registered."""
    total = len(backbones) + len(heads)
    encoders: dict[str, PartCost] = {}
    for name in backbones:
        with torch.device("meta"):
            encoder = TokenEncoder(name, width, branches)
        encoders[name] = count_encoder(encoder, episode.frames, episode.image_size).on(episode)
        tick(len(encoders), total)
    counted: dict[str, PartCost] = {}
    for name in heads:
        counted[name] = head_cost(published_head(name, width, episode.frames), episode, [width] * len(branches))
        tick(len(encoders) + len(counted), total)
    return [Row(b, h, combined(encoders[b], counted[h])) for b in backbones for h in heads]


def published_head(name: str, width: int, frames: int, **changes: Any) -> Head:
    """A head at the settings a suite gives it by default, which are the published ones."""
    config = HeadConfig(name=name)
    options = config.options() | changes
    return HEADS[name](width, frames, **options)


@dataclass(frozen=True)
class Released:
    """A released network in our parts. row: its model in results/published.toml, None where no figure was printed.

    counted: GMACs by thop 0.1.1 on the released classes, where that file does not have them.
    """

    name: str
    row: str | None
    backbone: str
    head: str
    encoder: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    counted: float | None = None


_ONE: dict[str, Any] = {"branches": (LABEL_BRANCH,)}
_BARE: dict[str, Any] = {**_ONE, "linear": False}
RELEASED = (
    Released("TRX, ResNet50, {2,3}", "TRX, ResNet50", "resnet50", "trx", _BARE | {"pooling": "mean"},
             {"tuple_sizes": (2, 3)}),
    Released("TRX, ResNet50, {2}", None, "resnet50", "trx", _BARE, counted=999.513),
    Released("META (e_dist), ResNet50", "META", "resnet50", "e_dist", _ONE, counted=992.589),
    Released("OTAM, ResNet50 (backbone)", "OTAM, ResNet50", "resnet50", "otam_released", _BARE),
    Released("Lite-MKD, ResNet18", "ResNet18, Lite-MKD", "resnet18", "trx"),
    Released("ResNet18, one branch", None, "resnet18", "trx", _ONE, counted=445.822),
    Released("Lite-MKD, MobileNetV3-large", "MobileNetV3-large, Lite-MKD", "mobilenetv3_large", "trx"),
    Released("MobileNetV3-large, one branch", None, "mobilenetv3_large", "trx", _ONE, counted=64.151),
    Released("Lite-MKD, MobileNetV3-small", None, "mobilenetv3_small", "trx", counted=31.029),
)  # fmt: skip
"""That META is e_dist behind ResNet50 is inferred from the count."""


@dataclass(frozen=True)
class Compared:
    """A released network and our count of it, on the published episode; GMACs, None where nothing was printed.

    printed: the "GFLOPs" of ``source``; counted: thop on the released classes; cost: ours.
    """

    name: str
    source: str | None
    printed: float | None
    counted: float
    cost: EpisodeCost

    @property
    def ours(self) -> float:
        """thop's GMACs of our parts."""
        return self.cost.thop_macs_per_episode / 1e9


def compare(tick: Callable[[int, int], None] = lambda done, total: None) -> list[Compared]:
    """Each released network built from our parts: 5-way 5-shot, one query a class, eight frames of 224 x 224."""
    episode = Episode(way=5, shot=5, query=1, frames=8, image_size=224)
    figures = {row.model: row for row in load().compute}
    found = []
    for network in RELEASED:
        with torch.device("meta"):
            encoder = TokenEncoder(network.backbone, 2048, **{"branches": TWO_BRANCHES} | network.encoder)
        head = published_head(network.head, 2048, episode.frames, **network.options)
        cost = episode_cost(count_encoder(encoder, episode.frames, episode.image_size), head, episode)
        figure = figures[network.row] if network.row else None
        counted = network.counted or (figure.thop_gmacs if figure else None)
        assert counted is not None, network.name
        source, printed = (figure.source, figure.gflops) if figure else (None, None)
        found.append(Compared(network.name, source, printed, counted, cost))
        tick(len(found), len(RELEASED))
    return found
