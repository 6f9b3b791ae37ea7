"""The command line: help, one-line errors, exit codes, JSON."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fewdistill.results.records.record import key_of
from fewdistill.results.records.store import RecordStore
from fewdistill.students.backbones import TokenEncoder
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.heads.trx import TRX
from tests.command import MOBILE, TINY, fewdistill, installed, start, succeeded
from tests.shared_runs import stages, until


def test_the_installed_command_says_what_the_other_tests_call(tmp_path: Path) -> None:
    for arguments in (["--help"], ["list", "students", "--json"], ["run", "embeded"]):
        apart, here = installed(*arguments, cwd=tmp_path), fewdistill(*arguments, cwd=tmp_path)
        assert (apart.returncode, apart.stdout, apart.stderr) == (here.returncode, here.stdout, here.stderr)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["run", "--help"], ["demo", "--help"], ["report", "-h"], ["data", "--help"], ["cache", "-h"]],
    ids=" ".join,
)
def test_help(arguments: list[str], tmp_path: Path) -> None:
    result = fewdistill(*arguments, cwd=tmp_path)
    assert "Usage: fewdistill" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["runn"], "No such command"),
        (["run", "embeded"], "did you mean embedded"),
        (["run", "demo", "--set", "episodic.episode=3"], "unknown key 'episodic.episode': did you mean episodes"),
        (["run", "demo", "--set", "evaluate.way=40"], "larger than the val split's 5 classes"),
        (["run", "demo", "--set", 'students=["resnet81"]'], "unknown backbone 'resnet81': did you mean resnet18"),
        (["run", "demo", "--device", "gpu"], "choose auto, cpu or cuda"),
        (["run", "demo", "--set", "data.resize=48"], "smaller than the crop, image_size = 64"),
        (["list", "studens"], "choose one of students"),
        (["data", "check", "nowhere"], "no such folder"),
        (["cache", "ls"], "no such cache"),
        (["report", "nowhere"], "no such folder of records"),
        (["data", "generate", "x", "--size", "5"], "size = 5; it is a whole number from 32"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_clear_message_and_exit_code_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = fewdistill(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("students", "resnet18"), ("skeletons", "ctr_gcn"), ("heads", "trx"), ("distillers", "d2m"),
        ("fusions", "mfm"), ("experts", "joints"), ("layouts", "ntu"), ("suites", "demo"),
    ],
)  # fmt: skip
def test_lists(what: str, name: str, tmp_path: Path) -> None:
    assert name in json.loads(fewdistill("list", what, "--json", cwd=tmp_path).stdout)


def test_cost(tmp_path: Path) -> None:
    asked = ["cost", "--student", "mobilenetv3_small", "--head", "trx", "--head", "protonet", "--image-size", "64"]
    rows = json.loads(fewdistill(*asked, "--json", cwd=tmp_path).stdout)
    assert [row["head"] for row in rows] == ["trx", "protonet"]
    assert rows[0]["macs_per_episode"] > rows[1]["macs_per_episode"] > 0
    shown = succeeded(*asked, cwd=tmp_path)
    assert f"{rows[0]['macs_per_episode'] / 1e9:.3f}" in shown.stdout
    wrong = fewdistill("cost", "--head", "trxx", cwd=tmp_path)
    assert wrong.returncode == 2 and "unknown head 'trxx': did you mean trx" in wrong.stderr
    published = json.loads(fewdistill("cost", "--published", "--json", cwd=tmp_path).stdout)
    assert {round(row["released_thop_gmacs"], 2) for row in published} >= {1023.33, 999.51, 992.59, 454.0, 72.55, 31.03}
    assert all(abs(row["ratio"] - 1) < 1e-3 for row in published)


def generate(cwd: Path, clips: int, train: int, val: int, test: int, *options: str) -> None:
    """A data set of so many clips a class, and classes a split, in the folder ``set``."""
    numbers = {"clips-per-class": clips, "train-classes": train, "val-classes": val, "test-classes": test}
    size = [part for name, number in numbers.items() for part in (f"--{name}", str(number))]
    succeeded("data", "generate", "set", *size, "--workers", "1", "--size", "32", *options, cwd=cwd)


def test_data_generate_check_and_preview(tmp_path: Path) -> None:
    generate(tmp_path, 2, 2, 1, 1)
    good = succeeded("data", "check", "set", "--way", "1", "--shot", "1", cwd=tmp_path)
    assert "no problems" in good.stdout
    succeeded("data", "preview", "set", "--out", "sheet.png", "--classes", "2", cwd=tmp_path)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    jpg = next((tmp_path / "set" / "l8" / "rgb_l8").rglob("*.jpg"))
    jpg.write_bytes(b"")
    bad = fewdistill("data", "check", "set", "--way", "3", "--shot", "5", "--json", cwd=tmp_path)
    problems = json.loads(bad.stdout)
    assert bad.returncode == 2
    assert any(jpg.name in p["path"] + p["message"] for p in problems)
    assert any("2 videos, 6 needed" in p["message"] for p in problems)


def test_a_real_data_set_with_faults_is_refused_before_any_compute(tmp_path: Path) -> None:
    generate(tmp_path, 2, 2, 2, 2)
    text = 'name = "mine"\n[data]\nsource = "folder"\nroot = "set"\nimage_size = 32\n'
    (tmp_path / "mine.toml").write_text(text)
    result = fewdistill("run", "mine.toml", cwd=tmp_path)
    assert result.returncode == 2
    assert "episodic.way = 5 is larger than the train split's 2 classes" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_a_broken_video_is_named_before_any_training(tmp_path: Path) -> None:
    generate(tmp_path, 6, 4, 3, 3, "--frames", "4")
    depth = sorted((tmp_path / "set" / "l8" / "depth_l8").rglob("*.png"))[5]
    depth.write_bytes(depth.read_bytes()[:40])
    frame = sorted((tmp_path / "set" / "l8" / "rgb_l8").rglob("*.jpg"))[-1]
    frame.write_bytes(b"")
    text = TINY.replace("[data]", '[data]\nsource = "folder"\nroot = "set"')
    (tmp_path / "mine.toml").write_text(text)
    result = fewdistill("run", "mine.toml", cwd=tmp_path)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert depth.name in result.stderr and frame.name in result.stderr
    assert not (tmp_path / "runs" / "tiny" / "stages").exists()


def finished(cwd: Path, kind: str) -> list[dict[str, Any]]:
    """What the finished stages of the tiny suite wrote."""
    return [done for name, done in stages(cwd / "runs" / "tiny").items() if name.startswith(f"{kind}-")]


@pytest.mark.slow
def test_another_head_fusion_and_backbone_run_through_the_chain(tmp_path: Path) -> None:
    text = TINY.replace("[head]\nwidth = 8", '[head]\nname = "otam"')
    text = text.replace('students = ["pico"]', 'students = ["timm/mobilenetv3_small_050"]')
    text = text.replace("layers = 1, feedforward = 16,", 'name = "mean",')  # otam and mean: a teacher without weights
    (tmp_path / "tiny.toml").write_text(text)
    succeeded("run", "tiny.toml", "--no-report", cwd=tmp_path)
    results, problems = RecordStore(tmp_path / "runs" / "tiny" / "records").scan()
    assert not problems and {result.record.cell.head for result in results} == {"otam"}
    for result in results:
        record, videos, support, query = result.record, result.videos, result.support, result.query
        assert record.metrics is not None and record.cost is not None and result.predicted is not None
        assert videos is not None and support is not None and query is not None and result.class_names is not None
        assert result.query_class is not None
        names = [Path(video).parts[0] for video in videos[query].ravel()]  # a video's id begins with its class
        assert names == list(result.class_names[result.query_class].ravel())
        assert not any(set(drawn) & set(asked) for drawn, asked in zip(support, query, strict=True))
        assert record.cost.bytes is not None and record.cost.parameters is not None
        assert record.cost.bytes >= 4 * record.cost.parameters
        assert key_of(record.settings["trained"]) == record.identity["trained"]
        if record.cell.role == "student":
            assert key_of(record.settings["base"]) == record.settings["trained"]["base"]
        encoders = [key_of(found) for name, found in record.settings.items() if name.startswith("encoder ")]
        if record.cell.distillation in ("-", "both"):
            trained = record.settings["trained" if record.cell.role == "teacher" else "teacher"]
            assert sorted(encoders) == sorted(trained["encoders"])


@pytest.mark.slow
def test_any_distiller_runs_through_the_chain(tmp_path: Path) -> None:
    settings = ["dkd", "tokens+fitnet", "multi_teacher", "mutual"]
    text = TINY.replace('["none", "both"]', json.dumps(settings)) + "\n[distiller.dkd]\nbeta = 2.0\n"
    text = text.replace('["rgb", "depth", "flow", "skeleton"]', '["rgb", "skeleton"]')
    (tmp_path / "tiny.toml").write_text(text)
    succeeded("run", "tiny.toml", "--no-report", cwd=tmp_path)
    records = RecordStore(tmp_path / "runs" / "tiny" / "records").all()
    assert {r.cell.distillation for r in records if r.metrics and r.cell.role == "student"} == set(settings)
    parts = [{key for point in stage["curve"] for key in point} for stage in finished(tmp_path, "student")]
    for expected in ({"target", "non_target"}, {"feature", "tokens"}, {"streams"}, {"mutual"}):
        assert any(expected <= found for found in parts), expected


def losses_of(curve: list[dict[str, float]]) -> list[float]:
    return [point["loss"] for point in curve if "loss" in point]


@pytest.mark.slow
def test_variants_and_switches_run_through_the_chain(tmp_path: Path) -> None:
    text = TINY.replace('["none", "both"]', '["d2m"]').replace(
        '["rgb", "depth", "flow", "skeleton"]', '["rgb", "skeleton"]'
    )
    variants = {
        "random-head": 'switches = {teacher_head = "random"}',
        "train-mode": 'switches = {teacher_mode = "train"}',
        "drawn": 'switches = {support_order = "as_drawn"}',
        "shift": 'teacher = {fusion = {flow_shift = "extract_only"}}',
        "skeleton": 'teacher = {modalities = ["skeleton"]}\nbase = {relation_weight = 1}',
    }
    (tmp_path / "tiny.toml").write_text(text + "".join(f"\n[variant.{k}]\n{v}\n" for k, v in variants.items()))
    own = "teacher/*@drawn"  # is the suite's
    first = succeeded("run", "tiny.toml", "--no-report", "--only", own, cwd=tmp_path)
    assert "[1/1] teacher/-/s0\n" in first.stderr
    succeeded("run", "tiny.toml", cwd=tmp_path)
    store = RecordStore(tmp_path / "runs" / "tiny" / "records")
    of = {(r.cell.role, r.cell.variant): store.arrays(r.key)["correct"] for r in store.all() if r.cell.shot == 2}
    assert {variant for role, variant in of if role == "student"} == {"", *variants}
    assert {variant for role, variant in of if role == "teacher"} == {"", "shift", "skeleton"}  # or the suite's
    default = ("trained", "eval", "by_label")
    losses: dict[tuple[str, ...], list[list[float]]] = {}
    for stage in finished(tmp_path, "student"):
        losses.setdefault(tuple(stage["identity"]["switches"].values()), []).append(losses_of(stage["base_curve"]))
    for switched in (("random", "eval", "by_label"), ("trained", "train", "by_label"), ("trained", "eval", "as_drawn")):
        [found] = losses[switched]
        assert found not in losses[default], f"{switched} changed nothing"
    shifts = [losses_of(s["curve"]) for s in finished(tmp_path, "fusion") if len(s["identity"]["encoders"]) == 2]
    assert len(shifts) == 2 and shifts[0] != shifts[1], "flow_shift changed nothing"
    gains = (tmp_path / "runs" / "tiny" / "report" / "tables" / "gains.md").read_text()
    assert all(f"| {name} |" in gains for name in variants)
    file = tmp_path / "tiny.toml"
    file.write_text(file.read_text().replace("[variant.drawn]", "[variant.mixed]"))
    again = succeeded("run", "tiny.toml", "--no-report", "--only", "*@*", cwd=tmp_path)
    assert "[1/" not in again.stderr
    assert {record.cell.variant for record in store.all()} == {"", "mixed", *variants} - {"drawn"}
    unknown = fewdistill("run", "tiny.toml", "--only", "*@random", cwd=tmp_path)
    assert unknown.returncode == 2 and "pico/d2m/s0@random-head" in unknown.stderr


@pytest.mark.slow
def test_a_released_student_is_imported_and_scored(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = FewShotStudent(TokenEncoder("mobilenetv3_small", 16), TRX(16, 4, head_width=8), 4)
    names = {"encoder.trunk.": "mobile.0.", "encoder.branches.kl.": "fc1.", "encoder.branches.ce.": "fc2."}
    names["head.matchers.0."] = "module.transformers."
    state = {"transformers.pe.pe": torch.zeros(1, 12, 16), "extra.weight": torch.zeros(1)}
    for key, value in student.state_dict().items():
        ours = next(name for name in names if key.startswith(name))
        state[names[ours] + key.removeprefix(ours)] = value
    torch.save({"iteration": 10, "model_state_dict": state}, tmp_path / "released.pt")
    shown = succeeded("import-checkpoint", "released.pt", cwd=tmp_path)
    assert "extra.weight" in shown.stdout and "2 left over, 1 of them not known" in shown.stdout
    asked = ["--json", "--out", "x.safetensors"]
    told = json.loads(fewdistill("import-checkpoint", "released.pt", *asked, cwd=tmp_path).stdout)
    assert told["backbone"] == "mobilenetv3_small" and told["mapped"]["fc1.weight"] == "encoder.branches.kl.weight"

    (tmp_path / "tiny.toml").write_text(MOBILE.replace('["none", "both"]', '["none"]'))
    as_is = fewdistill("run", "tiny.toml", "--only", "mobile*", "--set", "weights=x.safetensors", cwd=tmp_path)
    assert as_is.returncode == 2 and "set token_norm = false and data.input_norm" in as_is.stderr
    changes = ("token_norm=false", "data.input_norm=none", "episodic.episodes=0", "episodic.adapt_episodes=0")
    frozen = ["--no-report", *(part for each in (*changes, "weights=x.safetensors") for part in ("--set", each))]
    succeeded("run", "tiny.toml", "--only", "mobile*", *frozen, cwd=tmp_path)
    [stage] = (tmp_path / "runs" / "tiny" / "stages").glob("student-*")
    kept = load_file(stage / "weights.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in student.named_parameters())

    wide = fewdistill("run", "tiny.toml", "--only", "mobile*", *frozen, "--set", "width=8", cwd=tmp_path)
    assert wide.returncode == 2 and "is (16, 576) in the imported weights, (8, 576) here" in wide.stderr
    torch.save({"code": Path}, tmp_path / "unsafe.pt")
    unsafe = fewdistill("import-checkpoint", "unsafe.pt", cwd=tmp_path)
    assert unsafe.returncode == 2 and "loads safely" in unsafe.stderr
    ending = fewdistill("import-checkpoint", "released.pt", "--out", "x.pt", cwd=tmp_path)
    assert ending.returncode == 2 and "give it the ending .safetensors" in ending.stderr


@pytest.mark.slow
def test_ctrl_c_says_so(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    first = start("run", "tiny.toml", cwd=tmp_path)
    until(lambda: list(tmp_path.glob("runs/tiny/locks/*/.run.json")), first)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "goes on from there" in said and "Traceback" not in said
