"""Settings that several stages of episodes are named by. Device, workers and paths are never among them."""

from typing import Any

from fewdistill.benchmark.suite.registry import code_of
from fewdistill.benchmark.suite.sections import EvaluateConfig, HeadConfig


def selection_settings(evaluate: EvaluateConfig) -> dict[str, Any]:
    """How weights are selected: by which frozen episodes."""
    keep = {"val_shot", "query", "val_episodes", "seed"}
    return {
        "split": "val",
        "rule": "highest validation accuracy",
        "way": evaluate.way_of("val"),
        **evaluate.model_dump(mode="json", include=keep),
    }


def head_settings(config: HeadConfig) -> dict[str, Any]:
    """The head's name and the settings it reads."""
    return {"name": config.name, **config.options(), **code_of("heads", config.name)}
