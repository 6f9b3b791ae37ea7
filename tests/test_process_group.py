"""Two processes that meet over gloo: failures known to both, gradients and batches that add up to those of one."""

import multiprocessing
import subprocess
import sys
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


ENDS = """
import os
from pathlib import Path
import torch
from fewdistill.benchmark.runtime.process_group import torchrun_group
with torchrun_group("cpu") as group:
    assert group.exchange(group.rank) == [0, 1]
    torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))]).step()
print([name for task in Path("/proc/self/task").iterdir() if "gloo" in (name := (task / "comm").read_text())])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are read from /proc")
def test_no_thread_of_the_group_outlives_it(tmp_path: Path) -> None:
    """One that did made every fourth run under torchrun end by SIGABRT, after its report."""
    (tmp_path / "ends.py").write_text(ENDS)
    command = [Path(sys.executable).with_name("torchrun"), "--nproc-per-node", "2", tmp_path / "ends.py"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert said.split() == ["[]", "[]"]
