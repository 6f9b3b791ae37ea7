"""The command that makes a record again."""

import shlex
from itertools import product
from pathlib import Path

import pytest

from fewdistill.benchmark.api import load_suite
from fewdistill.benchmark.protocols.episodic.cells import NO_DISTILLATION, TEACHER, row_name
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.results.records.bundle import open_records
from fewdistill.results.records.reproduce import command, has_command
from tests.results import made


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (["fewdistill", "run", "lite"], "fewdistill run lite --only 'resnet18/d2m/s3'"),
        (
            ["fewdistill", "run", "--runs", "/r", "my.toml", "--set", "seeds=[3,4]", "--only", "x/*", "--set=a.b=1",
             "--overwrite", "--device", "cuda", "--engine=ray", "--compile"],
            "fewdistill run my.toml --set 'seeds=[3,4]' --set=a.b=1 --device cuda --compile --only 'resnet18/d2m/s3'",
        ),
        (["fewdistill", "demo"], "fewdistill run lite --only 'resnet18/d2m/s3'"),
        (None, "fewdistill run lite --only 'resnet18/d2m/s3'"),
    ],
)  # fmt: skip
def test_the_command_keeps_what_changes_the_numbers(argv: list[str] | None, wanted: str) -> None:
    record, _ = made.finished(made.student(distillation="d2m", seed=3), 0.5)
    record = record.model_copy(update={"provenance": {"argv": argv} if argv else {}})
    assert command(record) == wanted and has_command(record) is bool(argv)
    many = record.model_copy(update={"provenance": {"argv": argv or [], "processes": 2, "row": "teacher/-/s0@odd"}})
    assert command(many).startswith("torchrun --nproc-per-node 2 -m fewdistill run ")
    assert command(many).endswith(" --only 'teacher/-/s0@odd'")
    hostile = "x'; touch PWNED; echo '"
    odd = record.model_copy(update={"provenance": {"argv": argv or [], "row": hostile}})
    assert shlex.split(command(odd))[-2:] == ["--only", hostile], "a record puts no command into anybody's shell"


def row_names(suite: Suite) -> set[str]:
    """Names of all rows of a suite, whose data need not be there."""
    return {
        row_name(model, setting, seed, variant)
        for variant, version in suite.versions()
        for seed in version.seeds
        for model, setting in [(TEACHER, NO_DISTILLATION), *product(version.students, version.distillation)]
    }


def test_the_commands_of_the_reference_records_name_rows_of_their_suites() -> None:
    names: dict[tuple[str, ...], set[str]] = {}
    for folder in ("demo", "embedded", "ablation"):
        for record in open_records(Path(made.__file__).parents[2] / "results/reference" / folder).all():
            words = shlex.split(command(record))
            assert words[:2] == ["fewdistill", "run"] and has_command(record)
            settings = tuple(words[at + 1] for at, word in enumerate(words) if word == "--set")
            if (words[2], *settings) not in names:
                suite = load_suite(words[2], settings)
                assert isinstance(suite, Suite)
                names[words[2], *settings] = row_names(suite)
            assert words[-1] in names[words[2], *settings]
