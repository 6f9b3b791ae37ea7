"""What can fail in a suite of videos, tried before any compute: every file decoded, every network built."""

from functools import partial
from pathlib import Path

import torch

from fewdistill.benchmark.data.video.check import check
from fewdistill.benchmark.protocols.episodic.encoders import new_encoder, teacher_experts
from fewdistill.benchmark.protocols.episodic.student import new_student
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.teachers.modalities import EXPERTS, CoordinateExpert

_LISTED = 10  # problems named before a run gives up


def check_files(run: VideoRun) -> None:
    """Decode a user's data set once, before any training; DataError names the first files that cannot be used."""
    data = run.suite.data
    packed = "-packed" if data.pack else ""  # its RGB was decoded when it was packed
    every = {expert for at in run.versions() for expert in teacher_experts(at)}
    content = run.content({EXPERTS["rgb"](), *every})
    mark = run.context.runs / "checked" / f"{content[:16]}-{data.frames}frames{packed}"
    if data.source == "embedded":
        return
    with run.context.once(mark.parent, "the check of the videos", lambda: not mark.exists()) as mine:
        if mine:
            _check_videos(run, mark)


def _check_videos(run: VideoRun, mark: Path) -> None:
    data = run.suite.data
    modalities = {modality for _, version in run.suite.versions() for modality in version.teacher.modalities}
    sources = {"rgb", *(EXPERTS[modality].requires for modality in modalities)} - ({"rgb"} if data.pack else set())
    with bar("check the videos", "videos") as tick:
        problems = check(
            run.data.root, way=1, shot=1, query=0, frames=data.frames, list_number=data.list_number,
            sources=sources, progress=tick,
        )  # fmt: skip
    if problems:
        listed = "\n".join(str(problem) for problem in problems[:_LISTED])
        more = f"\nand {len(problems) - _LISTED} more; `fewdistill data check {run.data.root}` lists them all"
        raise DataError(listed + (more if len(problems) > _LISTED else ""))
    mark.touch()


@torch.no_grad()
def check_networks(run: VideoRun) -> None:
    """Build every network once and show it one blank clip, so that weights and sizes that do not fit are named now.

    Raises UserError or StudentError, and TeacherError for joints that cannot be flipped as the suite asks.
    """
    read = {"weights", "width", "token_norm", "patch_enrichment", "head"}
    seen = set()
    for at in run.versions():
        suite, teacher = at.suite, at.suite.teacher
        networks = {name: partial(_student, at, name) for name in suite.students}
        for modality in teacher.modalities:
            expert = teacher.new_expert(modality)
            if isinstance(expert, CoordinateExpert):
                networks[f"teacher {expert} {suite.data.flip}"] = partial(_coordinate_encoder, at, modality)
            else:
                networks[f"teacher {teacher.encoder} {teacher.weights}"] = partial(new_encoder, at, modality, 0)
        for name, build in networks.items():
            settings = f"{name} {suite.data.input_norm} {suite.model_dump_json(include=read)}"
            if settings not in seen:
                encoder, frames = build().encoder.eval(), suite.data.frames
                encoder.clips(torch.zeros_like(encoder.example(1, frames, suite.data.image_size), device="cpu"), frames)
                seen.add(settings)


def _student(run: VideoRun, name: str) -> FewShotStudent:
    expert = run.suite.of(name).student_expert(name)
    if isinstance(expert, CoordinateExpert):
        run.clips(expert, name)  # raises where the joints cannot be flipped
    return new_student(run, name, 0)


def _coordinate_encoder(run: VideoRun, modality: str) -> FewShotStudent:
    run.clips(run.expert(modality), run.suite.teacher.encoder)  # raises where the joints cannot be flipped
    return new_encoder(run, modality, 0)
