"""A batch divided over the processes of a group: each encodes its share, and all see the loss of the whole batch.

Batch norm takes its statistics over the shares together (Ioffe and Szegedy, 2015), as if one process had them all;
torch's own SyncBatchNorm knows no CPUs. Gradients are added up by the training loop.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.process_group import Group
from fewdistill.students.distill.base import at_least_float32


@dataclass(frozen=True)
class Division:
    """Of batches over a group, or over nobody: then everything is returned as it came."""

    group: Group | None

    @property
    def size(self) -> int:
        """How many processes share a batch."""
        return self.group.size if self.group else 1

    def check(self, batch: int, what: str, multiple: int = 1) -> None:
        """UserError where a batch cannot be divided into equal shares, each a multiple of ``multiple`` rows."""
        if batch % (self.size * multiple):
            raise UserError(
                f"{what} = {batch} cannot be divided over {self.size} processes"
                + (f" in groups of {multiple}" if multiple > 1 else "")
                + f": set a multiple of {self.size * multiple} (it is part of what is trained), or start fewer"
            )

    def share(self, batch: int) -> slice:
        """This process's rows of a batch."""
        if self.group is None:
            return slice(None)
        each = batch // self.group.size
        return slice(self.group.rank * each, (self.group.rank + 1) * each)

    def gather(self, share: Tensor) -> Tensor:
        """Shares (n, ...) of all processes -> the batch (size * n, ...); gradients reach every process's share."""
        return share if self.group is None else _Gather.apply(share, self.group)

    def loss(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss parts of the whole batch -> each process's part of them, which sum to them."""
        return parts if self.group is None else {name: value / self.size for name, value in parts.items()}

    @contextmanager
    def batch_norm(self, module: nn.Module) -> Iterator[None]:
        """Have the module's batch norms see the whole batch inside the block."""
        changed: dict[nn.Module, type[nn.Module]] = {}
        if self.group is not None:
            for layer in module.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    changed[layer] = type(layer)
                    layer.__class__ = _SharedBatchNorm
                    setattr(layer, "group", self.group)  # noqa: B010  the type checker takes a module's fields for tensors
        try:
            yield
        finally:
            for layer, kind in changed.items():
                layer.__class__ = kind
                del layer.group


class RunningStatistics:
    """Batch norms' running statistics over a step whose micro-steps are divided over a group.

    Each process's own are of its own micro-steps. ``share`` makes them what one process that runs every micro-step, in
    order, would have: a decayed start, and from each micro-step what the later ones have left of it.
    """

    def __init__(self, module: nn.Module, accumulate: int) -> None:
        """At the start of a step. accumulate: its micro-steps."""
        found = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
        self._layers = [layer for layer in found if layer.running_mean is not None and layer.momentum is not None]
        self._accumulate = accumulate
        self._start = [self._of(layer) for layer in self._layers]
        self._sums = [torch.zeros_like(value) for value in self._start]
        self._decays = [1.0] * len(self._layers)
        self._passes = [0] * len(self._layers)

    @contextmanager
    def micro_step(self, number: int) -> Iterator[None]:
        """Around each of this process's micro-steps; number: from 0, of all processes' micro-steps."""
        before = [(self._of(layer), self._tracked(layer)) for layer in self._layers]
        yield
        for place, (layer, (value, tracked)) in enumerate(zip(self._layers, before, strict=True)):
            self._passes[place] = self._tracked(layer) - tracked  # passes in a micro-step
            decay = (1 - float(layer.momentum or 0)) ** self._passes[place]
            left = decay ** (self._accumulate - 1 - number)
            self._sums[place] += left * (self._of(layer) - decay * value)
            self._decays[place] = decay

    def share(self, group: Group) -> None:
        """At the end of the step, on all processes."""
        if not self._layers:
            return
        joined = group.all_reduce(torch.cat([value.flatten() for value in self._sums]))
        sums = joined.split([value.numel() for value in self._sums])
        for layer, start, added, decay, passes in zip(
            self._layers, self._start, sums, self._decays, self._passes, strict=True
        ):
            mean, variance = decay**self._accumulate * start + added.view_as(start)
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked.add_(passes * (self._accumulate - self._accumulate // group.size))

    @staticmethod
    def _of(layer: nn.modules.batchnorm._BatchNorm) -> Tensor:
        """Mean and variance, float64 (2, channels)."""
        assert layer.running_mean is not None and layer.running_var is not None
        return torch.stack([layer.running_mean, layer.running_var]).double()

    @staticmethod
    def _tracked(layer: nn.modules.batchnorm._BatchNorm) -> int:
        return 0 if layer.num_batches_tracked is None else int(layer.num_batches_tracked)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: Tensor, group: Group) -> Tensor:
        ctx.group, ctx.rows = group, len(share)
        whole = share.new_zeros(group.size * len(share), *share.shape[1:])
        whole[group.rank * len(share) : (group.rank + 1) * len(share)] = share
        return group.all_reduce(whole)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        summed = ctx.group.all_reduce(grads[0].contiguous())
        return summed[ctx.group.rank * ctx.rows : (ctx.group.rank + 1) * ctx.rows], None


class _SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm whose training statistics are of all processes' shares, which are of one size."""

    group: Group

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions, channels second."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        value = at_least_float32(input)
        normal, mean, variance, count = _Normalise.apply(value, self.eps, self.group)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(variance.detach() * (count / (count - 1)), momentum)
        shape = (1, -1, *[1] * (input.dim() - 2))
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) by channel over all processes; also gives mean, variance and the count."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, eps: float, group: Group) -> tuple[Tensor, Tensor, Tensor, float]:
        dims = [0, *range(2, value.dim())]
        shape = (1, -1, *[1] * (value.dim() - 2))
        count = float(value.numel() // value.shape[1] * group.size)
        mean = group.all_reduce(value.sum(dims, dtype=torch.float64)) / count
        centred = value - mean.view(shape).to(value.dtype)
        variance = group.all_reduce(centred.square().sum(dims, dtype=torch.float64)) / count
        inverse = (variance + eps).rsqrt().to(value.dtype)
        normal = centred * inverse.view(shape)
        ctx.save_for_backward(normal, inverse)
        ctx.group, ctx.dims, ctx.shape, ctx.count = group, dims, shape, count
        return normal, mean.to(value.dtype), variance.to(value.dtype), count

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:
        normal, inverse = ctx.saved_tensors
        grad = grads[0]
        sums = torch.stack([grad.sum(ctx.dims), (grad * normal).sum(ctx.dims)]).double()
        mean, along = (ctx.group.all_reduce(sums) / ctx.count).to(grad.dtype)
        centred = grad - mean.view(ctx.shape) - normal * along.view(ctx.shape)
        return centred * inverse.view(ctx.shape), None, None
