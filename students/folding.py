"""Faster encoders for embedding: batch norm folded into the convolution before it, which saves a pass over memory, and
large 3x3 convolutions by Winograd on CPUs. The same function in eval mode."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.winograd import Winograd, worth_it


@contextmanager
def folded(encoder: nn.Module) -> Iterator[None]:
    """Run the encoder's trunk folded inside the block; it must be in eval mode there.

    Tokens differ by float32 rounding. A trunk that cannot be traced (control flow that looks at its input) or that is
    compiled runs as it is, and so does an encoder without a trunk.
    """
    if not isinstance(encoder, TokenEncoder):
        yield
        return
    trunk = encoder.trunk
    faster = None if trunk._compiled_call_impl is not None else fold_batch_norm(trunk)
    encoder.trunk = faster or trunk
    try:
        yield
    finally:
        encoder.trunk = trunk


@torch.no_grad()
def fold_batch_norm(trunk: nn.Module) -> nn.Module | None:
    """A copy of the trunk without those batch norms that read a convolution which nothing else reads, and with
    convolutions by Winograd where they are faster.

    The trunk must be in eval mode; None where it cannot be traced.
    """
    try:
        graph = fx.Tracer().trace(trunk)
    except Exception:  # the trunk's code meets stand-ins for tensors: where it looks at them it may raise anything
        return None
    modules = dict(trunk.named_modules())
    replaced: dict[str, nn.Module] = {}
    for node in list(graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        convolution = modules[str(before.target)]
        used_once = sum(other.target in (before.target, node.target) for other in graph.nodes) == 2
        if isinstance(convolution, nn.Conv2d) and used_once:
            replaced[str(before.target)] = fuse_conv_bn_eval(convolution, norm)
            node.replace_all_uses_with(before)
            graph.erase_node(node)
    kept = {str(node.target): modules[str(node.target)] for node in graph.nodes if node.op == "call_module"}
    attributes = {
        str(node.target): attrgetter(str(node.target))(trunk) for node in graph.nodes if node.op == "get_attr"
    }
    here = kept | replaced
    for name, module in here.items():
        if worth_it(module):
            here[name] = Winograd(module)
    return fx.GraphModule(here | attributes, graph)
