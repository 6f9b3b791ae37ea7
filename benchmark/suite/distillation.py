"""What a suite's distillation settings are called, and the checked distillers behind them.

"none" is labels alone, "tokens" token distillation in base training and episodes, any distiller's name that loss in
the episodes, "tokens+<distiller>" the two together, and "both" is "tokens+d2m".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel

from fewdistill.benchmark.suite.options import checked, chosen
from fewdistill.students import StudentError
from fewdistill.students.backbones import LABEL_BRANCH, QUERY_BRANCH
from fewdistill.students.distill import DISTILLERS, build
from fewdistill.students.distill.base import Distiller
from fewdistill.students.output import EpisodeOutput

TOKENS, BOTH, JOIN = "tokens", "both", "+"


@dataclass(frozen=True)
class Distillation:
    """A setting: whether tokens are distilled, and the name of the episodes' loss."""

    tokens: bool
    distiller: str


def distillation(name: str) -> Distillation:
    """The setting of this name; UnknownNameError when it names no distiller."""
    if name == TOKENS:
        return Distillation(True, "none")
    if name == BOTH:
        return Distillation(True, "d2m")
    first, joined, second = name.partition(JOIN)
    found = Distillation(True, second) if joined and first == TOKENS else Distillation(False, name)
    DISTILLERS[found.distiller]
    return found


def options(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A distiller's options, checked and completed by its defaults, as JSON would hold them.

    Raises ValueError naming the distiller and the key.
    """
    return _checked(name, given).model_dump(mode="json")


def distiller(name: str, given: Mapping[str, Any], width: int) -> Distiller:
    """The distiller of this name with these options, for tokens of ``width``; ValueError as in ``options``."""
    return build(name, width, **chosen(_checked(name, given)))


def dry_run(
    name: str,
    given: Mapping[str, Any],
    width: int,
    *,
    branches: tuple[str, ...] = (QUERY_BRANCH, LABEL_BRANCH),
    frames: int = 2,
    teacher: tuple[int, int] | None = None,
) -> None:
    """Run a distiller on a made-up episode: ValueError when it asks for what there is not.

    branches, width, frames: of the student's tokens; teacher: width and frames of the teacher's, default the student's.
    So nothing trains for an hour to fail on a branch that the students do not have, or on tokens of another shape.
    """
    generator = torch.Generator().manual_seed(0)
    way = 3
    labels = torch.arange(way)

    def episode(branches: tuple[str, ...], width: int, frames: int) -> EpisodeOutput:
        return EpisodeOutput(
            {branch: torch.randn(way, way, generator=generator) for branch in branches},
            torch.randn(way, way - 1, generator=generator),
            {branch: torch.randn(2 * way, frames, width, generator=generator) for branch in branches},
            labels,
            {branch: torch.randn(way, way, generator=generator) for branch in branches},
        )

    try:
        student = episode(branches, width, frames)
        distiller(name, given, width)(student, episode(("fused",), *(teacher or (width, frames))), labels)
    except (StudentError, KeyError) as error:
        raise ValueError(f"distiller.{name}: {error.args[0]}") from error
    except RuntimeError as error:  # torch's, of shapes that do not go together
        raise ValueError(f"distiller.{name}: cannot compare these tokens ({str(error).splitlines()[0]})") from error


def _checked(name: str, given: Mapping[str, Any]) -> BaseModel:
    return checked(f"distiller.{name}", DISTILLERS[name], given, leave=frozenset({"width"}))
