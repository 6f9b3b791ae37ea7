"""Every golden file through the test of its kind; see README.md beside this file."""

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden import distillers, heads, lite_mkd, skeletons

HERE = Path(__file__).parent
COPIES = HERE / "copies"
FOLDER = Path(os.environ.get("FEWDISTILL_GOLDEN", HERE.parents[2] / "shared" / "golden"))
KINDS = {
    "trx_student": heads.trx_student,
    "trx_upstream": heads.trx_upstream,
    "edist_cos": heads.edist_cos,
    "strm_blocks": heads.strm_blocks,
    "strm_classifiers": heads.strm_classifiers,
    "distillers": distillers.released,
    "dkd_": distillers.decoupled,
    "mfm_": lite_mkd.fusion,
    "mfm_TSF": lite_mkd.score_fusion,
    "teacher_misc": lite_mkd.teacher_misc,
    "backbone_": lite_mkd.backbone,
    "graph_": skeletons.graphs,
    "ctr_": skeletons.part,
    **{prefix: skeletons.ctr_gcn for prefix in ("ctrgcn_", "dke_gcn_", "light_dke_gcn_")},
    "stgcn_": skeletons.st_gcn,
}
LATER = {  # kinds of parts that do not exist yet
    **{prefix: "the federated methods" for prefix in ("fedstil_", "fsar_")},
}


def golden_files() -> list[Path]:
    return sorted(COPIES.glob("*.npz")) + sorted(FOLDER.rglob("*.npz"))


def kind_of(name: str) -> str | None:
    """The longest kind the file's name begins with, None for a stranger."""
    return max((kind for kind in {**KINDS, **LATER} if name.startswith(kind)), key=len, default=None)


@pytest.mark.parametrize("path", golden_files(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden(path: Path) -> None:
    kind = kind_of(path.name)
    if kind is None:
        pytest.fail(f"{path}: no known kind of golden file; known: {', '.join(sorted({**KINDS, **LATER}))}")
    if kind in LATER:
        pytest.skip(f"kind {kind}: {LATER[kind]}: known, not yet implemented")
    with np.load(path, allow_pickle=False) as arrays:
        meta = json.loads(str(arrays["meta"])) if "meta" in arrays.files else {}
        tensors: dict[str, Tensor] = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "meta"}
    KINDS[kind](SimpleNamespace(name=path.stem, path=path, meta=meta, tensors=tensors))


def test_the_folder_is_read() -> None:
    if not FOLDER.is_dir():
        pytest.skip(f"no folder {FOLDER}: only the project's own copies are tested; name one in FEWDISTILL_GOLDEN")
    assert list(FOLDER.rglob("*.npz")), f"{FOLDER} holds no .npz file: FEWDISTILL_GOLDEN names the wrong folder"


def test_copies_are_those_of_the_readme() -> None:
    readme = (HERE / "README.md").read_text()
    copies = sorted(COPIES.iterdir())
    assert copies
    for path in copies:
        assert f"| {path.name} | {hashlib.sha256(path.read_bytes()).hexdigest()} |" in readme
    assert sum(path.stat().st_size for path in copies) < 500_000


def test_a_stranger_has_no_kind() -> None:
    assert kind_of("quaternion_heads.npz") is None
    assert kind_of("mfm_TSF.npz") == "mfm_TSF"
    assert kind_of("mfm_TwoTRX_1shot.npz") == "mfm_"
