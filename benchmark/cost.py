"""What a network costs: multiply-accumulates (MACs), the published count, latency, peak memory.

``count_macs`` is the work this suite really does: torch's dispatcher sees every matmul, einsum and convolution.
``thop_gmacs`` is the accounting Lite-MKD published and calls FLOPs: thop's hooks over the released formulation.
"""

import copy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple, cast

import psutil
import thop
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmark.errors import UserError
from students.backbones import TokenEncoder
from students.few_shot import FewShotStudent
from students.heads.base import Head
from students.heads.trx import TRX, TupleMatcher
from teachers.fusion import MFM

if sys.platform != "win32":
    import resource

COUNTER = "torch FlopCounterMode"
THOP_NOTE = "thop over the released formulation; functional matmuls (attention) are not seen"


# the first torch releases with this operator had no formula for it and counted nothing
_FORMULAS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)
}


@dataclass(frozen=True)
class EpisodeCost:
    """Cost of one test episode of way * (shot + query) videos, query per class.

    macs_per_video: all encoders (and a teacher's fusion) on one clip. macs_head_per_episode: projection and matching
    over all branches. thop_macs_per_episode: see ``thop_gmacs``.
    """

    parameters: int
    macs_per_video: int
    macs_backbone_per_episode: int
    macs_head_per_episode: int
    macs_per_episode: int
    thop_macs_per_episode: int
    counter: str = COUNTER
    thop_note: str = THOP_NOTE


def count_macs(module: nn.Module, *inputs: Any) -> int:
    """MACs of one forward pass in eval mode, counted on a copy: the module and its mode stay as they are.

    Inputs on the meta device are counted by shape alone, without arithmetic or memory; modules that read values
    (labels, for example) need real inputs. Element-wise work (norms, activations, pooling) is not counted.
    """
    on_meta = any(isinstance(value, Tensor) and value.is_meta for value in inputs)
    counted = _meta_copy(module) if on_meta else copy.deepcopy(module)
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    with torch.no_grad(), _attention_by_parts(), counter:
        counted.eval()(*inputs)
    return counter.get_total_flops() // 2


def episode_cost(student: FewShotStudent, *, way: int, shot: int, query: int, image_size: int) -> EpisodeCost:
    """Cost of a student on one test episode at square images of image_size pixels. Raises UserError."""
    return _cost(student.encoder, student.head, _Episode(way, shot, query, student.frames, image_size))


def teacher_cost(
    encoders: list[TokenEncoder],
    mfm: MFM,
    head: Head,
    *,
    frames: int,
    way: int,
    shot: int,
    query: int,
    image_size: int,
) -> EpisodeCost:
    """Cost of a fused teacher on one test episode; the experts that derive depth, flow or joints are not in it.

    encoders: one a modality, in the order of the fusion, one branch each. Raises UserError when they do not fit.
    """
    if len(encoders) != mfm.modalities or any(len(e.branches) != 1 for e in encoders):
        raise UserError(f"the fusion joins {mfm.modalities} modalities: give one single-branch encoder for each")
    return _cost(_Teacher(encoders, mfm, frames), head, _Episode(way, shot, query, frames, image_size))


def thop_gmacs(student: FewShotStudent, way: int, shot: int, query: int, image_size: int) -> float:
    """GMACs of one test episode as Lite-MKD published them (there called FLOPs).

    thop.profile over the released formulation: one encoder pass over the way * shot support videos and one over
    the way * query others, then one head pass per branch. For TRX that is ``PublishedTRX``; other heads are profiled
    as they are. thop hooks modules: a convolution or linear map counts its MACs, an affine batch or layer norm 4
    an element, a softmax of n entries 3 n - 1, adaptive average pooling its additions, max pooling, ReLU and
    dropout nothing. Functional matmuls (the attention itself) and distances are not seen.
    """
    episode = _Episode(way, shot, query, student.frames, image_size)
    return _thop_macs(student.encoder, student.head, episode) / 1e9


class PublishedTRX(nn.Module):
    """TRX as released: frame tuples concatenated, then one linear map for keys and one for values.

    Same weights and same logits as the decomposed head, more work: what the published counts are counts of.
    The support stands class by class, equal shots.
    """

    def __init__(self, head: TRX) -> None:
        super().__init__()
        self.matchers = head.matchers
        self.dropout = head.dropout
        self.softmax = nn.Softmax(dim=-1)
        self.register_buffer("encoding", head.encoding, persistent=False)
        self.encoding: Tensor

    def forward(self, support: Tensor, query: Tensor, way: int) -> Tensor:
        """Tokens (way * shot, T, D) and (Q, T, D) -> logits (Q, way)."""
        support = self.dropout(support + self.encoding)
        query = self.dropout(query + self.encoding)
        scores = [self._one_size(cast(TupleMatcher, m), support, query, way) for m in self.matchers]
        return torch.stack(scores).mean(0)

    def _one_size(self, matcher: TupleMatcher, support: Tensor, query: Tensor, way: int) -> Tensor:
        support_keys, support_values = self._keys(matcher, support)
        query_keys, query_values = self._keys(matcher, query)
        logits = []
        for keys, values in zip(support_keys.chunk(way), support_values.chunk(way), strict=True):
            keys, values = keys.flatten(0, 1), values.flatten(0, 1)  # (shot * P, h)
            attention = self.softmax(query_keys @ keys.T / keys.shape[-1] ** 0.5)
            logits.append(-(query_values - attention @ values).square().sum((1, 2)) / query_keys.shape[1])
        return torch.stack(logits, dim=1)

    @staticmethod
    def _keys(matcher: TupleMatcher, tokens: Tensor) -> tuple[Tensor, Tensor]:
        tuples = combinations(range(tokens.shape[1]), matcher.tuple_size)
        joined = torch.stack([tokens[:, list(t)].flatten(1) for t in tuples], dim=1)  # (N, P, size * D)
        return matcher.norm_k(matcher.k_linear(joined)), matcher.v_linear(joined)


class Latency(NamedTuple):
    """Median wall time in milliseconds, torch threads, and the 1-minute load average when timing began."""

    p50_ms: float
    threads: int
    load: float


def latency_p50(fn: Callable[[], object], repeats: int = 20, warmup: int = 3) -> Latency:
    """Median time of fn() on the CPU at torch's present thread count; a load near or above the threads spoils it."""
    if repeats < 1 or warmup < 0:
        raise UserError(f"timing needs at least one repeat and no negative warm-up, not {repeats} and {warmup}")
    load = psutil.getloadavg()[0]
    for _ in range(warmup):
        fn()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        fn()
        times.append(time.perf_counter() - start)
    middle = sorted(times)[(repeats - 1) // 2 : repeats // 2 + 1]
    return Latency(1e3 * sum(middle) / len(middle), torch.get_num_threads(), load)


def student_latency(student: FewShotStudent, image_size: int, repeats: int = 20) -> Latency:
    """Latency of encoding one video (its frames, all branches) on the CPU, in float32 and eval mode."""
    encoder = copy.deepcopy(student.encoder).to("cpu", torch.float32).eval()
    frames = torch.full_like(_Episode(1, 1, 1, student.frames, image_size).pixels(1), 0.5, device="cpu")
    with torch.inference_mode():
        return latency_p50(lambda: encoder(frames), repeats)


def peak_memory_mib(device: torch.device | None = None) -> float:
    """MiB at most held so far: torch's allocator on a CUDA device, else the resident set of this process."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


@dataclass(frozen=True)
class _Episode:
    """The size of one test episode."""

    way: int
    shot: int
    query: int
    frames: int
    image_size: int

    def __post_init__(self) -> None:
        for name, least in (("way", 1), ("shot", 1), ("query", 1), ("frames", 1), ("image_size", 32)):
            if getattr(self, name) < least:
                raise UserError(f"an episode with {name} {getattr(self, name)} has no cost; use {least} or more")

    def pixels(self, videos: int) -> Tensor:
        """Frames of so many videos, as shapes only."""
        return torch.empty(videos * self.frames, 3, self.image_size, self.image_size, device="meta")

    @torch.no_grad()
    def head_inputs(self, encoder: nn.Module) -> list[tuple[Tensor, Tensor, Tensor, int]]:
        """Support tokens, labels, query tokens and way for each branch of the encoder."""
        support, query = self.way * self.shot, self.way * self.query
        labels = torch.arange(self.way).repeat_interleave(self.shot)
        widths = [tokens.shape[-1] for tokens in _meta_copy(encoder).eval()(self.pixels(1)).values()]
        return [
            (torch.zeros(support, self.frames, w), labels, torch.zeros(query, self.frames, w), self.way) for w in widths
        ]


class _Teacher(nn.Module):
    """Encoders and fusion as one module: frames (N * T, 3, H, W) serve every modality, all have that shape."""

    def __init__(self, encoders: list[TokenEncoder], mfm: MFM, frames: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.mfm = mfm
        self.frames = frames

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        streams = [t.unflatten(0, (-1, self.frames)) for e in self.encoders for t in e(frames).values()]
        return {"fused": self.mfm(torch.stack(streams)).flatten(0, 1)}


class _PublishedEpisode(nn.Module):
    """Plain support pass, plain query pass, one head pass per branch."""

    def __init__(self, encoder: nn.Module, head: PublishedTRX, frames: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.frames = frames

    def forward(self, support: Tensor, query: Tensor, way: int) -> None:
        support_tokens, query_tokens = self.encoder(support), self.encoder(query)
        for name in support_tokens:
            clips = [tokens[name].unflatten(0, (-1, self.frames)) for tokens in (support_tokens, query_tokens)]
            self.head(*clips, way)


def _cost(encoder: nn.Module, head: Head, episode: _Episode) -> EpisodeCost:
    per_video = count_macs(encoder, episode.pixels(1))
    backbone = per_video * episode.way * (episode.shot + episode.query)  # exact: eval mode, videos are independent
    on_cpu = copy.deepcopy(head).to("cpu", torch.float32)
    matching = sum(count_macs(on_cpu, *inputs) for inputs in episode.head_inputs(encoder))
    return EpisodeCost(
        parameters=sum(p.numel() for module in (encoder, head) for p in module.parameters()),
        macs_per_video=per_video,
        macs_backbone_per_episode=backbone,
        macs_head_per_episode=matching,
        macs_per_episode=backbone + matching,
        thop_macs_per_episode=round(_thop_macs(encoder, head, episode)),
    )


def _thop_macs(encoder: nn.Module, head: Head, episode: _Episode) -> float:
    passes = [episode.pixels(episode.way * videos) for videos in (episode.shot, episode.query)]
    if isinstance(head, TRX):
        return _profile(_PublishedEpisode(encoder, PublishedTRX(head), episode.frames), *passes, episode.way)
    on_cpu = copy.deepcopy(head).to("cpu", torch.float32)
    heads = sum(_profile(on_cpu, *inputs) for inputs in episode.head_inputs(encoder))
    return heads + sum(_profile(encoder, pixels) for pixels in passes)


def _profile(module: nn.Module, *inputs: Any) -> float:
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
