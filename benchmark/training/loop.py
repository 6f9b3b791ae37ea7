"""The training loop, for teachers and students alike, and the checkpoint that makes it resume exactly."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from fewdistill.benchmark.runtime.errors import Diverged, RunError
from fewdistill.benchmark.runtime.probe import bfloat16_slowdown
from fewdistill.benchmark.runtime.process_group import Group
from fewdistill.benchmark.runtime.progress import Tick, say
from fewdistill.benchmark.runtime.seeds import torch_scope
from fewdistill.benchmark.training.division import RunningStatistics
from fewdistill.feature_cache import atomic_file

State = dict[str, Tensor]
_SAVED_SHARE = 20  # of the time since the last checkpoint, at most one part in so many goes into writing the next


class OptimConfig(Protocol):
    """The optimiser, and its learning rate at each step from 0."""

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer: ...

    def rate(self, step: int, steps: int) -> float: ...


@dataclass(frozen=True)
class Plan:
    """What one training stage does. ``loss(step, micro)`` gives loss parts; "loss" is the one to minimise.

    select: of the validated states the best one, or the last.
    group: the processes that divide each step's ``accumulate`` episodes; the first of them validates and saves.
    shares_micro: every process runs every micro-step, for a loss that divides its batch itself.
    """

    config: OptimConfig
    steps: int
    seed: int
    name: str
    loss: Callable[[int, int], dict[str, Tensor]]
    accumulate: int = 1
    bf16: bool = False
    validate: Callable[[], float] | None = None
    validate_every: int = 0
    save_seconds: float = 15.0
    group: Group | None = None
    select: Literal["best", "last"] = "best"
    shares_micro: bool = False


@dataclass
class TrainState:
    """The state of a training: steps done, wall seconds, curve, and the best validated weights (None before any)."""

    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    best_score: float = -math.inf
    best_step: int = 0
    best: State | None = None


Track = Callable[[TrainState], None]
"""Called with the state of a training, at its start and after every step."""


def no_track(state: TrainState) -> None:
    """The callback of a training that nobody tracks."""


def fit(
    module: nn.Module, plan: Plan, checkpoint: Path, device: torch.device, tick: Tick, track: Track = no_track
) -> TrainState:
    """Train in place, select by validation, leave the selected weights in the module.

    Interrupted at any moment and called again, it continues from the last checkpoint and ends with the same
    weights as an undisturbed run: every random draw belongs to (seed, stage, episode). Raises Diverged.
    """
    leads = plan.group is None or plan.group.rank == 0
    if not leads:
        plan = replace(plan, validate=None)
    elif plan.bf16:
        _warn_of_emulation(device)
    if next(module.parameters(), None) is None:  # a rule without weights: nothing to train, a score to report
        state = TrainState()
        if plan.validate:
            _validate(module, plan, state)
        track(state)
        module.eval()
        return state
    optimiser = plan.config.optimiser(module.parameters())
    state = _resume(module, optimiser, checkpoint) if leads else TrainState()
    if plan.group is not None:
        state.step = plan.group.broadcast_state(module, optimiser, state.step)
    saved, writing = time.monotonic(), 0.0
    started = saved - state.seconds
    if plan.validate and state.best is None:
        _validate(module, plan, state)  # the start counts: training that does not help is not selected
    track(state)
    while state.step < plan.steps:
        for group in optimiser.param_groups:
            group["lr"] = plan.config.rate(state.step, plan.steps)
        module.train()
        parts = _step(module, optimiser, plan, state.step, device)
        state.step += 1
        state.curve.append({"step": state.step, **parts})
        last = state.step == plan.steps
        if plan.validate and (last or state.step % plan.validate_every == 0):
            _validate(module, plan, state)
        state.seconds = time.monotonic() - started
        if leads and (last or time.monotonic() - saved >= max(plan.save_seconds, _SAVED_SHARE * writing)):
            began = time.monotonic()
            _save(module, optimiser, state, checkpoint)
            saved = time.monotonic()
            writing = saved - began
        tick(state.step, plan.steps)
        track(state)
    if state.best is not None:
        module.load_state_dict(state.best)
    module.eval()
    return state


@lru_cache
def _warn_of_emulation(device: torch.device) -> None:
    """Say once that bfloat16 is asked for where it costs time instead of saving it."""
    if slowdown := bfloat16_slowdown(device):
        say(
            f"[slow: bf16 asks for bfloat16, which this processor only emulates ({slowdown:.0f} times float32's time "
            "for a matrix product); to train in float32, another training with records of its own: --set 'bf16=[]']"
        )


def _step(
    module: nn.Module, optimiser: torch.optim.Optimizer, plan: Plan, step: int, device: torch.device
) -> dict[str, float]:
    optimiser.zero_grad(set_to_none=True)
    mean: dict[str, float] = {}
    parameters = list(module.parameters())
    sums: list[Tensor | None] = [None] * len(parameters)
    group = None if plan.shares_micro else plan.group
    statistics = None if group is None else RunningStatistics(module, plan.accumulate)
    for micro in range(plan.accumulate) if group is None else group.local_micro_steps(plan.accumulate):
        # the draws belong to the episode, whichever process has it
        with (
            torch_scope(device, plan.seed, plan.name, step * plan.accumulate + micro),
            nullcontext() if statistics is None else statistics.micro_step(micro),
        ):
            with torch.autocast(device.type, torch.bfloat16, enabled=plan.bf16):
                parts = plan.loss(step, micro)
            (parts["loss"] / plan.accumulate).backward()
        for name, value in parts.items():
            mean[name] = mean.get(name, 0.0) + float(value.detach()) / plan.accumulate
        if plan.accumulate > 1 or plan.group is not None:
            _move(parameters, sums)
    if plan.group is not None:
        mean = plan.group.all_reduce_grads(mean, sums, parameters)
    if group is not None and statistics is not None:
        statistics.share(group)
    if plan.accumulate > 1 or plan.group is not None:
        for parameter, total in zip(parameters, sums, strict=True):
            parameter.grad = None if total is None else total.to(parameter.dtype)
    if not math.isfinite(mean["loss"]):
        lr = plan.config.rate(step, plan.steps)
        raise Diverged(f"{plan.name}: the loss is {mean['loss']} at step {step + 1}; lower lr (now {lr:.3g})")
    optimiser.step()
    return mean


def _move(parameters: list[nn.Parameter], sums: list[Tensor | None]) -> None:
    """Gradients into their float64 sums: rounded once, in the end, they are the same however the episodes are divided.

    AdamW's first steps are of the size of the learning rate whatever the gradient's, so that the last bits count.
    """
    for place, parameter in enumerate(parameters):
        if parameter.grad is not None:
            total = sums[place]
            sums[place] = parameter.grad.double() if total is None else total.add_(parameter.grad)
            parameter.grad = None


def _validate(module: nn.Module, plan: Plan, state: TrainState) -> None:
    assert plan.validate is not None
    score = plan.validate()
    state.curve.append({"step": state.step, "val_accuracy": score})
    if plan.select == "last" or score > state.best_score:
        state.best_score, state.best_step = score, state.step
        state.best = {k: v.detach().clone() for k, v in module.state_dict().items()}


def _save(module: nn.Module, optimiser: torch.optim.Optimizer, state: TrainState, path: Path) -> None:
    write_torch(
        path,
        {
            "module": module.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": state.step,
            "seconds": state.seconds,
            "curve": state.curve,
            "best_score": state.best_score,
            "best_step": state.best_step,
            "best": state.best,
        },
    )


def _resume(module: nn.Module, optimiser: torch.optim.Optimizer, path: Path) -> TrainState:
    if not path.exists():
        return TrainState()
    stored = read_torch(path)
    module.load_state_dict(stored["module"])
    optimiser.load_state_dict(stored["optimiser"])
    return TrainState(**{name: stored[name] for name in TrainState.__dataclass_fields__})


def write_torch(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all; CacheError tells of a full disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:  # never a second time in memory: a published fusion's checkpoint has 9 GB
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's archive complains of the place at which the disk was full
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read_torch(path: Path) -> dict[str, Any]:
    """Read what write_torch wrote, executing no code; RunError names a damaged file."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise RunError(f"{path}: not a readable checkpoint ({error}); delete it to train this stage again") from error
