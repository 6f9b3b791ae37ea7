"""Two processes that meet over gloo: failures known to both, gradients and batches that add up to those of one."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.gloo_pair import divide, divided, divided_micro_steps, network, take_part

pytestmark = pytest.mark.slow


def told_by_two(target: Callable[..., None], folder: Path) -> dict[int, Any]:
    """What each of two processes tells, by rank."""
    spawn = multiprocessing.get_context("spawn")
    told = spawn.Queue()
    processes = [spawn.Process(target=target, args=(rank, str(folder / "meet"), told)) for rank in range(2)]
    for process in processes:
        process.start()
    found = dict(told.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    return found


def test_gradients_add_up_and_a_failure_is_known_to_all(tmp_path: Path) -> None:
    found = told_by_two(take_part, tmp_path)
    for rank in range(2):
        assert found[rank][:4] == [5, [1.0, 1.0, 1.0, 7.0], {"loss": 3.0}, [3.0, 2.0, None]]
        assert found[rank][5] == [0, 1]
    assert found[0][4] == ("ElsewhereError", "process 1: no memory")
    assert found[1][4] == ("RunError", "no memory")
    assert found[0][6] == ("UserError", "no such data")
    assert found[1][6] == ("RunError", "process 1 ends, for process 0 failed: no such data")


def test_divided_batches_and_micro_steps_are_those_of_one_process(tmp_path: Path) -> None:
    found = told_by_two(divide, tmp_path)
    expected = divided(network(), None), divided_micro_steps(network(), None)
    for rank in range(2):
        for ours, single in zip(found[rank], expected, strict=True):
            assert ours.keys() == single.keys()
            for name, value in single.items():
                torch.testing.assert_close(
                    torch.tensor(ours[name], dtype=value.dtype), value, rtol=1e-9, atol=1e-12, msg=name
                )
