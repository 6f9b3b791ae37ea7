"""One training of a stage: its progress bar, its tracked curve, its checkpoint, and what its records say of it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.stage import Stage
from fewdistill.benchmark.training.loop import Plan, TrainState, fit
from fewdistill.benchmark.training.watch import tracked


def train_stage(
    context: RunContext,
    stage: Stage,
    module: nn.Module,
    plan: Plan,
    *,
    part: str,
    title: str,
    unit: str = "",
    feed: AbstractContextManager[Any] | None = None,
    **work: int,
) -> TrainState:
    """Train a module in place, see ``fit``; an interrupted training goes on from its checkpoint.

    part: of the stage's trainings, and the name of its checkpoint; title: of the bar; unit: of what the bar counts;
    feed: closed when the training ends; work: what one step processes, by name, for trackers.
    """
    with (
        bar(title, unit) as tick,
        feed or nullcontext(),
        tracked(context, stage, part, plan, **work) as track,
    ):
        return fit(module, plan, stage.path(f"{part}.pt"), context.device, tick, track)


def summary_of(progress: TrainState | None, base: TrainState | None = None) -> dict[str, Any]:
    """What a stage's done.json says of its training: seconds, curve, val_accuracy and selected_step.

    progress: of the training that selected the weights; base: of the training before that.
    """
    summary: dict[str, Any] = {"seconds": round(sum(part.seconds for part in (base, progress) if part is not None), 1)}
    if progress is not None:
        score = progress.best_score if progress.best is not None else None
        summary |= {"curve": progress.curve, "val_accuracy": score, "selected_step": progress.best_step}
    if base is not None:
        summary["base_curve"] = base.curve
    return summary
