"""The rows of a suite of episodes on skeleton clips, and how they are scored."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from fewdistill.benchmark.cost import latency
from fewdistill.benchmark.cost.episode_cost import Episode, combined, head_cost
from fewdistill.benchmark.cost.measured import cost_of
from fewdistill.benchmark.cost.skeleton_cost import ClipCost, clip_cost, encoder_cost
from fewdistill.benchmark.evaluation.episodic_record import episodic_record
from fewdistill.benchmark.graph.protocol import Row
from fewdistill.benchmark.protocols.episodic.cells import cell_stage, row_name
from fewdistill.benchmark.protocols.episodic.settings import head_settings
from fewdistill.benchmark.protocols.episodic.skeletons import SkeletonRun, network_stage, token_rows, tokens_stage
from fewdistill.benchmark.stage import Stage
from fewdistill.benchmark.suite.networks import NO_TEACHER
from fewdistill.results.records.arrays import Arrays
from fewdistill.results.records.record import Cell, Cost, Record
from fewdistill.students.backbones import LABEL_BRANCH
from fewdistill.students.heads.base import Head


def skeleton_rows(whole: SkeletonRun) -> Iterator[Row]:
    """All rows: seed by seed, variant by variant, the teacher first."""
    versions = whole.versions()
    for seed in sorted({seed for run in versions for seed in run.suite.seeds}):
        for run in (run for run in versions if seed in run.suite.seeds):
            yield _row(run, run.suite.teacher, NO_TEACHER, seed)
            for student in run.suite.students:
                for setting in run.suite.settings(student):
                    yield _row(run, student, setting, seed)


def _row(run: SkeletonRun, network: str, setting: str, seed: int) -> Row:
    trained = network_stage(run, network, setting, seed)
    axes = partial(_axes, run, network, setting, seed)
    stage = partial(cell_stage, trained, run.frozen, run.content_hash)
    cells = tuple((axes(shot), stage(shot)) for shot in run.suite.evaluate.shots)
    # a teacher's tokens are cached for its students anyway
    needs = (trained, tokens_stage(run, network, setting, seed)) if setting == NO_TEACHER else (trained,)
    name = row_name(network, setting, seed, run.variant)
    embedded = partial(_embed, run, network, setting, seed)
    return Row(
        name, cells, trained, needs, partial(_score, run, name, cells, trained, network, embedded), embed=embedded
    )


def _axes(run: SkeletonRun, network: str, setting: str, seed: int, shot: int) -> Cell:
    """Across data sets both are named, and the split says how the first is divided."""
    suite, other = run.suite, run.suite.test_data
    return Cell(
        suite=suite.name,
        dataset=suite.data.layout if other is None else f"{suite.data.layout} to {other.layout}",
        role="teacher" if setting == NO_TEACHER else "student",
        model=network,
        head=suite.head.name,
        distillation=setting,
        way=suite.evaluate.way,
        shot=shot,
        query=suite.evaluate.query,
        frames=run.data.recipe.frames,
        image_size=0,
        split=f"{suite.data.split_name}, test" if other is None else f"{suite.data.split_name}, {other.layout}",
        seed=seed,
        variant=run.variant,
    )


def _score(
    run: SkeletonRun,
    name: str,
    cells: tuple[tuple[Cell, Stage], ...],
    trained: Stage,
    network: str,
    embedded: Callable[[Sequence[str]], tuple[Head, dict[str, Tensor]]],
) -> Iterator[tuple[Record, Arrays]]:
    head, tokens = embedded(run.data.videos("test"))
    costs = _costs(run, network)
    for cell, record in cells:
        yield episodic_record(
            run.context, run.data, run.frozen, name, cell, record, trained, head, tokens, costs[record.label]
        )


def _embed(
    run: SkeletonRun, network: str, setting: str, seed: int, videos: Sequence[str]
) -> tuple[Head, dict[str, Tensor]]:
    model = run.trained(network, setting, seed)
    if setting != NO_TEACHER:
        return model.head, run.tokens(model, network, run.data.indices(videos))
    cached = token_rows(run, network, setting, seed).open().gather(videos)
    return model.head, {LABEL_BRANCH: torch.from_numpy(cached).to(run.context.device)}


def _costs(run: SkeletonRun, network: str) -> dict[str, Cost]:
    """Of a network and its head, by a cell's label; the network is counted and timed once."""
    evaluate, frames, skeletons = run.suite.evaluate, run.data.recipe.frames, run.data.skeletons
    clip = (frames, *skeletons.frames.shape[2:])
    settings = {
        "network": network,
        "joints": list(clip),
        "edges": [list(edge) for edge in skeletons.skeleton.edges],
        "head": head_settings(run.suite.head),
    }

    @cache
    def counted() -> tuple[ClipCost, latency.Latency]:
        encoder, joints = run.data.new_network(network, 0).eval(), torch.zeros(1, 3, *clip)
        with torch.inference_mode():
            timed = latency.latency_p50(lambda: encoder.tokens(joints))
        return clip_cost(encoder, frames), timed

    def measure(shot: int) -> Mapping[str, Any]:
        model = run.new_network(network, 0).eval()
        encoder = model.encoder
        episode = Episode(evaluate.way, shot, evaluate.query, encoder.token_frames(frames), 0)
        one, timed = counted()
        parts = encoder_cost(encoder, one, episode), head_cost(model.head, episode, [encoder.width])
        return asdict(combined(*parts)) | timed._asdict()

    def cost(shot: int) -> Cost:
        of = settings | {"episode": [evaluate.way, shot, evaluate.query]}
        return cost_of(run.context, network, of, lambda: measure(shot), "network on one clip, float32, CPU")

    return {f"{shot}-shot": cost(shot) for shot in evaluate.shots}
