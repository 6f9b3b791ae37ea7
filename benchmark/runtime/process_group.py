"""The processes that torchrun started for one run: broadcasts, gradients added up, failures known to all.

Process 0 runs the suite as it would alone. The others wait for its calls and take part in the stages that are trained
together (graph/torchrun.py). Calls, errors and loss parts go over gloo, gradients over NCCL on CUDA devices.

Gradients are added up once a step, after the process's own episodes, and not by DistributedDataParallel: a loss here
takes several calls of the module and its parts (encoder, head, a distiller's projector), which DDP's hooks do not see,
and a failure on one process can be told to the others before they wait for its gradients.
"""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

# An optimiser's first step would import it, and its default arguments would keep the group: gloo's threads would then
# outlive the interpreter, and end the process by SIGABRT.
import torch.distributed.nn
from torch import Tensor, nn

from fewdistill.benchmark.runtime.errors import RunError, UserError

_PATIENCE = timedelta(days=30)  # process 0 may train a base for days; a process that ends is noticed at once


class ElsewhereError(RunError):
    """Another process of the group failed; its reason stands in the message."""


class LostError(RunError):
    """Another process of the group is gone, and with it the group."""


@dataclass(frozen=True)
class Stop:
    """Process 0's last call. reason: what made it fail, "" when all is done."""

    reason: str = ""


@dataclass(frozen=True)
class Group:
    """The processes of one run, this one among them. device: its own, cpu or cuda:<number>.

    Every process must make the same calls in the same order. ``together`` keeps that so when one of them fails.
    """

    rank: int
    size: int
    device: str

    def local_micro_steps(self, accumulate: int) -> range:
        """Which of a step's episodes are this process's; accumulate is a multiple of the size."""
        return range(self.rank, accumulate, self.size)

    def call(self, task: Any) -> None:
        """From process 0 to the others, which ``receive`` it: something to take part in, or a Stop."""
        self._from_first(task)

    def receive(self) -> Any:
        """The next call of process 0, however long that takes."""
        return self._from_first(None)

    def exchange(self, value: Any = None, error: str = "") -> list[Any]:
        """What every process gives, by rank; ElsewhereError on all when one of them gives an error."""
        told: list[Any] = [None] * self.size
        with _connected():
            dist.all_gather_object(told, (value, error))
        failed = [f"process {rank}: {error}" for rank, (_, error) in enumerate(told) if error]
        if failed:
            raise ElsewhereError("; ".join(failed))
        return [value for value, _ in told]

    @contextmanager
    def collective(self) -> Iterator[None]:
        """A block that all processes run: it ends on all of them, or fails on all."""
        try:
            yield
        except (ElsewhereError, LostError):  # known to all
            raise
        except Exception as error:
            with suppress(ElsewhereError):
                self.exchange(error=str(error) or type(error).__name__)
            raise
        self.exchange()

    @contextmanager
    def as_rank0(self) -> Iterator[None]:
        """Process 0's whole work: its end, or its failure, ends the others."""
        try:
            yield
        except LostError:
            raise
        except Exception as error:
            with suppress(LostError):
                self.call(Stop(str(error) or type(error).__name__))
            raise
        self.call(Stop())

    def broadcast_state(self, module: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> int:
        """Give every process the weights, the optimiser's state and the step of process 0; returns the step."""
        self.exchange()
        state = io.BytesIO()
        if self.rank == 0:
            torch.save({"module": module.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, state)
        first = torch.load(io.BytesIO(self._from_first(state.getvalue())), map_location="cpu", weights_only=True)
        if self.rank:
            module.load_state_dict(first["module"])
            optimiser.load_state_dict(first["optimiser"])
        return int(first["step"])

    def all_reduce_grads(
        self, parts: dict[str, float], sums: list[Tensor | None], parameters: Sequence[nn.Parameter]
    ) -> dict[str, float]:
        """Add the loss parts of all processes, and their gradients in place: float64, None where no process has one."""
        told = self.exchange((parts, [value is not None for value in sums]))
        for place, (parameter, *has) in enumerate(zip(parameters, *(has for _, has in told), strict=True)):
            if sums[place] is None and any(has):
                sums[place] = torch.zeros_like(parameter, dtype=torch.float64)
        trained = [value for value in sums if value is not None]
        if trained:
            joined = self.all_reduce(torch.cat([value.flatten() for value in trained]))
            for value, total in zip(trained, joined.split([value.numel() for value in trained]), strict=True):
                value.copy_(total.view_as(value))
        return {name: sum(others[name] for others, _ in told) for name in parts}

    def all_reduce(self, value: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place; returns it."""
        with _connected():
            dist.all_reduce(value)
        return value

    def _from_first(self, value: Any) -> Any:
        box = [value]
        with _connected():
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        why = str(error).splitlines()[0].split(". ")[0]
        raise LostError(
            f"another process of this run is gone ({why}); what was finished stands, and the same command goes on "
            "from there"
        ) from error


@contextmanager
def torchrun_group(device: str) -> Iterator[Group | None]:
    """The group that torchrun started this process for; None where it did not, or for one process alone.

    device: auto, cpu or cuda; a process takes the CUDA device of its number on the machine (LOCAL_RANK).
    """
    size = int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1
    if size == 1:
        yield None
        return
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda and local >= torch.cuda.device_count():
        raise UserError(
            f"process {local} of this machine has no CUDA device, {torch.cuda.device_count()} are here: start "
            "as many with --nproc-per-node, or use --device cpu"
        )
    if cuda:
        torch.cuda.set_device(local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield Group(rank, size, f"cuda:{local}" if cuda else "cpu")
    finally:
        dist.destroy_process_group()
