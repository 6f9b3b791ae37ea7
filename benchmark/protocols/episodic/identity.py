"""What makes two runs the same run: an allow-list of settings, hashed. Device, workers and paths stay outside."""

from typing import Any

from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.suite.distillation import distillation as parse
from fewdistill.benchmark.suite.distillation import options
from fewdistill.benchmark.suite.registry import code_of
from fewdistill.benchmark.suite.sections import EvaluateConfig, FusionConfig, HeadConfig
from fewdistill.benchmark.training.initial_weights import weights_identity

VERSION = 1


def data(suite: Suite, content_hash: str) -> dict[str, Any]:
    """The clips a network sees: file contents and splits (one hash), sampling and transforms."""
    keep = {"frames", "image_size", "resize", "flip", "input_norm"}
    return {"content": content_hash, **suite.data.model_dump(mode="json", include=keep)}


def encoder(suite: Suite, content_hash: str, modality: str, expert: dict[str, Any], seed: int) -> dict[str, Any]:
    """One modality's encoder of the teacher. expert: its identity, with the network of coordinates and its settings."""
    teacher = suite.teacher.of(modality)
    network = teacher.network(modality)
    weights = teacher.weights if network == teacher.encoder else "random"
    return {
        "version": VERSION,
        "stage": "encoder",
        "data": data(suite, content_hash),
        "modality": modality,
        "expert": expert,
        "backbone": network,
        **code_of("students" if network == teacher.encoder else "skeletons", network),
        "weights": weights_identity(network, weights),
        "width": suite.width,
        "token_norm": suite.token_norm,
        "head": head(suite.head),
        "base": teacher.base.model_dump(mode="json"),
        "episodic": teacher.episodic.model_dump(mode="json"),
        "bf16": network in suite.bf16,
        "selection": selection(suite.evaluate),
        "seed": seed,
    }


def fusion(suite: Suite, encoders: list[str], seed: int) -> dict[str, Any]:
    """Fusion and head, given the identities of the encoders in modality order."""
    config = suite.teacher.fusion
    return {
        "version": VERSION,
        "stage": "fusion",
        "encoders": encoders,
        "width": suite.width,
        "head": head(suite.head),
        "fusion": {
            **config.model_dump(mode="json", exclude=FusionConfig.unread_by(config.name)),
            **code_of("fusions", config.name),
        },
        "selection": selection(suite.evaluate),
        "seed": seed,
    }


def base(
    suite: Suite, content_hash: str, student: str, distilled: dict[str, float], teacher: str | None, seed: int
) -> dict[str, Any]:
    """A student's base training. distilled: weights by what is distilled there; teacher: read when there is any.

    suite: as the student trains, see Suite.of; so too below.
    """
    return {
        "version": VERSION,
        "stage": "base",
        "data": data(suite, content_hash),
        "student": student,
        **code_of("students", student),
        "weights": weights_identity(student, suite.weights),
        "width": suite.width,
        "token_norm": suite.token_norm,
        "patch_enrichment": suite.patch_enrichment,
        "base": suite.base.model_dump(mode="json", exclude={"token_weight", "relation_weight", "token_target"}),
        "distilled": {**distilled, "target": suite.base.token_target, "teacher": teacher} if distilled else {},
        "bf16": student in suite.bf16,
        "seed": seed,
    }


def student(suite: Suite, base_key: str, distillation: str, teacher: str | None, seed: int) -> dict[str, Any]:
    """A student's episodic training from its base."""
    setting = parse(distillation)
    unread = set() if setting.tokens else {"token_weight"}
    follows = setting.tokens and suite.episodic.token_weight
    reads_tokens = follows or "tokens" in suite.distiller_of(setting.distiller).reads
    return {
        "version": VERSION,
        "stage": "student",
        "base": base_key,
        "distillation": distillation,
        "teacher": teacher,
        "head": head(suite.head),
        "episodic": suite.episodic.model_dump(mode="json", exclude=unread),
        "distiller": {
            "name": setting.distiller,
            **options(setting.distiller, suite.options_of(setting.distiller)),
            **code_of("distillers", setting.distiller),
        },
        "token_target": suite.base.token_target if reads_tokens else None,
        "switches": _switches(suite, suite.distiller_of(setting.distiller).reads),
        "selection": selection(suite.evaluate),
        "seed": seed,
    }


def _switches(suite: Suite, reads: frozenset[str]) -> dict[str, str]:
    """The switches that a loss with these readings can tell."""
    told = {"teacher_head": "logits", "teacher_mode": "logits", "support_order": "support_distances"}
    return {name: getattr(suite.switches, name) for name, field in told.items() if field in reads}


def cell(trained: str, content_hash: str, episodes_sha256: str, way: int, shot: int, query: int) -> dict[str, Any]:
    """One scored record: which weights on which frozen episodes of which files, in which precision."""
    return {
        "version": VERSION,
        "stage": "cell",
        "trained": trained,
        "content": content_hash,
        "episodes": episodes_sha256,
        "way": way,
        "shot": shot,
        "query": query,
        "precision": "float32",
    }


def selection(evaluate: EvaluateConfig) -> dict[str, Any]:
    """How weights are selected: by which frozen episodes."""
    keep = {"val_shot", "query", "val_episodes", "seed"}
    return {
        "split": "val",
        "rule": "highest validation accuracy",
        "way": evaluate.way_of("val"),
        **evaluate.model_dump(mode="json", include=keep),
    }


def head(config: HeadConfig) -> dict[str, Any]:
    """The head's name and the settings it reads."""
    return {"name": config.name, **config.options(), **code_of("heads", config.name)}
