"""Multiply-accumulates (MACs) of one pass through a module, counted in two ways, and the bytes of its weights.

``count_macs`` is the work this suite really does: torch's dispatcher sees every matmul, einsum and convolution.
``thop_macs`` is the accounting Lite-MKD published and calls FLOPs: thop's hooks over the released formulation.
"""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import thop
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

COUNTER = "torch FlopCounterMode"
THOP_NOTE = "thop over the released formulation; functional matmuls (attention) are not seen"

_PRODUCT = re.compile(r"(^|_|b|add)mm(_|$)|convolution|attention|rnn|gru|lstm")


def count_macs(module: nn.Module, *inputs: Any) -> int:
    """MACs of one forward pass in eval mode, counted on a copy: the module and its mode stay as they are.

    Inputs on the meta device are counted by shape alone, without arithmetic or memory; modules that read values
    (labels, for example) need real inputs. Element-wise work (norms, activations, pooling) and products of a matrix
    with one vector (a norm's bias) are not counted. RuntimeError names a product that has no formula and would count
    as nothing.
    """
    return counted_with_output(module, *inputs)[0]


def counted_with_output(module: nn.Module, *inputs: Any) -> tuple[int, Any]:
    """MACs and output; see ``count_macs``."""
    on_meta = any(isinstance(value, Tensor) and value.is_meta for value in inputs)
    counted = _meta_copy(module) if on_meta else copy.deepcopy(module)
    counter = _counter()
    with torch.no_grad(), _attention_by_parts(), _Operators() as seen, counter:
        output = counted.eval()(*inputs)
    if unknown := {o for o in seen.products if o not in counter.flop_registry}:
        raise RuntimeError(f"no formula counts {', '.join(sorted(map(str, unknown)))}: add one to benchmark/macs.py")
    return counter.get_total_flops() // 2, output


def _counter() -> Any:
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count  # slow to import: it brings triton along

    aten = torch.ops.aten
    unknown_to_torch = {
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
        aten.baddbmm_: lambda _, a, b, **__: 2 * a.numel() * b[2],
    }
    return FlopCounterMode(display=False, custom_mapping=unknown_to_torch)


class _Operators(TorchDispatchMode):
    """Notes the products among the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.products: set[Any] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _PRODUCT.search(func._overloadpacket.__name__):
            self.products.add(func._overloadpacket)
        return func(*args, **(kwargs or {}))


def thop_macs(module: nn.Module, *inputs: Any) -> float:
    """thop's count of one forward pass on a copy of the module, which Lite-MKD published and calls FLOPs.

    thop hooks modules: a convolution or linear map counts its MACs, an affine batch or layer norm 4 an element, a
    softmax of n entries 3 n - 1, adaptive average pooling its additions, max pooling, ReLU and dropout nothing.
    Functional matmuls (the attention itself) and distances are not seen. Of an episode it is the released formulation
    that counts: the encoder on every video, one head pass per branch, for TRX that of ``PublishedTRX``.
    """
    counted = _meta_copy(module) if inputs[0].is_meta else copy.deepcopy(module)  # thop leaves buffers behind
    with _attention_by_parts():
        return float(thop.profile(counted, inputs, verbose=False)[0])


@contextmanager
def _attention_by_parts() -> Iterator[None]:
    """The fused path of nn.MultiheadAttention and encoder layers off: counters see nothing of it."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _meta_copy(module: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers are shapes only; nothing of their size is ever allocated."""
    memo: dict[int, Any] = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False) for p in module.parameters()
    }
    memo |= {id(b): torch.empty_like(b, device="meta") for b in module.buffers()}
    return copy.deepcopy(module, memo)


def weight_bytes(module: nn.Module) -> int:
    """Bytes of the tensors that a file of the module's weights holds: parameters and persistent buffers, each once.

    Floats count 4 bytes each, whatever precision they have now; integers (a batch norm's counter) their own size.
    """
    kept = {id(tensor): tensor for tensor in module.state_dict(keep_vars=True).values()}
    return sum(t.numel() * (4 if t.is_floating_point() else t.element_size()) for t in kept.values())
