"""One of two processes that meet over gloo; in a file of its own, so that it starts quickly."""

from multiprocessing import Queue
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from fewdistill.benchmark.runtime.errors import RunError, UserError
from fewdistill.benchmark.runtime.process_group import Group


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
