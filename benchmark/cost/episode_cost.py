"""What a network costs on one test episode, by both counts of ``benchmark.macs``."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fewdistill.benchmark.cost.macs import COUNTER, THOP_NOTE, count_macs, counted_with_output, thop_macs, weight_bytes
from fewdistill.benchmark.cost.published_gcn import with_published
from fewdistill.benchmark.cost.published_trx import PublishedTRX
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.heads.base import Head, Keys
from fewdistill.students.heads.trx import TRX
from fewdistill.teachers.ensemble import ScoreFusion
from fewdistill.teachers.fusions.base import Fusion


@dataclass(frozen=True)
class PartCost:
    """One part of a network on one test episode, for an encoder or a head.

    macs_per_video: work done once for a video, whatever it is compared with: encoding, or projection to keys over all
    branches. bytes: see ``weight_bytes``.
    macs_match: a head's matching, over the episode. thop_macs: the published count, over the episode.
    """

    parameters: int
    bytes: int
    macs_per_video: int
    macs_match: int
    thop_macs: float
    episode: "Episode"

    @property
    def macs(self) -> int:
        """Over the whole episode: every video once, and the matching."""
        return self.episode.videos * self.macs_per_video + self.macs_match


@dataclass(frozen=True)
class EpisodeCost:
    """Cost of one test episode of way * (shot + query) videos, query per class.

    macs_per_video: all encoders (and a teacher's fusion) on one clip. macs_per_support, macs_per_query: what one more
    video of each kind costs, from its frames. macs_head_per_episode: projection and matching over all branches.
    thop_macs_per_episode: see ``thop_macs``. bytes: see ``weight_bytes``.
    """

    parameters: int
    bytes: int
    macs_per_video: int
    macs_per_support: int
    macs_per_query: int
    macs_backbone_per_episode: int
    macs_head_per_episode: int
    macs_per_episode: int
    thop_macs_per_episode: int
    counter: str = COUNTER
    thop_note: str = THOP_NOTE


@dataclass(frozen=True)
class Episode:
    """The size of one test episode. image_size: of square frames, 0 where videos are joints."""

    way: int
    shot: int
    query: int
    frames: int
    image_size: int

    def __post_init__(self) -> None:
        least_size = 32 if self.image_size else 0
        for name, least in (("way", 1), ("shot", 1), ("query", 1), ("frames", 1), ("image_size", least_size)):
            if getattr(self, name) < least:
                raise UserError(f"an episode with {name} {getattr(self, name)} has no cost; use {least} or more")

    @property
    def videos(self) -> int:
        """Support and query videos."""
        return self.way * (self.shot + self.query)

    @property
    def queries(self) -> int:
        """Query videos."""
        return self.way * self.query

    def tokens(self, width: int, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor, int]:
        """Support tokens, labels, query tokens and way, as a head takes them."""
        labels = torch.arange(self.way).repeat_interleave(self.shot)
        support, query = (
            torch.zeros(self.way * each, self.frames, width, device=device) for each in (self.shot, self.query)
        )
        return support, labels, query, self.way


@dataclass(frozen=True)
class Counted:
    """An encoder counted on one video; widths: of its tokens, by branch. See ``PartCost`` and ``thop_macs``."""

    parameters: int
    bytes: int
    macs: int
    thop_macs: float
    widths: tuple[int, ...]

    def on(self, episode: Episode) -> PartCost:
        """Its part of an episode: in eval mode videos are independent, and thop's count grows with them alike."""
        return PartCost(self.parameters, self.bytes, self.macs, 0, episode.videos * self.thop_macs, episode)


class _OneVideo(nn.Module):
    """An encoder on the clip of one video."""

    def __init__(self, encoder: ClipEncoder, frames: int) -> None:
        super().__init__()
        self.encoder, self.frames = encoder, frames

    def forward(self, clip: Tensor) -> dict[str, Tensor]:
        return self.encoder.clips(clip, self.frames)


def count_encoder(encoder: ClipEncoder, frames: int, image_size: int) -> Counted:
    """An encoder (of square images or of joints) on one video. Raises UserError."""
    Episode(1, 1, 1, frames, image_size)
    video, clip = _OneVideo(encoder, frames), encoder.example(1, frames, image_size)
    macs, tokens = counted_with_output(video, clip)
    return Counted(
        parameters=sum(p.numel() for p in encoder.parameters()),
        bytes=weight_bytes(encoder),
        macs=macs,
        thop_macs=thop_macs(with_published(video), clip),
        widths=tuple(each.shape[-1] for each in tokens.values()),
    )


def count_teacher(encoders: Sequence[ClipEncoder], fusion: Fusion, frames: int, image_size: int) -> Counted:
    """The encoders and the fusion of a teacher on one video, without the experts that derive depth, flow or poses.

    encoders: one a modality, in the order of the fusion, one branch each; where several modalities have networks that
    are built alike, one of them may stand for each, and is counted once. Raises UserError when they do not fit.
    """
    if len(encoders) != fusion.modalities or any(len(e.branches) != 1 for e in encoders):
        raise UserError(f"the fusion joins {fusion.modalities} modalities: give one single-branch encoder for each")
    of = {encoder: count_encoder(encoder, frames, image_size) for encoder in dict.fromkeys(encoders)}
    each = [of[encoder] for encoder in encoders]
    streams = torch.empty(len(each), 1, frames, each[0].widths[0], device="meta")
    macs, fused = counted_with_output(fusion, streams)
    return Counted(
        parameters=sum(one.parameters for one in each) + sum(p.numel() for p in fusion.parameters()),
        bytes=sum(one.bytes for one in each) + weight_bytes(fusion),
        macs=sum(one.macs for one in each) + macs,
        thop_macs=sum(one.thop_macs for one in each) + thop_macs(with_published(fusion), streams),
        widths=(fused.shape[-1],),
    )


def episode_cost(encoder: Counted, head: Head, episode: Episode) -> EpisodeCost:
    """Cost of a counted encoder and a head on one test episode."""
    return combined(encoder.on(episode), head_cost(head, episode, encoder.widths))


class _Projection(nn.Module):
    """The part of a head that is done once a video."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, tokens: Tensor) -> Keys:
        return self.head.project(tokens)


def head_cost(head: Head, episode: Episode, widths: Sequence[int]) -> PartCost:
    """A head's part, summed over branches of the given token widths; TRX's published count is of ``PublishedTRX``."""
    on_cpu = copy.deepcopy(head).to("cpu", torch.float32)
    projection = match = 0
    published = 0.0
    for width in widths:
        inputs = episode.tokens(width)
        once = count_macs(_Projection(on_cpu), inputs[0][:1])
        projection += once
        match += count_macs(on_cpu, *inputs) - episode.videos * once
        published += _published(on_cpu, episode, width)
    parameters = sum(p.numel() for p in head.parameters())
    return PartCost(parameters, weight_bytes(head), projection, match, published, episode)


def _published(head: Head, episode: Episode, width: int) -> float:
    """thop's count of a head on tokens of this width, as it was published; an ensemble's is that of its heads."""
    if isinstance(head, ScoreFusion):
        return sum((_published(each, episode, width // len(head.heads)) for each in head.heads), 0.0)  # type: ignore[arg-type]
    if isinstance(head, TRX):
        support, _, query, way = episode.tokens(width, "meta")
        return thop_macs(PublishedTRX(head), support, query, way)
    return thop_macs(head, *episode.tokens(width))


def combined(encoder: PartCost, head: PartCost) -> EpisodeCost:
    """A network of two parts, both counted on the same episode."""
    per_video = encoder.macs_per_video + head.macs_per_video
    return EpisodeCost(
        parameters=encoder.parameters + head.parameters,
        bytes=encoder.bytes + head.bytes,
        macs_per_video=encoder.macs_per_video,
        macs_per_support=per_video,
        macs_per_query=per_video + round(head.macs_match / head.episode.queries),
        macs_backbone_per_episode=encoder.macs,
        macs_head_per_episode=head.macs,
        macs_per_episode=encoder.macs + head.macs,
        thop_macs_per_episode=round(encoder.thop_macs + head.thop_macs),
    )
