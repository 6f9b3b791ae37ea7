"""Cost of every backbone with every head, and our counts beside the published ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmark.config import HeadConfig
from benchmark.cost import Episode, EpisodeCost, PartCost, combined, encoder_cost, head_cost
from students.backbones import LABEL_BRANCH, QUERY_BRANCH, TokenEncoder
from students.heads import HEADS
from students.heads.base import Head

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
        encoders[name] = encoder_cost(encoder, episode)
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
class Published:
    """A published network in our parts.

    printed: the "GFLOPs" of the source. counted: thop 0.1.1 on the released classes. Both are GMACs of a 5-way 5-shot
    episode with one query a class, eight frames of 224 x 224.
    """

    name: str
    source: str
    printed: float | None
    counted: float
    backbone: str
    head: str
    encoder: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


_ONE: dict[str, Any] = {"branches": (LABEL_BRANCH,)}
_BARE: dict[str, Any] = {**_ONE, "linear": False}
_README, _FIGURE, _CLASSES = "README", "figure", "released classes"
PUBLISHED = (
    Published("TRX, ResNet50, {2,3}", _README, 1023.3, 1023.329, "resnet50", "trx", _BARE | {"pooling": "mean"},
              {"tuple_sizes": (2, 3)}),
    Published("TRX, ResNet50, {2}", _CLASSES, None, 999.513, "resnet50", "trx", _BARE),
    Published("META (e_dist), ResNet50", _FIGURE, 992.6, 992.589, "resnet50", "e_dist", _ONE),
    Published("OTAM, ResNet50 (backbone)", _FIGURE, 991.5, 991.582, "resnet50", "otam_released", _BARE),
    Published("Lite-MKD, ResNet18", _FIGURE, 453.8, 454.005, "resnet18", "trx"),
    Published("ResNet18, one branch", _CLASSES, None, 445.822, "resnet18", "trx", _ONE),
    Published("Lite-MKD, MobileNetV3-large", _README, 72.6, 72.554, "mobilenetv3_large", "trx"),
    Published("MobileNetV3-large, one branch", _CLASSES, None, 64.151, "mobilenetv3_large", "trx", _ONE),
    Published("Lite-MKD, MobileNetV3-small", _CLASSES, None, 31.029, "mobilenetv3_small", "trx"),
)  # fmt: skip
"""Sources: Lite-MKD's README and its accuracy-over-GFLOPs figure (read off to 0.6), and our runs of thop over the
released classes. That META is e_dist behind ResNet50 is inferred from the count.
"""


@dataclass(frozen=True)
class Compared:
    """A published network and our count of it. ratio, printed_ratio: ours over theirs, None where none was printed."""

    published: Published
    cost: EpisodeCost
    ratio: float
    printed_ratio: float | None


def compare(
    published: Sequence[Published] = PUBLISHED, tick: Callable[[int, int], None] = lambda done, total: None
) -> list[Compared]:
    """Each published network built from our parts and counted on the published episode."""
    episode = Episode(way=5, shot=5, query=1, frames=8, image_size=224)
    found = []
    for row in published:
        with torch.device("meta"):
            encoder = TokenEncoder(row.backbone, 2048, **{"branches": TWO_BRANCHES} | row.encoder)
        head = published_head(row.head, 2048, episode.frames, **row.options)
        cost = combined(encoder_cost(encoder, episode), head_cost(head, episode, [2048] * len(encoder.branches)))
        ours = cost.thop_macs_per_episode / 1e9
        found.append(Compared(row, cost, ours / row.counted, ours / row.printed if row.printed else None))
        tick(len(found), len(published))
    return found
