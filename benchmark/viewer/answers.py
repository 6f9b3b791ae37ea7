"""What a finished network answers and matches in some episodes, held against its record."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.episodes import Episodes
from fewdistill.benchmark.evaluation.matching import match, score
from fewdistill.benchmark.graph.protocol import Row
from fewdistill.benchmark.runtime.errors import RunError
from fewdistill.results.records.record import Record
from fewdistill.results.report.episode_page import Answer, Link, Matches, Outcome
from fewdistill.students.heads.base import Head, Keys, gather_keys
from fewdistill.students.heads.matched import Matched

LINKS = 5
"""Links shown of a query and a class."""
_ROUNDING = 1e-4  # of the logits' size: two machines round that much apart, and then a tie is no tie


@dataclass(frozen=True)
class Scored:
    """A done record, and which queries were right: uint8 (E, Q)."""

    record: Record
    correct: NDArray[np.generic]


@dataclass(frozen=True)
class Shown:
    """A row's network on the page's videos: its head and the videos' keys by branch; scored: None without a record."""

    row: Row
    head: Head
    keys: list[Keys]
    scored: Scored | None


def answers_of(context: RunContext, network: Shown, local: Episodes, at: Sequence[int], shot: int) -> list[Answer]:
    """What a network says of each of these episodes; RunError where that is not what its record says.

    local: the episodes, pointing into the page's videos; at: their numbers among the test episodes.
    """
    logits = match(network.head, network.keys, local)
    correct = score(logits, local).correct
    target = torch.arange(local.way).repeat_interleave(local.query.shape[2])[None, :, None].expand(len(at), -1, 1)
    margin = logits.gather(2, target)[..., 0] - logits.scatter(2, target, -torch.inf).amax(2)
    tie = (margin.abs() <= _ROUNDING * logits.abs().amax(2)).numpy()
    if network.scored is not None:
        recorded = network.scored.correct[list(at)]
        for place in np.flatnonzero(((recorded != correct) & ~tie).any(1)).tolist():
            raise RunError(
                f"{network.row.name}, {shot}-shot episode {at[place]}: the record {network.scored.record.key[:12]} in "
                f"{context.runs / 'records'} has {int(recorded[place].sum())} queries right, the weights in "
                f"{network.row.trained.folder} give {int(correct[place].sum())}, and not the same ones; the run "
                f"folder is stale: `fewdistill run {context.runs.name} --only '{network.row.name}' --overwrite` scores "
                "it again"
            )
        correct = recorded.astype(np.uint8)
    words = np.where(correct == 1, "right", np.where(tie, "tie", "wrong"))
    found = []
    for place in range(len(at)):
        outcome: list[Outcome] = words[place].tolist()
        said = tuple(tuple(row) for row in logits[place].tolist())
        found.append(Answer(said, tuple(outcome), _matches(network, local, place)))
    return found


@torch.no_grad()
def _matches(network: Shown, local: Episodes, place: int) -> tuple[Matches, ...] | None:
    """The strongest links of an episode; of several branches, by the mean of their weights."""
    way, shot = local.support.shape[1:]
    device = network.keys[0][0].device
    support, query = (torch.from_numpy(part[place].reshape(1, -1)).to(device) for part in (local.support, local.query))
    labels = torch.arange(way, device=device).repeat_interleave(shot)[None]
    by_branch = [
        network.head.explain(gather_keys(keys, support), labels, gather_keys(keys, query), way) for keys in network.keys
    ]
    if any(found is None for found in by_branch):
        return None
    kinds: list[tuple[Matched, ...]] = list(zip(*(found for found in by_branch if found is not None), strict=True))
    return tuple(_strongest(kind, way, shot) for kind in kinds)


def _strongest(kind: Sequence[Matched], way: int, shot: int) -> Matches:
    """The strongest links by query and class, from one kind of matches of each branch."""
    first = kind[0]
    weights = torch.stack([matched.weights[0] for matched in kind]).mean(0)  # (Q, P, way * shot, P)
    tuples = [tuple(frames) for frames in first.tuples.tolist()]
    of_class = weights.unflatten(2, (way, shot)).transpose(1, 2)  # (Q, way, P, shot, P)
    strongest = of_class.flatten(2).topk(min(LINKS, of_class[0, 0].numel()), dim=-1)
    return Matches(
        rule=first.rule,
        size=len(tuples[0]),
        links=tuple(
            tuple(
                tuple(_link(cell, weight, tuples, shot) for weight, cell in zip(w, i, strict=True) if weight > 0)
                for w, i in zip(*of_query, strict=True)
            )
            for of_query in zip(strongest.values.tolist(), strongest.indices.tolist(), strict=True)
        ),
        even=1 / (shot * len(tuples)),
        part=first.part,
    )


def _link(cell: int, weight: float, tuples: Sequence[tuple[int, ...]], shot: int) -> Link:
    """The link at a place of (P, shot, P)."""
    rest, support = divmod(cell, len(tuples))
    query, video = divmod(rest, shot)
    return Link(tuples[query], video, tuples[support], weight)
