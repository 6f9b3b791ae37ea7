"""Training curves for trackers, while they grow."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from fewdistill.benchmark.context import RunContext
from fewdistill.benchmark.stage import Stage
from fewdistill.benchmark.tracking import Followed, Run
from fewdistill.benchmark.training.loop import Plan, Track, TrainState, no_track
from fewdistill.results.records.record import key_of

_POINTS = 1000  # of a training's losses, about; every validation besides


@contextmanager
def tracked(context: RunContext, stage: Stage, part: str, plan: Plan, **work: int) -> Iterator[Track]:
    """Track a training of a stage; yields what ``fit`` calls.

    part: which of the stage's trainings; work: what one step processes, by name, for the speed: episodes=4.
    """
    if not context.rank0 or not context.trackers.names:
        yield no_track
        return
    run = Run(
        key=key_of({"stage": stage.key, "part": part}),
        name=f"{stage.folder.name}/{part}",
        suite=context.runs.name,
        kind=stage.kind,
        config={"suite": context.runs.name, "part": part, **stage.identity},
        folder=context.runs / "tracking",
    )
    with context.trackers.follow(run) as followed:
        yield Curve(followed, plan, work)


class Curve:
    """Logs what is new in a curve. The first call may hold a resumed curve, whose speed is not known."""

    def __init__(self, followed: Followed, plan: Plan, work: dict[str, int]) -> None:
        self._followed, self._plan, self._work = followed, plan, work
        self._every = max(1, plan.steps // _POINTS)
        self._seen = 0
        self._timed: tuple[int, float] | None = None  # steps and seconds, at the last speed

    def __call__(self, state: TrainState) -> None:
        for point in state.curve[self._seen :]:
            step = int(point["step"])
            if "val_accuracy" in point:
                self._followed.log(step, {"val/accuracy": point["val_accuracy"]})
            elif step % self._every == 0 or step == self._plan.steps:
                self._followed.log(step, self._trained(point, step) | self._speed(state, step))
        self._seen = len(state.curve)
        if self._timed is None:
            self._timed = state.step, state.seconds
        self._followed.summary |= {"steps": state.step, "seconds": round(state.seconds, 1)}
        if math.isfinite(state.best_score):
            self._followed.summary |= {"val/best_accuracy": state.best_score, "val/best_step": state.best_step}

    def _trained(self, point: dict[str, float], step: int) -> dict[str, float]:
        rate = self._plan.config.rate(step - 1, self._plan.steps)
        return {"train/lr": rate, **{f"train/{name}": value for name, value in point.items() if name != "step"}}

    def _speed(self, state: TrainState, step: int) -> dict[str, float]:
        if self._timed is None or step != state.step or state.seconds <= self._timed[1]:
            return {}
        steps, seconds = step - self._timed[0], state.seconds - self._timed[1]
        self._timed = step, state.seconds
        return {f"speed/{name}_per_s": steps * done / seconds for name, done in self._work.items()}
