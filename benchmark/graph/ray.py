"""The rows of a suite as tasks on a Ray cluster, and before them the stages that rows share.

All machines of the cluster need fewdistill, and the run and data folders under the same path. A task whose worker dies
is started again, and goes on from its checkpoint. What keeps two tasks, or another run, from making a thing twice is
its lock (Workspace.turn); the order of the tasks only keeps workers from waiting for one another.
"""

import json
import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from fewdistill.benchmark.data.video.derivation import derive
from fewdistill.benchmark.evaluation.episodic_record import TEACHER, Row
from fewdistill.benchmark.graph.row_run import needs_teacher, record_failure, row_lock, run_row, told
from fewdistill.benchmark.graph.runner import open_workspace
from fewdistill.benchmark.graph.status import Standing
from fewdistill.benchmark.protocols.episodic.student import base_weights, student_identities, train_base
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.protocols.episodic.teacher import (
    Teacher,
    encoder_key,
    fusion_stage,
    modality_tokens,
    teacher_key,
    train_encoder,
    train_teacher,
)
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.benchmark.runtime.allocator import keep_freed_memory
from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.progress import say
from fewdistill.benchmark.suite.distillation import distillation
from fewdistill.benchmark.suite.registry import load_plugins
from fewdistill.feature_cache import CacheError, InUseError
from fewdistill.results.records.store import RecordStore

_RETRIES = 3  # of a task whose worker died
_STORE_BYTES = 100 << 20  # of a cluster started here: what tasks give each other goes through files

Teachers = dict[str, Teacher]
Work = Callable[[Workspace, Teachers], str]
"""What a task does with a worker's workspace and the teacher it keeps; the reason of a recorded failure, or ""."""


@dataclass(frozen=True)
class _Place:
    """What a worker opens: the suite as JSON, run and data folders, the run's own, device, compilation, trackers."""

    suite: str
    runs: Path
    data: Path
    folder: Path
    device: str
    compile_trunks: bool
    track: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """title: of the line that tells of its end. needs: the tasks before it. row: which it runs, unless a stage."""

    title: str
    work: Work
    needs: tuple[str, ...] = ()
    row: Standing | None = None


def run_on_ray(
    ws: Workspace, pending: Sequence[Standing], overwrite: bool, *, address: str | None, device: str
) -> set[tuple[str, ...]]:
    """Run rows on a cluster; the records of those that failed.

    address: host:port, or None for RAY_ADDRESS, or for a cluster on this machine that ends with the run. device: the
    workers', auto, cpu or cuda; each task on CUDA has a device to itself. Raises UserError where Ray, the cluster or
    its CUDA devices are missing.
    """
    ray = _connected(address or os.environ.get("RAY_ADDRESS"))
    try:
        resources = ray.cluster_resources()
        device = _device(device, resources.get("GPU", 0) >= 1)
        suite = ws.suite.model_dump_json(exclude_unset=True)
        place = _Place(
            suite, ws.runs.parent.resolve(), ws.cache.parent.resolve(), Path.cwd(), device, ws.compile_trunks,
            tuple(ws.trackers.names),
        )  # fmt: skip
        remote = ray.remote(num_cpus=1, num_gpus=int(device == "cuda"), max_retries=_RETRIES)(_do)
        refs: dict[str, Any] = {}
        tasks = plan_tasks(ws, pending, overwrite, int(resources.get("CPU", 1)))
        for key, task in tasks.items():
            refs[key] = remote.options(name=task.title).remote(place, task.work, *(refs[need] for need in task.needs))
        return _ended(ray, ws, {refs[key]: task for key, task in tasks.items()})
    finally:
        ray.shutdown()


def _connected(address: str | None) -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError("--engine ray needs Ray: pip install 'fewdistill[ray]'") from None
    own: dict[str, Any] = {} if address else {"object_store_memory": _STORE_BYTES}
    try:
        if address:
            _reached(address)
        ray.init(address or "local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, ValueError, RuntimeError) as error:
        where, why = address or "this machine", str(error).splitlines()[0]
        raise UserError(f"no Ray cluster at {where} ({why}): start one with `ray start --head`") from None
    return ray


def _reached(address: str) -> None:
    """OSError where nobody listens at host:port, which Ray would try for many minutes; ValueError for another form."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError("an address is host:port")
    socket.create_connection((host, int(port)), timeout=10).close()


def _device(asked: str, gpus: bool) -> str:
    if asked not in ("auto", "cpu", "cuda"):
        raise UserError(f"no device {asked!r}: choose auto, cpu or cuda")
    if asked == "cuda" and not gpus:
        raise UserError("no CUDA device in the Ray cluster: use --device cpu, or auto")
    return "cuda" if asked != "cpu" and gpus else "cpu"


def plan_tasks(ws: Workspace, pending: Sequence[Standing], overwrite: bool, workers: int) -> dict[str, Task]:
    """Rows, and the stages that they share, by key; what a task needs stands before it."""
    tasks = _derivations(ws, pending, workers)
    clips = tuple(tasks)
    for standing in pending:
        row, at = standing.row, ws.varied(standing.row.variant)
        needs: list[str] = []
        if needs_teacher(at, row):
            needs.append(teacher_key(at, row.seed))
            encoders = tuple(encoder_key(at, modality, row.seed) for modality in at.suite.teacher.modalities)
            for key, modality in zip(encoders, at.suite.teacher.modalities, strict=True):
                tasks.setdefault(key, Task(f"encoder {modality} s{row.seed}", partial(_encoder, row, modality), clips))
            tasks.setdefault(needs[0], Task(f"teacher s{row.seed}", partial(_teacher, row), encoders))
        if row.model != TEACHER:
            base = student_identities(at, row.model, row.distillation, row.seed)[0]
            distilled = base_weights(at.suite.of(row.model), distillation(row.distillation))
            title = f"base {row.model} {' '.join(distilled) or 'plain'} s{row.seed}"
            tasks.setdefault(base, Task(title, partial(_base, row), tuple(needs) if distilled else ()))
            needs.append(base)
        work = partial(_row, standing, overwrite)
        tasks[standing.records[0]] = Task(row.name, work, tuple(needs), standing)
    return tasks


def _derivations(ws: Workspace, pending: Sequence[Standing], workers: int) -> dict[str, Task]:
    """The clips that teachers still to be trained lack, in as many parts as there are workers or shards for them."""
    variants, shards = [], set()
    for row in (standing.row for standing in pending):
        at = ws.varied(row.variant)
        if row.variant in variants or not needs_teacher(at, row) or fusion_stage(at, row.seed).done:
            continue
        variants.append(row.variant)
        for modality in (name for name in at.suite.teacher.modalities if name != "rgb"):
            shards |= {shard.index for shard in at.clip_entry(modality).plan(ws.all_videos)}
    parts = min(workers, len(shards))
    return {
        f"clips {part}": Task(f"clips {part}/{parts}", partial(_clips, tuple(variants), (part, parts)))
        for part in range(1, parts + 1)
    }


def _ended(ray: ModuleType, ws: Workspace, left: dict[Any, Task]) -> set[tuple[str, ...]]:
    """Wait for all tasks, and tell of each; the records of the rows that failed."""
    store, failed, total = RecordStore(ws.runs / "records"), set(), len(left)
    while left:
        [ref], _ = ray.wait(list(left))
        task = left.pop(ref)
        say(f"[{total - len(left)}/{total}] {task.title}")
        try:
            reason = ray.get(ref)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            if not isinstance(cause, ray.exceptions.RayError):  # what a row could not record: it ends the run
                raise cause from None
            reason = f"the worker was lost, again and again ({type(cause).__name__}); run again to go on from there"
            if task.row is not None:
                with suppress(InUseError), row_lock(ws, task.row):
                    record_failure(ws.varied(task.row.row.variant), task.row, store, RunError(reason))
        if reason:
            say(f"  {task.title}: {reason}")
        if task.row is None:
            continue
        if reason:
            failed.add(task.row.records)
        else:
            for key in task.row.records:
                say(told(store.read(key)))
    return failed


# --- in a worker -----------------------------------------------------------------------------------------------------


def _do(place: _Place, work: Work, *needs: object) -> str:
    return work(*_opened(place))


@lru_cache(maxsize=1)
def _opened(place: _Place) -> tuple[Workspace, Teachers]:
    """Opened once a worker: it keeps decoded clips and the last teacher from task to task."""
    os.chdir(place.folder)  # a suite may name files from there
    keep_freed_memory()
    load_plugins(json.loads(place.suite).get("plugins", ()))
    suite = Suite.model_validate_json(place.suite)
    return open_workspace(suite, place.runs, place.data, place.device, place.compile_trunks, track=place.track), {}


def _row(standing: Standing, overwrite: bool, ws: Workspace, teachers: Teachers) -> str:
    return run_row(ws, standing, teachers, overwrite, wait=True)


# What fails in a stage fails again in the rows that need it, which record it.
_RECORDED = (RunError, CacheError, torch.OutOfMemoryError)


def _clips(variants: tuple[str, ...], part: tuple[int, int], ws: Workspace, teachers: Teachers) -> str:
    with suppress(*_RECORDED):
        derive(ws, variants=variants, part=part, workers=1)
    return ""


def _encoder(row: Row, modality: str, ws: Workspace, teachers: Teachers) -> str:
    at = ws.varied(row.variant)
    with suppress(*_RECORDED):
        modality_tokens(at, modality, row.seed, train_encoder(at, modality, row.seed))
    return ""


def _teacher(row: Row, ws: Workspace, teachers: Teachers) -> str:
    with suppress(*_RECORDED):
        train_teacher(ws.varied(row.variant), row.seed)
    return ""


def _base(row: Row, ws: Workspace, teachers: Teachers) -> str:
    at, setting = ws.varied(row.variant), distillation(row.distillation)
    with suppress(*_RECORDED):
        teacher = train_teacher(at, row.seed) if base_weights(at.suite.of(row.model), setting) else None
        train_base(at, row.model, setting, row.seed, teacher)
    return ""
