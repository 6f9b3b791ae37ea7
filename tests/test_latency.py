"""Wall time and peak memory as they are measured."""

import math

import pytest
import torch

from fewdistill.benchmark.cost.latency import Latency, latency_p50, student_latency
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.machine import peak_memory_mib
from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.heads.trx import TRX


def test_latency_is_the_median_after_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = iter([0, 0.001, 0, 0.009, 0, 0.002, 0, 0.004]), []
    monkeypatch.setattr("fewdistill.benchmark.cost.latency.time.perf_counter", lambda: next(clock))
    timed = latency_p50(lambda: calls.append(1), repeats=4, warmup=2)
    assert timed.p50_ms == pytest.approx(3.0) and len(calls) == 6
    with pytest.raises(UserError, match="repeat"):
        latency_p50(lambda: None, repeats=0)


def test_student_latency_is_measured_with_threads_and_load() -> None:
    network = FewShotStudent(TokenEncoder("resnet18", 16), TRX(16, 2, head_width=8), 2).train()
    timed = student_latency(network, 32, repeats=3)
    assert isinstance(timed, Latency) and 0 < timed.p50_ms < 60_000 and math.isfinite(timed.load)
    assert timed.threads == torch.get_num_threads()
    assert network.training and network.encoder.training


def test_peak_memory_covers_what_was_held() -> None:
    held = torch.ones(64 * 2**20, dtype=torch.uint8)
    assert peak_memory_mib() > held.numel() / 2**20
