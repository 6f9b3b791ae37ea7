"""From trained skeleton networks to the records of episodes: test clips once, and what the networks cost."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

import torch
from torch import Tensor

from fewdistill.benchmark.cost import latency
from fewdistill.benchmark.cost.episode_cost import Episode, combined, head_cost
from fewdistill.benchmark.cost.measured import cost_of
from fewdistill.benchmark.cost.skeleton_cost import ClipCost, clip_cost, encoder_cost
from fewdistill.benchmark.evaluation.episodic_record import episodic_record
from fewdistill.benchmark.protocols.episodic import identity as identities
from fewdistill.benchmark.protocols.episodic.arena import Arena
from fewdistill.benchmark.protocols.episodic.skeleton_rows import cell_of, record_identity
from fewdistill.benchmark.protocols.episodic.skeleton_stages import (
    Lesson,
    base_identity,
    base_stage,
    cached_tokens,
    identity,
    taught_by,
    tokens_of,
    train,
    trained,
)
from fewdistill.benchmark.protocols.supervised.suite import TAUGHT_BY_NOBODY
from fewdistill.results.records.record import Cost, Record
from fewdistill.students.backbones import LABEL_BRANCH


def work(arena: Arena, lesson: Lesson) -> Iterator[tuple[Record, Mapping[str, Any]]]:
    """Train what a row needs, then its records at every shot, with their arrays."""
    stage, student = train(arena, lesson), trained(arena, lesson)
    tokens = _test_tokens(arena, lesson)
    base = base_stage(arena, lesson.network, lesson.seed)
    seconds = base.summary()["seconds"] + stage.summary()["seconds"]
    costs = _costs(arena, lesson.network)
    for shot in arena.suite.evaluate.shots:
        yield episodic_record(
            arena,
            lesson.row,
            record_identity(arena, lesson, shot),
            cell_of(arena, lesson, shot),
            stage,
            _settings(arena, lesson),
            student.head,
            tokens,
            costs[shot].model_copy(update={"training_seconds": seconds}),
        )


def _test_tokens(arena: Arena, lesson: Lesson) -> dict[str, Tensor]:
    """Tokens of the test clips: a teacher's from its cache, which has those of all clips."""
    if lesson.setting == TAUGHT_BY_NOBODY:
        tokens = cached_tokens(arena, lesson).gather(arena.videos("test"))
        return {LABEL_BRANCH: torch.from_numpy(tokens).to(arena.device)}
    return tokens_of(arena, trained(arena, lesson), arena.parts["test"])


def _settings(arena: Arena, lesson: Lesson) -> dict[str, dict[str, Any]]:
    """What was trained, and what the hashes in its identity stand for, through all stages."""
    spelt_out: dict[str, dict[str, Any]] = {}
    one: Lesson | None = lesson
    whose = ""
    while one is not None:
        spelt_out[whose or "trained"] = identity(arena, one)
        spelt_out[f"{whose} base".strip()] = base_identity(arena, one.network, one.seed)
        one, whose = taught_by(arena, one), f"teacher of {whose}" if whose else "teacher"
    return spelt_out


def _costs(arena: Arena, network: str) -> dict[int, Cost]:
    """Of a network and its head, by shot; the network is counted and timed once."""
    evaluate, frames = arena.suite.evaluate, arena.recipe.frames
    clip = (frames, *arena.clips.frames.shape[2:])
    settings = {
        "network": network,
        "joints": list(clip),
        "edges": [list(edge) for edge in arena.clips.skeleton.edges],
        "head": identities.head(arena.suite.head),
    }

    @cache
    def counted() -> tuple[ClipCost, latency.Latency]:
        encoder, joints = arena.new_network(network, 0).eval(), torch.zeros(1, 3, *clip)
        with torch.inference_mode():
            timed = latency.latency_p50(lambda: encoder.tokens(joints))
        return clip_cost(encoder, frames), timed

    def measure(shot: int) -> Mapping[str, Any]:
        student = arena.new_student(network, 0).eval()
        encoder = student.encoder
        episode = Episode(evaluate.way, shot, evaluate.query, encoder.token_frames(frames), 0)
        one, timed = counted()
        parts = encoder_cost(encoder, one, episode), head_cost(student.head, episode, [encoder.width])
        return asdict(combined(*parts)) | timed._asdict()

    def cost(shot: int) -> Cost:
        of = settings | {"episode": [evaluate.way, shot, evaluate.query]}
        return cost_of(arena, network, of, lambda: measure(shot), "network on one clip, float32, CPU")

    return {shot: cost(shot) for shot in evaluate.shots}
