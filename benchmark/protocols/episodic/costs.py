"""What the networks of a suite of videos cost on one test episode."""

import copy
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import cache
from typing import Any

from fewdistill.benchmark.cost import episode_cost as cost
from fewdistill.benchmark.cost import latency
from fewdistill.benchmark.cost.measured import cost_of
from fewdistill.benchmark.protocols.episodic.encoders import new_encoder
from fewdistill.benchmark.protocols.episodic.settings import head_settings
from fewdistill.benchmark.protocols.episodic.student import new_student
from fewdistill.benchmark.protocols.episodic.teacher import Teacher
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.suite.registry import code_of
from fewdistill.results.records.record import Cost
from fewdistill.students.heads.base import Head
from fewdistill.teachers.modalities import CoordinateExpert


def student_costs(run: VideoRun, name: str) -> dict[str, Cost]:
    """By a cell's label; the network is counted and timed once."""
    data = run.suite.data

    @cache
    def counted() -> tuple[cost.Counted, Head, latency.Latency]:
        model = new_student(run, name, 0).eval()
        encoder = cost.count_encoder(model.encoder, data.frames, data.image_size)
        return encoder, model.head, latency.student_latency(model, data.image_size)

    def measure(episode: cost.Episode) -> dict[str, Any]:
        encoder, head, timed = counted()
        return asdict(cost.episode_cost(encoder, head, episode)) | timed._asdict()

    return _costs(run, name, {"student": name, **code_of("students", name)}, measure)


def teacher_costs(run: VideoRun, teacher: Teacher) -> dict[str, Cost]:
    """By a cell's label; encoders and fusion are counted once."""
    data, modalities = run.suite.data, run.suite.teacher.modalities

    def network_of(modality: str) -> tuple[str, str]:
        """Modalities that are alike in this have encoders of one architecture."""
        of_joints = isinstance(run.expert(modality), CoordinateExpert)
        return run.suite.teacher.of(modality).network(modality), modality if of_joints else ""

    @cache
    def counted() -> cost.Counted:
        alike = {network_of(modality): modality for modality in modalities}
        built = {key: new_encoder(run, modality, 0).encoder.eval() for key, modality in alike.items()}
        encoders = [built[network_of(modality)] for modality in modalities]
        return cost.count_teacher(encoders, copy.deepcopy(teacher.fusion).cpu(), data.frames, data.image_size)

    def measure(episode: cost.Episode) -> dict[str, Any]:
        return asdict(cost.episode_cost(counted(), copy.deepcopy(teacher.head).cpu(), episode))

    of = {"teacher": run.suite.teacher.model_dump(mode="json", exclude={"own"})}
    return _costs(run, "teacher", of, measure)


def _costs(
    run: VideoRun, name: str, of: dict[str, Any], measure: Callable[[cost.Episode], dict[str, Any]]
) -> dict[str, Cost]:
    evaluate, data = run.suite.evaluate, run.suite.data

    def at(shot: int) -> Cost:
        episode = cost.Episode(evaluate.way, shot, evaluate.query, data.frames, data.image_size)
        return cost_of(run.context, name, _cost_settings(run, shot) | of, lambda: measure(episode))

    return {f"{shot}-shot": at(shot) for shot in evaluate.shots}


def _cost_settings(run: VideoRun, shot: int) -> dict[str, Any]:
    """What decides the cost of every model of a suite."""
    suite = run.suite
    return {
        "figures": [field.name for field in fields(cost.EpisodeCost)],  # a file that lacks one is of another name
        "width": suite.width,
        "token_norm": suite.token_norm,
        "patch_enrichment": suite.patch_enrichment,
        "head": head_settings(suite.head),
        "frames": suite.data.frames,
        "image_size": suite.data.image_size,
        "episode": [suite.evaluate.way, shot, suite.evaluate.query],
    }
