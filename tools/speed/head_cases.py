"""TRX beside its plain form: forward, forward and backward, and matching from keys computed once per video."""

import torch
from torch import Tensor

from fewdistill.benchmark.cost.published_trx import PublishedTRX
from fewdistill.students.heads.base import split_keys
from fewdistill.students.heads.trx import TRX
from tools.speed.cases import CASES, Bench, Case, Sample, Side, Sizes, timed
from tools.speed.machine import trx_gflop


def _episode(sizes: Sizes, query: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens of support and query, support labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (sizes.way * (sizes.shot + query), sizes.frames, sizes.width)
    tokens = torch.randn(shape, generator=generator)
    support = sizes.way * sizes.shot
    return tokens[:support], tokens[support:], torch.arange(sizes.way).repeat_interleave(sizes.shot)


def _head(sizes: Sizes, tuple_sizes: tuple[int, ...]) -> TRX:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TRX(sizes.width, sizes.frames, tuple_sizes=tuple_sizes, head_width=sizes.head_width).eval()


def _forward(tuple_sizes: tuple[int, ...], query: int, ours: bool) -> Side:
    def side(bench: Bench) -> Sample:
        sizes = bench.sizes
        support, queries, labels = _episode(sizes, query or sizes.query)
        head = _head(sizes, tuple_sizes)
        plain = PublishedTRX(head)

        @torch.no_grad()
        def work() -> Tensor:
            return head(support, labels, queries, sizes.way) if ours else plain(support, queries, sizes.way)

        return Sample(timed(sizes, work), values=work().numpy())

    return side


def _both(tuple_sizes: tuple[int, ...], ours: bool, bf16: bool = False) -> Side:
    def side(bench: Bench) -> Sample:
        sizes = bench.sizes
        support, queries, labels = (
            part.requires_grad_(part.is_floating_point()) for part in _episode(sizes, sizes.query)
        )
        head = _head(sizes, tuple_sizes)
        plain = PublishedTRX(head)

        def work() -> Tensor:
            head.zero_grad(set_to_none=True)
            support.grad = queries.grad = None
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = head(support, labels, queries, sizes.way) if ours else plain(support, queries, sizes.way)
            (logits.float() * 1e-3).sum().backward()
            assert queries.grad is not None
            return queries.grad

        return Sample(timed(sizes, work), values=None if bf16 else work().detach().numpy())

    return side


def _cached(bench: Bench) -> Sample:
    sizes = bench.sizes
    support, queries, labels = _episode(sizes, 1)
    head = _head(sizes, (2,))

    with torch.no_grad():
        support_keys, query_keys = split_keys(head.project(torch.cat([support, queries])), len(support))

    @torch.no_grad()
    def work() -> Tensor:
        return head.match(support_keys, labels[None], query_keys, sizes.way)[0]

    return Sample(timed(sizes, work), values=work().numpy())


def _case(tuple_sizes: tuple[int, ...], aims: dict[str, float]) -> None:
    name = {(2,): "pairs", (2, 3): "pairs and triples"}[tuple_sizes]
    least = {size: trx_gflop(Sizes(), size) for size in tuple_sizes}
    CASES.register(f"head: TRX {name}, forward")(
        Case(
            "episode",
            {"plain": _forward(tuple_sizes, 0, ours=False), "ours": _forward(tuple_sizes, 0, ours=True)},
            aims={"ours": aims["forward"]},
            least_gflop=sum(least.values()),
        )
    )
    CASES.register(f"head: TRX {name}, forward and backward")(
        Case(
            "episode",
            {
                "plain": _both(tuple_sizes, ours=False),
                "ours": _both(tuple_sizes, ours=True),
                "ours, bfloat16": _both(tuple_sizes, ours=True, bf16=True),
            },
            aims={"ours": aims["both"]} if "both" in aims else {},
            least_gflop=3 * sum(least.values()),
            tolerance=1e-4,
        )
    )


_case((2,), {"forward": 2.9, "both": 2.9})
_case((2, 3), {"forward": 4.0})
CASES.register("head: TRX pairs from cached keys, 1 query a class")(
    Case("episode", {"plain": _forward((2,), 1, ours=False), "ours": _cached}, aims={"ours": 20})
)
