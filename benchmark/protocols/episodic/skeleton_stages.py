"""Training a skeleton network for episodes: by labels, then in episodes, with another's answers where one teaches."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fewdistill.benchmark.data.skeletons.dataset import Places
from fewdistill.benchmark.evaluation.episodic_record import Row
from fewdistill.benchmark.evaluation.matching import exact_float32
from fewdistill.benchmark.graph.place import Stage, standing
from fewdistill.benchmark.graph.tracked_stage import tracked
from fewdistill.benchmark.protocols.episodic import identity as identities
from fewdistill.benchmark.protocols.episodic.arena import Arena
from fewdistill.benchmark.protocols.episodic.skeleton_suite import LOSS
from fewdistill.benchmark.protocols.supervised.network import as_tested, fit_clips
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.runtime.seeds import generator
from fewdistill.benchmark.suite.distillation import options
from fewdistill.benchmark.training.episodic import episodes_for, labels_of, validator
from fewdistill.benchmark.training.loop import Plan, fit
from fewdistill.benchmark.training.teacher_outputs import Answers
from fewdistill.feature_cache import Entry, Key
from fewdistill.results.records.record import key_of
from fewdistill.students.backbones import LABEL_BRANCH
from fewdistill.students.few_shot import FewShotSkeleton

VERSION = 1
BASE, EPISODES = "skeleton-base", "skeleton-episodes"


@dataclass(frozen=True)
class Lesson:
    """One training: the network, its setting (what it learns from), its seed, the suite's variant."""

    network: str
    setting: str
    seed: int
    variant: str = ""

    @property
    def row(self) -> Row:
        """The row that it becomes."""
        return Row(self.network, self.setting, self.seed, self.variant)

    def __str__(self) -> str:
        return f"{self.network}, {self.setting} (seed {self.seed})"


def taught_by(arena: Arena, lesson: Lesson) -> Lesson | None:
    """The training of the network that it learns from; None for labels alone."""
    found = arena.suite.learns_from(lesson.network, lesson.setting)
    return None if found is None else replace(lesson, network=found[0], setting=found[1])


def base_identity(arena: Arena, network: str, seed: int) -> dict[str, Any]:
    """What a network's training by labels is, which all its settings share."""
    suite = arena.suite
    return {
        "version": VERSION,
        "stage": BASE,
        "data": arena.identity(),
        "stream": suite.stream,
        "network": network,
        "recipe": suite.recipe.model_dump(mode="json"),
        "selection": _selection(arena) if suite.recipe.select == "best" else None,
        "bf16": network in suite.bf16,
        "seed": seed,
    }


def identity(arena: Arena, lesson: Lesson) -> dict[str, Any]:
    """What the whole training is, known before it is done."""
    suite, teacher = arena.suite, taught_by(arena, lesson)
    return {
        "version": VERSION,
        "stage": EPISODES,
        "base": key_of(base_identity(arena, lesson.network, lesson.seed)),
        "teacher": None if teacher is None else key_of(identity(arena, teacher)),
        "distiller": None if teacher is None else {"name": LOSS, **options(LOSS, suite.distiller.get(LOSS, {}))},
        "episodic": suite.episodic_of(lesson.network).model_dump(mode="json"),
        "selection": _selection(arena),
        "seed": lesson.seed,
    }


def _selection(arena: Arena) -> dict[str, Any]:
    """How weights are selected, and by which matching rule."""
    suite = arena.suite
    rule = {"head": identities.head(suite.head), "token_norm": suite.token_norm}
    return {**identities.selection(suite.evaluate), **rule}


def base_stage(arena: Arena, network: str, seed: int) -> Stage:
    """Where the weights of the training by labels are, or will be."""
    return arena.stage(BASE, f"{network}-{arena.suite.stream}-s{seed}", base_identity(arena, network, seed))


def stage_of(arena: Arena, lesson: Lesson) -> Stage:
    """Where the weights of the whole training are, or will be."""
    label = f"{lesson.network}-{arena.suite.stream}-{lesson.setting.strip('-') or 'teacher'}-s{lesson.seed}"
    return arena.stage(EPISODES, label, identity(arena, lesson))


def train(arena: Arena, lesson: Lesson) -> Stage:
    """Train what is not yet trained, whoever is learnt from first; the finished stage holds the weights."""
    out, before = stage_of(arena, lesson), taught_by(arena, lesson)
    if out.done:
        return out
    answers = None
    if before is not None:
        train(arena, before)
        answers = answers_of(arena, before)
    base = base_stage(arena, lesson.network, lesson.seed)
    with arena.stage_turn(base) as mine:
        if mine:
            _base_training(arena, base, lesson)
    with arena.stage_turn(out) as mine:
        if mine:
            _episodic_training(arena, out, base, lesson, answers)
    return out


def trained(arena: Arena, lesson: Lesson) -> FewShotSkeleton:
    """The finished network with its head, on the run's device, in eval mode."""
    student = arena.new_student(lesson.network, lesson.seed)
    student.load_state_dict(standing(stage_of(arena, lesson)))
    return student.to(arena.device).eval()


@torch.no_grad()
def tokens_of(arena: Arena, student: FewShotSkeleton, places: Places) -> dict[str, Tensor]:
    """Tokens of clips as they are tested, float32 (N, T', width) by branch, on the run's device, in eval mode."""
    student.eval()
    with exact_float32():
        found = [student.tokens(joints) for joints in as_tested(arena, arena.suite.stream, places)]
    return {name: torch.cat([tokens[name] for tokens in found]) for name in found[0]}


def cached_tokens(arena: Arena, lesson: Lesson) -> Entry:
    """The tokens of every clip by a finished network, float32 (T', width), cached."""
    stage, student = stage_of(arena, lesson), trained(arena, lesson)
    shape = (student.encoder.token_frames(arena.recipe.frames), student.encoder.width)
    key = Key("tokens", {"network": stage.key, "content": arena.content_hash})
    entry = arena.store.entry(key, row_shape=shape, dtype="float32")
    with arena.fill_turn(entry, f"tokens {stage.folder.name}") as mine:
        for shard in entry.plan(arena.all_videos) if mine else ():
            tokens = tokens_of(arena, student, arena.places(shard.ids))
            entry.write(shard, tokens[LABEL_BRANCH].cpu().numpy())
    return entry


def answers_of(arena: Arena, lesson: Lesson) -> Answers:
    """What a finished network says about training episodes, from its cached tokens."""
    tokens = cached_tokens(arena, lesson).gather(arena.videos("train"))
    return Answers(trained(arena, lesson).head, torch.from_numpy(tokens), arena.device)


def _base_training(arena: Arena, out: Stage, lesson: Lesson) -> None:
    student = arena.new_student(lesson.network, lesson.seed).to(arena.device)
    progress = fit_clips(
        arena,
        out,
        student.encoder,
        lesson.network,
        arena.suite.stream,
        lesson.seed,
        f"{lesson.network} (seed {lesson.seed}), labels",
        validator(arena, student, None, lambda: tokens_of(arena, student, arena.parts["val"])),
    )
    out.finish(student.encoder.state_dict(), progress)


def _episodic_training(arena: Arena, out: Stage, base: Stage, lesson: Lesson, answers: Answers | None) -> None:
    suite, seed = arena.suite, lesson.seed
    student = arena.new_student(lesson.network, seed)
    student.encoder.load_state_dict(standing(base))
    student = student.to(arena.device)
    config, distiller = suite.episodic_of(lesson.network), suite.distiller_of(answers is not None)
    role = "teacher" if lesson.network == suite.teacher else "student"
    episodes = episodes_for(arena, config, seed, role) if config.episodes else None
    clips = arena.parts["train"]

    def loss(step: int, micro: int) -> dict[str, Tensor]:
        assert episodes is not None
        support_labels, query_labels = labels_of(episodes, arena.device)
        index = step * config.accumulate + micro
        rows = episodes.rows(index)
        joints = arena.batch(clips[rows], suite.stream, generator(seed, "augment", role, index))
        output = student(joints, support_labels, episodes.way)
        taught = None
        if answers is not None:
            taught = answers(torch.from_numpy(rows), support_labels, support_labels, episodes.way)
        return distiller(output, taught, query_labels)

    plan = Plan(
        config,
        config.episodes // config.accumulate,
        seed,
        f"{EPISODES}-{lesson.network}",
        loss,
        config.accumulate,
        lesson.network in suite.bf16,
        validator(arena, student, None, lambda: tokens_of(arena, student, arena.parts["val"])),
        max(1, config.validate_every // config.accumulate),
    )
    with (
        bar(f"{lesson}, episodes", "steps") as tick,
        tracked(arena, out, "episodic", plan, episodes=config.accumulate) as track,
    ):
        progress = fit(student, plan, out.path("episodic.pt"), arena.device, tick, track)
    out.finish(student.state_dict(), progress)
