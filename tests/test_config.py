"""Suites: strict, with the line and the remedy in every message."""

from pathlib import Path

import pytest

from fewdistill.benchmark.api import load_suite
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.suite.load import SUITES
from tests.video_suites import video_suite


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_suites_load(path: Path) -> None:
    assert load_suite(path.stem).name == path.stem


def test_unknown_key_names_line_and_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "mine"\n\n[episodic]\nepisode = 3\n')
    with pytest.raises(UserError, match=r"mine\.toml:4: unknown key 'episodic\.episode': did you mean episodes"):
        load_suite(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('students = ["resnet19"]', "unknown backbone 'resnet19': did you mean resnet1"),
        ("[evaluate]\nway = 11", "evaluate.way = 11 is larger than the val split's 8 classes"),
        ("[evaluate]\nway = 40", "larger than"),
        ("[data]\nclips_per_class = 5", r"shot \+ query = 9 is larger than clips_per_class = 5"),
        ("[own.resnet19]\nbase = {epochs = 3}", "unknown backbone 'resnet19': did you mean resnet1"),
        ("[own.resnet18]\nbase = {epochs = -1}", r"own\.resnet18: epochs: .*greater than or equal to 0"),
        ("[own.resnet18]\nbase = {epoch = 1}", r"own\.resnet18: epoch: unknown key"),
        ("[own.resnet18]\nepisodic = {way = 31}", r"own\.resnet18: episodic\.way = 31 is larger than the 30"),
        ("[own.resnet18]\nhead = {width = 31}", r"unknown key 'own\.resnet18\.head'"),
        ("[base]\nepochs = -1", r"mine\.toml:3: base\.epochs: .*greater than or equal to 0"),
        ('[data]\nsource = "folder"', "needs root"),
        ("[head]\ntuple_sizes = [9]", "tuples must fit"),
        ('[base]\ntoken_target = "skeleton"', "'skeleton': choose one of fused, rgb, depth, flow"),
        ('distillation = ["none", "none"]', "each once"),
        ("[teacher.expert.flow]\npreset = 'slow'", "teacher.expert.flow: flow preset 'slow': choose one of ultrafast"),
        ("[teacher.expert.flow]\nbound = 'wide'", "teacher.expert.flow.bound: .*valid number"),
        ("[teacher.expert.flow]\npreste = 'fast'", "teacher.expert.flow.preste: unknown key, known: preset, bound"),
        ("[teacher.expert.flaw]\npreset = 'fast'", "unknown expert 'flaw': did you mean flow"),
        ("[teacher.fusion]\nweights = [1.0]", "fusion.name = 'mfm' does not read weights"),
        ("[switches]\nteacher_head = 'untrained'", "switches.teacher_head: .*'trained' or 'random'"),
        ("[variant.x]\ndata = 1", r"variant\.x: data"),
        ('[variant.""]\nseeds = [0]', "the empty name is the suite itself"),
        ("[episodic]\nshot = 1\n[switches]\nsupport_order = 'as_drawn'", "mixes no classes at episodic.shot = 1"),
        ('weights = "imagenet"\n[base]\nrelation_weight = 1', "base.relation_weight: given weights skip .*set it to 0"),
        ("[variant.x]\nseed = [0]", "variant.x: seed: unknown key"),
        ("[variant.x]\nepisodic = {way = 31}", r"variant.x: episodic\.way = 31 is larger than the 30"),
        ("[variant.x]\nevaluate = {way = 4}", "variant.x: evaluate must stay the suite's"),
        ("[variant.x]\ndata = {frames = 4}", "variant.x: frames must stay the suite's"),
        ('[teacher.fusion]\nname = "mean"\nlayers = 1', "fusion.name = 'mean' does not read layers"),
        ('[teacher.fusion]\nname = "meen"', "unknown fusion 'meen': did you mean mean"),
        ('[teacher.fusion]\nname = "released"', "'released' needs released = one of TwoTRX"),
        ('[teacher.fusion]\nname = "released"\nreleased = "TwoTRX"', "TwoTRX joins 2 modalities, not 3"),
        (
            '[teacher]\nmodalities = ["rgb", "flow"]\nfusion = {name = "released", released = "TwoTRXShuffleTime"}',
            "TwoTRXShuffleTime fuses support and query videos differently",
        ),
        ('[teacher.fusion]\nname = "score"\nweights = [1.0]', "weights: give one for each of rgb, depth, flow"),
        ('[teacher.fusion]\nname = "score"', "token_target = 'fused': choose one of rgb, depth, flow"),
        ("seeds = []", "at least one"),
        ("seeds = [-1]", "seeds.*greater than or equal to 0"),
        ('bf16 = ["resnet-18"]', "unknown backbone 'resnet-18': did you mean resnet18"),
        ('[head]\nname = "hyrsm"\nattention_heads = 3', "attention_heads = 3 does not divide width = 2048"),
        ('[head]\nname = "otamm"', "unknown head 'otamm': did you mean otam"),
        ('[head]\nname = "otam"\ntuple_sizes = [2]', "'otam' does not read tuple_sizes"),
        ("[head]\ntuple_sizes = []", "tuple_sizes.*at least 1"),
        ("[distiller.d2m]\nce_branches = []", r"distiller\.d2m\.ce_branches.*at least 1"),
        ('[distiller.d2m]\nce_branches = ["x"]', r"distiller\.d2m: x"),
        ("[distiller.dkd]\nbetta = 1", r"distiller\.dkd\.betta: unknown key, known: .*beta"),
        ("[distiller.kd]\ntemperature = 0", r"distiller\.kd\.temperature: .*greater than 0"),
        ("[distiller.kdd]\nbeta = 1", "unknown distiller 'kdd': did you mean .*kd"),
        ('distillation = ["none", "token"]', "unknown distiller 'token'"),
        ('distillation = ["none", "tokens+srdd"]', "unknown distiller 'srdd': did you mean srd"),
        ('[distiller.combination]\nreleased = "strm"', r"distiller\.combination: no branch 'pat'"),
        (
            '[distiller.combination]\nreleased = "ce"\nparts = [{loss = "ce", of = "ce"}]',
            r"distiller\.combination: .*not both",
        ),
        ("[distiller.multi_level]\ntemperature = 2.0", r"distiller\.multi_level\.temperature: unknown key"),
        ('[distiller.combination]\nreleased = "fc_3"', "combination: no released loss 'fc_3': did you mean fc_2"),
        ("[own.resnet18]\ndistiller = {kd = {weight = -1}}", r"own\.resnet18: distiller\.kd\.weight"),
        ("[evaluate]\nshots = []", "shots.*at least 1"),
        ("[evaluate]\nshots = [0]", "shots.*greater than or equal to 1"),
        ("[evaluate]\nshots = [1, 1]", "evaluate.shots must hold.*each once"),
        ('[teacher]\nmodalities = ["rgb", "rgb"]', "teacher.modalities must hold.*each once"),
        ('students = ["resnet18", "resnet18"]', "students must hold each once"),
        ('[teacher.expert.joints]\nnetwork = "ctr_gnc"', "unknown skeleton student 'ctr_gnc': did you mean ctr_gcn"),
        ("[teacher.expert.joints]\npeople = 0", r"teacher\.expert\.joints: joints people 0: 1 or more"),
        ("[teacher.own.joint]\nbase = {epochs = 3}", "unknown expert 'joint': did you mean joints"),
        ("[teacher.own.joints]\nbase = {epoch = 3}", r"teacher\.own\.joints: epoch: unknown key"),
        ("[teacher.own.rgb]\nepisodic = {way = 99}", r"teacher\.own\.rgb\.episodic\.way = 99 is larger"),
        ("[data]\nresize = 32", "smaller than the crop"),
        ('weights = "imagenet"\n[episodic]\ntoken_weight = 0', "no stage distils tokens"),
        ("[base]\nepochs = 0\n[episodic]\ntoken_weight = 0", "no stage distils tokens"),
        ("name = 3 4", "not valid TOML"),
    ],
)
def test_impossible_values_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_suite(write(tmp_path, f'name = "mine"\n{text}\n'))


def test_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "mine"\n')
    suite = video_suite(path, ("episodic.episodes=7", 'students=["resnet18"]', "weights=imagenet"))
    assert (suite.episodic.episodes, suite.students, suite.weights) == (7, ("resnet18",), "imagenet")
    with pytest.raises(UserError, match=r"section\.key=value"):
        load_suite(path, ("episodes",))


def test_a_run_may_leave_out_a_student_with_settings_of_its_own() -> None:
    assert video_suite("demo", ('students=["resnet18"]',)).own


def test_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean demo"):
        load_suite("demoo")
