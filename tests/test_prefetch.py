"""Prefetching: the same values as without, in the background, with errors in their place and no thread left."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fewdistill.benchmark.evaluation.matching import no_tick
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.benchmark.suite.sections import TrainConfig
from fewdistill.benchmark.training.loop import Plan, fit
from fewdistill.benchmark.training.prefetch import Prefetcher


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(asked=st.lists(st.integers(0, 12), max_size=12), stop=st.integers(0, 12))
def test_whatever_is_asked_for_comes_back(asked: list[int], stop: int) -> None:
    with Prefetcher(lambda index: index * index, stop) as squares:
        assert [squares(index) for index in asked] == [index * index for index in asked]
    assert not threads()


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize(("first", "stride"), [(0, 1), (5, 1), (3, 2)])
def test_two_coming_indices_are_prepared_and_no_more(first: int, stride: int) -> None:
    prepared: list[int] = []
    with Prefetcher(lambda index: prepared.append(index), 12) as work:
        work(first)
        work(first + stride)
        wait_for(lambda: {first + 2 * stride, first + 3 * stride} <= set(prepared))  # nobody has asked for them yet
        time.sleep(0.02)
        assert max(prepared) == first + 3 * stride and min(prepared) == first
        for index in range(first + 2 * stride, 12, stride):
            work(index)
    assert set(range(first, 12, stride)) <= set(prepared) and max(prepared) < 12
    assert len(prepared) == len(set(prepared))


def test_an_error_comes_in_the_step_it_belongs_to() -> None:
    class Broken(Exception):
        pass

    def prepare(index: int) -> int:
        if index == 2:
            raise Broken("clip 2")
        return index

    with pytest.raises(Broken, match="clip 2"), Prefetcher(prepare, 9) as work:
        assert [work(0), work(1)] == [0, 1]
        work(2)
    assert not threads()
    with Prefetcher(prepare, 9) as work:  # foreseen and never asked for: it never happened
        assert [work(0), work(1), work(3)] == [0, 1, 3]


def test_ctrl_c_leaves_no_thread() -> None:
    begun = threading.Event()

    def prepare(index: int) -> int:
        begun.set()
        time.sleep(0.05)
        return index

    with pytest.raises(KeyboardInterrupt), Prefetcher(prepare, 100) as work:
        work(0)
        begun.clear()
        assert threads() and begun.wait(20)
        raise KeyboardInterrupt
    assert not threads()


def test_training_is_the_same_to_the_bit_and_resumes_so(tmp_path: Path) -> None:
    def pixels(step: int) -> torch.Tensor:
        return torch.from_numpy(generator(3, "pixels", step).random((8, 6), np.float32))

    def trained(name: str, ahead: bool, stop_at: int | None = None) -> dict[str, torch.Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.3), nn.Linear(16, 3))
        batches = Prefetcher(pixels, 12)

        def loss(step: int, micro: int) -> dict[str, torch.Tensor]:
            return {"loss": net((batches if ahead else pixels)(step)).square().mean()}

        def tick(done: int, total: int) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        plan = Plan(TrainConfig(lr=0.01), 12, 3, "test", loss, save_seconds=0)
        with batches:
            fit(net, plan, tmp_path / name, torch.device("cpu"), tick if stop_at else no_tick)
        return net.state_dict()

    plain = trained("plain.pt", ahead=False)
    ahead = trained("ahead.pt", ahead=True)
    with pytest.raises(KeyboardInterrupt):
        trained("stopped.pt", ahead=True, stop_at=5)
    resumed = trained("stopped.pt", ahead=True)
    for name, value in plain.items():
        assert torch.equal(value, ahead[name]) and torch.equal(value, resumed[name]), name
    assert not threads()
