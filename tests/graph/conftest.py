from pathlib import Path

import pytest
import torch

from fewdistill.benchmark.context import RunContext
from fewdistill.feature_cache import Store


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return RunContext(tmp_path / "runs" / "lite", Store(tmp_path / "cache"), torch.device("cpu"))
