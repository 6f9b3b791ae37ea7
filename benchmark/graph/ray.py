"""Stages as tasks on a Ray cluster.

All machines of the cluster need fewdistill, and the run and data folders under the same path. A task whose worker dies
is started again, and goes on from its checkpoint. The stage's lock keeps two tasks, or another run, from making a thing
twice.
"""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import lru_cache
from types import ModuleType
from typing import Any

from fewdistill.benchmark.graph.execute import Ended, Outcome, drive
from fewdistill.benchmark.graph.remote import Remote, Worker, divided
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.stage import Stage

_RETRIES = 3  # of a task whose worker died
_STORE_BYTES = 100 << 20  # of a cluster started here: what tasks give each other goes through files
_LOST = "the worker was lost, again and again ({}); run again to go on from there"


class RayCluster:
    """The executor that runs every stage as a task, as soon as its inputs are there.

    address: host:port, or None for RAY_ADDRESS, or for a cluster on this machine that ends with the run. remote: what
    workers open, given the device, cpu or cuda: each task on CUDA has a device to itself. device: auto, cpu or cuda.
    """

    def __init__(self, remote: Callable[[str], Remote], address: str | None, device: str) -> None:
        self.remote, self.address, self.device = remote, address, device

    def drive(self, stages: Sequence[Stage], started: Callable[[Stage], None], ended: Ended) -> None:
        """See ``execute.drive``. Raises UserError where Ray, the cluster or its CUDA devices are missing."""
        ray = _connected(self.address or os.environ.get("RAY_ADDRESS"))
        try:
            resources = ray.cluster_resources()
            device = _device(self.device, resources.get("GPU", 0) >= 1)
            slots = max(1, int(resources.get("GPU" if device == "cuda" else "CPU", 1)))
            remote = ray.put(replace(self.remote(device), parts=slots))
            task = ray.remote(num_cpus=1, num_gpus=int(device == "cuda"), max_retries=_RETRIES)(_run)

            def submit(stage: Stage, patient: bool) -> Future[Outcome]:
                return _outcome(ray, task.options(name=stage.title).remote(remote, stage.key, patient).future())

            drive(divided(stages, slots), submit, slots, started, ended)
        finally:
            ray.shutdown()


def _outcome(ray: ModuleType, future: "Future[Outcome]") -> "Future[Outcome]":
    """A task's outcome, with a lost worker as a failure."""
    found: Future[Outcome] = Future()

    def settle(done: "Future[Outcome]") -> None:
        error = done.exception()
        if error is None:
            found.set_result(done.result())
        else:
            cause = getattr(error, "cause", None) or error
            lost = isinstance(cause, ray.exceptions.RayError)
            found.set_result(Outcome("failed", _LOST.format(type(cause).__name__) if lost else str(cause)))

    future.add_done_callback(settle)
    return found


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


# --- in a worker -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _worker(remote: Remote) -> Worker:
    """Opened once a process: it keeps decoded clips and the last teacher from stage to stage."""
    return Worker(remote)


def _run(remote: Remote, key: str, patient: bool) -> Outcome:
    return _worker(remote).run(key, patient)
