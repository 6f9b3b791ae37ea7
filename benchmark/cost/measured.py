"""What the networks of a row cost, measured once a run folder."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from functools import cache
from typing import Any

from fewdistill.benchmark.cost import episode_cost as cost
from fewdistill.benchmark.cost import latency
from fewdistill.benchmark.graph.place import Place
from fewdistill.benchmark.protocols.episodic import identity
from fewdistill.benchmark.protocols.episodic.student import new_student
from fewdistill.benchmark.protocols.episodic.teacher import Teacher, new_encoder
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.feature_cache import write_atomic
from fewdistill.results.records.record import Cost, key_of
from fewdistill.students.heads.base import Head


def student_costs(ws: Workspace, name: str) -> dict[int, Cost]:
    """By shot; the network is counted and timed once."""
    data = ws.suite.data

    @cache
    def counted() -> tuple[cost.Counted, Head, latency.Latency]:
        model = new_student(ws, name, 0).eval()
        encoder = cost.count_encoder(model.encoder, data.frames, data.image_size)
        return encoder, model.head, latency.student_latency(model, data.image_size)

    def measure(episode: cost.Episode) -> dict[str, Any]:
        encoder, head, timed = counted()
        return asdict(cost.episode_cost(encoder, head, episode)) | timed._asdict()

    return _costs(ws, name, {"student": name}, measure)


def teacher_costs(ws: Workspace, teacher: Teacher) -> dict[int, Cost]:
    """By shot; encoders and fusion are counted once."""
    data, modalities = ws.suite.data, ws.suite.teacher.modalities

    @cache
    def counted() -> cost.Counted:
        encoders = [new_encoder(ws, modality, 0).encoder.eval() for modality in modalities]
        return cost.count_teacher(encoders, copy.deepcopy(teacher.fusion).cpu(), data.frames, data.image_size)

    def measure(episode: cost.Episode) -> dict[str, Any]:
        return asdict(cost.episode_cost(counted(), copy.deepcopy(teacher.head).cpu(), episode))

    of = {"teacher": ws.suite.teacher.model_dump(mode="json", exclude={"own"})}
    return _costs(ws, "teacher", of, measure)


def _costs(
    ws: Workspace, name: str, of: dict[str, Any], measure: Callable[[cost.Episode], dict[str, Any]]
) -> dict[int, Cost]:
    evaluate, data = ws.suite.evaluate, ws.suite.data

    def at(shot: int) -> Cost:
        episode = cost.Episode(evaluate.way, shot, evaluate.query, data.frames, data.image_size)
        return cost_of(ws, name, _cost_settings(ws, shot) | of, lambda: measure(episode))

    return {shot: at(shot) for shot in evaluate.shots}


def _cost_settings(ws: Workspace, shot: int) -> dict[str, Any]:
    """What decides the cost of every model of a suite."""
    suite = ws.suite
    return {
        "figures": [field.name for field in fields(cost.EpisodeCost)],  # a file that lacks one is of another name
        "width": suite.width,
        "token_norm": suite.token_norm,
        "patch_enrichment": suite.patch_enrichment,
        "head": identity.head(suite.head),
        "frames": suite.data.frames,
        "image_size": suite.data.image_size,
        "episode": [suite.evaluate.way, shot, suite.evaluate.query],
    }


def cost_of(
    ws: Place,
    name: str,
    settings: dict[str, Any],
    measure: Callable[[], Mapping[str, Any]],
    timed_note: str = "encoder on one video, float32, CPU",
) -> Cost:
    """Measured once a run folder, model and settings: the same figures stand in every seed's record."""
    path = ws.runs / "cost" / f"{name}-{key_of(settings)[:12]}.json"
    with ws.turn(path.parent, f"the cost of {name}", lambda: not path.exists()) as mine:
        if mine:
            write_atomic(path, [json.dumps(measure()).encode()])
    found = json.loads(path.read_text())
    timed = "p50_ms" in found
    return Cost(
        parameters=found["parameters"],
        bytes=found["bytes"],
        macs_per_video=found["macs_per_video"],
        macs_per_episode=found["macs_per_episode"],
        counter=found["counter"],
        thop_gmacs_per_episode=found["thop_macs_per_episode"] / 1e9,
        thop_note=found["thop_note"],
        latency_ms_p50=found["p50_ms"] if timed else None,
        latency_threads=found["threads"] if timed else None,
        latency_load=found["load"] if timed else None,
        latency_note=timed_note if timed else None,
    )
