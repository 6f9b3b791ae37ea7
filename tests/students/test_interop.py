"""Released state_dicts, made from our own modules under the released names, come back as they were."""

import pytest
import torch
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH, TokenEncoder
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.heads.mean_token import EDist
from fewdistill.students.heads.trx import TRX
from fewdistill.students.interop import UNKNOWN, fill_student, import_state

WIDTH, FRAMES = 16, 4
TRX_NAMES = {"head.matchers.0.": "transformers.0.", "head.matchers.1.": "transformers.1."}
STUDENT = {
    "encoder.trunk.": "resnet.",
    f"encoder.branches.{QUERY_BRANCH}.": "fc1.",
    f"encoder.branches.{LABEL_BRANCH}.": "fc2.",
    **TRX_NAMES,
}


def student(seed: int, backbone: str = "resnet18", *, sizes: tuple[int, ...] = (2,)) -> FewShotStudent:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = TRX(WIDTH, FRAMES, tuple_sizes=sizes, head_width=8)
        return FewShotStudent(TokenEncoder(backbone, WIDTH), head, FRAMES).eval()


def released(module: torch.nn.Module, names: dict[str, str], wrapped: str = "") -> dict[str, Tensor]:
    """Our state under released names, with what the released modules keep beside it."""
    state: dict[str, Tensor] = {"transformers.0.pe.pe": torch.zeros(1, 12, WIDTH)}
    for key, value in module.state_dict().items():
        ours = next(name for name in names if key.startswith(name))
        state[wrapped + names[ours] + key.removeprefix(ours)] = value
    state |= {"transformers.0.norm_v.weight": torch.ones(8), "transformers.0.norm_v.bias": torch.zeros(8)}
    return state


@pytest.mark.parametrize(
    ("backbone", "trunk"), [("resnet18", "resnet."), ("mobilenetv3_small", "mobile.0."), ("resnet50", "module.resnet.")]
)
def test_a_student_comes_back(backbone: str, trunk: str) -> None:
    original, other = student(0, backbone, sizes=(2, 3)), student(1, backbone, sizes=(2, 3))
    state = released(original, {**STUDENT, "encoder.trunk.": trunk}, wrapped="backbone.module.")
    imported = import_state(state)
    assert imported.backbone == backbone
    assert {why.split()[0] for why in imported.left.values()} == {"a", "never"} and len(imported.left) == 3
    assert len(imported.mapped) + len(imported.left) == len(state)
    fill_student(other, imported.state)
    assert all(torch.equal(value, original.state_dict()[key]) for key, value in other.state_dict().items())


def test_a_trunk_with_its_layers_named() -> None:
    original = student(0)
    places = dict(enumerate(("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")))
    state = {}
    for key, value in released(original, STUDENT).items():
        head, _, rest = key.removeprefix("resnet.").partition(".")
        state[f"resnet.{places[int(head)]}.{rest}" if key.startswith("resnet.") else key] = value
    imported = import_state(state)
    assert imported.backbone == "resnet18"
    assert all(torch.equal(value, original.state_dict()[key]) for key, value in imported.state.items())


def test_one_linear_map_is_the_label_branch() -> None:
    imported = import_state({**released(student(0), STUDENT), "fc.weight": torch.ones(2, 2)})
    assert imported.left["fc.weight"] == f"a second encoder.branches.{LABEL_BRANCH}.weight"


def test_what_the_network_does_not_use_is_left_with_the_reason() -> None:
    unused = {
        "attn_pat.query_proj.weight": torch.ones(2),
        "attn_pat.gamma": torch.ones(1),
        "fr_enrich.Tok_MLP.inp_fc.weight": torch.ones(2),
        "fr_enrich.Bot_MLP.out_fc.bias": torch.ones(2),
        "new_dist_loss_post_pat.clsW.weight": torch.ones(2),
        "mystery.weight": torch.ones(2),
        "mystery.gamma": torch.ones(1),
    }
    imported = import_state(released(student(0), STUDENT) | unused)
    assert {imported.left[key] for key in list(unused)[:-2]} == {"built, but not used by this network"}
    assert imported.left["mystery.weight"] == imported.left["mystery.gamma"] == UNKNOWN


def test_what_a_checkpoint_never_saved_is_named() -> None:
    state = {key: value for key, value in released(student(0), STUDENT).items() if key != "fc1.bias"}
    with pytest.raises(StudentError, match=rf"have no encoder\.branches\.{QUERY_BRANCH}\.bias"):
        fill_student(student(1), import_state(state).state)


def test_a_student_without_a_head_of_its_own_keeps_the_suites() -> None:
    state = {key: value for key, value in released(student(0), STUDENT).items() if not key.startswith("transformers")}
    other = student(1)
    before = other.head.state_dict()["matchers.0.k_linear.weight"].clone()
    fill_student(other, import_state(state).state)
    assert torch.equal(other.head.state_dict()["matchers.0.k_linear.weight"], before)
    assert torch.equal(other.encoder.state_dict()["trunk.0.weight"], state["resnet.0.weight"])


def test_what_does_not_fit_is_named() -> None:
    state = import_state(released(student(0), STUDENT)).state
    with pytest.raises(StudentError, match=r"encoder\.trunk.* in the imported weights|have no encoder\.trunk"):
        fill_student(student(0, "resnet50"), state)
    with pytest.raises(StudentError, match=r"head\.matchers\.1"):
        fill_student(student(0, sizes=(2, 3)), state)
    headless = FewShotStudent(TokenEncoder("resnet18", WIDTH), EDist(WIDTH, FRAMES), FRAMES)
    with pytest.raises(StudentError, match=r"imported weights have head\.matchers"):
        fill_student(headless, state)


def test_other_files_are_refused() -> None:
    with pytest.raises(StudentError, match="no key of a released Lite-MKD student"):
        import_state({"a.weight": torch.ones(1)})
    with pytest.raises(StudentError, match="none of mobilenetv3_large, "):
        import_state({"resnet.0.weight": torch.ones(1)})
