"""What a skeleton network costs on one clip and in an episode, beside what the released formulation of it costs."""

from dataclasses import dataclass

import torch

from fewdistill.benchmark.cost.episode_cost import Episode, PartCost
from fewdistill.benchmark.cost.macs import count_macs, thop_macs, weight_bytes
from fewdistill.benchmark.cost.published_gcn import published
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.students.skeletons import SkeletonNetwork


@dataclass(frozen=True)
class ClipCost:
    """Cost of one clip with room for as many bodies as the network has.

    macs: the work this suite does, by torch's dispatcher. published_macs, thop_macs: the released formulation by the
    dispatcher, and by thop, which does not see the graph products; papers on skeletons print the latter as FLOPs.
    """

    parameters: int
    macs: int
    published_macs: int
    thop_macs: int


def encoder_cost(network: SkeletonNetwork, counted: ClipCost, episode: Episode) -> PartCost:
    """A network's part of an episode, from its cost on a clip: without the classifier, which no episode asks."""
    classifier = network.classifier
    return PartCost(
        parameters=counted.parameters - sum(p.numel() for p in classifier.parameters()),
        bytes=weight_bytes(network) - weight_bytes(classifier),
        macs_per_video=counted.macs - classifier.weight.numel(),
        macs_match=0,
        thop_macs=episode.videos * (counted.thop_macs - classifier.weight.numel()),
        episode=episode,
    )


def clip_cost(network: SkeletonNetwork, frames: int) -> ClipCost:
    """Cost of a network on a clip of so many frames, counted by shapes. Raises UserError."""
    if frames < 1:
        raise UserError(f"a clip of {frames} frames has no cost; use 1 or more")
    clip = torch.empty(1, network.channels, frames, network.graph.joints, network.bodies, device="meta")
    released = published(network)
    return ClipCost(
        parameters=sum(p.numel() for p in network.parameters()),
        macs=count_macs(network, clip),
        published_macs=count_macs(released, clip),
        thop_macs=round(thop_macs(released.eval(), clip)),
    )
