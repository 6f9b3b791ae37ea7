"""What each of two processes that meet over gloo does; in a file of its own, so that it starts quickly."""

from multiprocessing import Queue
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.process_group import Group
from fewdistill.benchmark.training.division import Division, RunningStatistics

BATCH, MICRO_STEPS = 6, 4


def _state(value: float) -> dict[str, torch.Tensor]:
    return {"step": torch.tensor(5.0), "exp_avg": torch.full((1, 1), value), "exp_avg_sq": torch.ones(1, 1)}


def take_part(rank: int, meeting: str, told: "Queue[Any]") -> None:
    """Go through a group's calls and put what came of them in the queue; the processes differ where they may."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    group, net = Group(rank, 2, "cpu"), nn.ModuleList([nn.Linear(1, 1, bias=False) for _ in range(3)])
    optimiser = torch.optim.AdamW(net.parameters())
    with torch.no_grad():
        for layer in net:
            layer.weight.fill_(rank + 1.0)
    if rank == 0:  # resumed
        optimiser.load_state_dict({**optimiser.state_dict(), "state": {0: _state(7.0)}})
    found: list[Any] = [group.broadcast_state(net, optimiser, 5 * (1 - rank)), [layer.weight.item() for layer in net]]
    found[1].append(optimiser.state[net[0].weight]["exp_avg"].item())
    grad = torch.full((1, 1), rank + 1.0, dtype=torch.float64)
    sums = [grad, grad.clone() if rank else None, None]  # one layer's on one process only, one's on none
    found.append(group.all_reduce_grads({"loss": rank + 1.0}, sums, list(net.parameters())))
    found.append([None if total is None else total.item() for total in sums])
    try:
        with group.collective():
            if rank == 1:
                raise RunError("no memory")
            group.exchange()
    except RunError as error:
        found.append((type(error).__name__, str(error)))
    found.append(group.exchange(rank))  # they are in step again
    try:
        if rank == 0:
            with group.as_rank0():
                raise UserError("no such data")
        from fewdistill.benchmark.graph.torchrun import follow

        follow(group, lambda: None)  # type: ignore[arg-type, return-value]
    except (RunError, UserError) as error:
        found.append((type(error).__name__, str(error)))
    told.put((rank, found))
    told.close()
    told.join_thread()
    dist.destroy_process_group()


def network() -> nn.Module:
    """Two batch norms, float64, the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv1d(3, 4, 2), nn.BatchNorm1d(4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5)
        return nn.Sequential(*layers).double().train()


def inputs(number: int) -> torch.Tensor:
    """A batch, float64 (6, 3, 5)."""
    return torch.randn(BATCH, 3, 5, generator=torch.Generator().manual_seed(number), dtype=torch.float64)


def divided(net: nn.Module, group: Group | None) -> dict[str, torch.Tensor]:
    """Gradients and buffers after a batch divided over the group, with a loss that mixes its rows."""
    division = Division(group)
    with division.batch_norm(net):
        whole = division.gather(net(inputs(0)[division.share(BATCH)]))
        division.loss({"loss": torch.cdist(whole, whole).square().logsumexp((0, 1))})["loss"].backward()
    grads = {name: value.grad for name, value in net.named_parameters() if value.grad is not None}
    if group is not None:
        for grad in grads.values():
            group.all_reduce(grad)
    return grads | dict(net.named_buffers())


def divided_micro_steps(net: nn.Module, group: Group | None) -> dict[str, torch.Tensor]:
    """Buffers after two steps of four micro-steps, each of two passes."""
    for step in range(2):
        if group is None:
            for micro in range(MICRO_STEPS):
                _passes(net, step, micro)
        else:
            statistics = RunningStatistics(net, MICRO_STEPS)
            for micro in group.local_micro_steps(MICRO_STEPS):
                with statistics.micro_step(micro):
                    _passes(net, step, micro)
            statistics.share(group)
    return dict(net.named_buffers())


def _passes(net: nn.Module, step: int, micro: int) -> None:
    net(inputs(10 * step + micro))
    net(inputs(100 + 10 * step + micro))


def divide(rank: int, meeting: str, told: "Queue[Any]") -> None:
    """Put into the queue what divided batches and divided micro-steps come to, as nested lists."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    group = Group(rank, 2, "cpu")
    found = divided(network(), group), divided_micro_steps(network(), group)
    told.put((rank, [{name: value.tolist() for name, value in part.items()} for part in found]))
    told.close()
    told.join_thread()
    dist.destroy_process_group()
