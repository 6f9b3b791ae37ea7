"""Numbers of every kind of stage, held against golden ones: who changes them raises the kind's version."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.graph.stage_outcomes import GOLDEN, outcomes


@pytest.mark.slow
def test_numbers_change_with_their_version_alone(tmp_path: Path) -> None:
    golden, found = json.loads(GOLDEN.read_text()), outcomes(tmp_path)
    assert found.keys() == golden.keys()
    for kind, now in found.items():
        then = golden[kind]
        raised = now["version"] > then["version"]
        # what was scored after a whole training drifts by more than its first steps, from processor to processor
        same = all(
            np.allclose(now[name], then[name], rtol=0.1 if name == "log nll" else 5e-3, atol=1e-4)
            for name in now.keys() - {"version"}
        )
        assert not raised, f"{kind}: version {now['version']}: record its numbers, python -m tests.graph.stage_outcomes"
        assert same, f"{kind}: {now} where version {then['version']} gave {then}: raise the version of this kind"
