"""A suite opened, checked and run: what is missing of its rows goes to an engine, in this process or elsewhere."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from fewdistill.benchmark.data.synthetic import EmbeddedSpec, generate
from fewdistill.benchmark.data.video.check import check
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.evaluation.episodic_record import TEACHER, describe
from fewdistill.benchmark.graph.place import Stage
from fewdistill.benchmark.graph.row_run import needs_teacher, row_lock, run_here
from fewdistill.benchmark.graph.status import Standing, status
from fewdistill.benchmark.protocols.episodic.student import new_student, student_stage
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.protocols.episodic.teacher import encoder_stage, fusion_stage, new_encoder
from fewdistill.benchmark.protocols.episodic.workspace import Workspace
from fewdistill.benchmark.runtime.errors import DataError, UserError
from fewdistill.benchmark.runtime.process_group import Group
from fewdistill.benchmark.runtime.progress import bar, say
from fewdistill.benchmark.suite.sections import DataConfig, EpisodicConfig
from fewdistill.benchmark.tracking import Trackers
from fewdistill.benchmark.training.precision import settled
from fewdistill.feature_cache import InUseError
from fewdistill.results.records.store import RecordStore
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.teachers.modalities import EXPERTS, CoordinateExpert

_LISTED = 10  # problems named before a run gives up


def open_workspace(
    suite: Suite,
    runs: Path,
    data: Path,
    device: str = "auto",
    compile_trunks: bool = False,
    group: Group | None = None,
    track: Sequence[str] = (),
) -> Workspace:
    """The suite's data (the embedded set is written when it is not there), caches and run folder.

    runs: run folders, one a suite; data: the embedded set and the caches. device: auto, cpu or cuda. compile_trunks:
    with torch.compile, where the device is CUDA. group: the processes that train together, if there are several.
    track: names of trackers.
    """
    trackers = Trackers(track)
    on = torch.device(device_named(device))
    folder = open_data(suite, data)
    if group is not None:
        on = torch.device(group.device)
    suite = settled(suite, runs / suite.name / "precision", on)
    ws = Workspace(suite, folder, runs / suite.name, data / "cache", on, compile_trunks, group, trackers=trackers)
    _check_sizes(ws)
    return ws


def device_named(asked: str) -> str:
    if asked not in ("auto", "cpu", "cuda"):
        raise UserError(f"no device {asked!r}: choose auto, cpu or cuda")
    if asked == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device here: use --device cpu, or auto")
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def open_data(suite: Suite, data: Path) -> VideoFolder:
    """The suite's data set behind its reader."""
    config = suite.data
    if config.source == "embedded":
        spec, root = embedded_place(config, data)
        with bar("embedded data set", "clips") as tick:
            generate(
                root, spec, workers=torch.get_num_threads(), progress=tick,
                waiting=lambda owner: say(f"[waiting for the embedded data set: {owner}]"),
            )  # fmt: skip
        return _reader(root, config, config.resize or config.image_size)
    return _reader(Path(str(config.root)), config, config.resize)


def embedded_place(config: DataConfig, data: Path) -> tuple[EmbeddedSpec, Path]:
    """What the embedded data set of these settings holds, and its folder."""
    spec = EmbeddedSpec(
        version=config.version,
        seed=config.seed,
        size=config.resize or config.image_size,
        frames=config.frames,
        clips_per_class=config.clips_per_class,
        train_classes=config.train_classes,
        val_classes=config.val_classes,
        test_classes=config.test_classes,
    )
    return spec, data / (
        f"embedded-v{spec.version}-s{spec.seed}-{spec.size}px-{spec.frames}f-{spec.clips_per_class}c-"
        f"{spec.train_classes}-{spec.val_classes}-{spec.test_classes}"
    )


def _reader(root: Path, config: DataConfig, resize: int | None) -> VideoFolder:
    return VideoFolder(
        root,
        frames=config.frames,
        image_size=config.resize or config.image_size,
        resize=resize,
        list_number=config.list_number,
        pack=config.pack,
    )


def _check_sizes(ws: Workspace) -> None:
    """Impossible way, shot or query for a split: raise before any compute, through the draw that would fail."""
    suite = ws.suite
    ws.check_sizes(
        (where, stage.way, stage.shot + stage.query)
        for _, version in suite.versions()
        for where, stage in (
            ("teacher.episodic", version.teacher.episodic),
            ("teacher.fusion", version.teacher.fusion),
            *(("episodic", version.of(name).episodic) for name in version.students),
        )
    )


def _check_files(ws: Workspace) -> None:
    """Decode a user's data set once, before any training; DataError names the first files that cannot be used."""
    data = ws.suite.data
    packed = "-packed" if data.pack else ""  # its RGB was decoded when it was packed
    mark = ws.runs / "checked" / f"{ws.content_hash[:16]}-{data.frames}frames{packed}"
    if data.source == "embedded":
        return
    with ws.turn(mark.parent, "the check of the videos", lambda: not mark.exists()) as mine:
        if mine:
            _check_videos(ws, mark)


def _check_videos(ws: Workspace, mark: Path) -> None:
    data = ws.suite.data
    modalities = {modality for _, version in ws.suite.versions() for modality in version.teacher.modalities}
    sources = {"rgb", *(EXPERTS[modality].requires for modality in modalities)} - ({"rgb"} if data.pack else set())
    with bar("check the videos", "videos") as tick:
        problems = check(
            ws.folder.root, way=1, shot=1, query=0, frames=data.frames, list_number=data.list_number,
            sources=sources, progress=tick,
        )  # fmt: skip
    if problems:
        listed = "\n".join(str(problem) for problem in problems[:_LISTED])
        more = f"\nand {len(problems) - _LISTED} more; `fewdistill data check {ws.folder.root}` lists them all"
        raise DataError(listed + (more if len(problems) > _LISTED else ""))
    mark.touch()


Engine = Callable[[Workspace, Sequence[Standing], bool], set[tuple[str, ...]]]
"""(workspace, rows to run, whether to score again what stands) -> the records of the rows that failed."""


def run(ws: Workspace, only: Sequence[str] = (), overwrite: bool = False, engine: Engine = run_here) -> list[Standing]:
    """Run what is missing, each row recorded as soon as it is scored; returns the standing at the end.

    Done rows are skipped and failed ones tried again. A row that fails is recorded with its reason and the others
    go on. Runs of one folder live side by side: each takes the rows at which no other works, and waits for another
    only where both need the same stage, or nothing else is left.
    """
    _check_files(ws)
    owners = _owners(status(ws))
    _relabel(ws, owners)
    asked = [s for s in status(ws, only) if overwrite or not s.done]
    pending = [owners[records] for records in dict.fromkeys(s.records for s in asked)]
    failed: set[tuple[str, ...]] = set()
    if pending:  # a finished suite asks for no weights again
        _check_networks(ws)
        if ws.group is not None:
            _check_shares(ws, pending, ws.group.size)
        failed = engine(ws, pending, overwrite)
    # a finished record outlives the failure of its second scoring, but this run did not finish its row
    return [
        replace(s, status=dict.fromkeys(s.status, "failed")) if s.records in failed else s for s in status(ws, only)
    ]


def _owners(standings: list[Standing]) -> dict[tuple[str, ...], Standing]:
    """The row that records are labelled by: the first of those, in any variant, that are the same thing."""
    return {standing.records: standing for standing in reversed(standings)}


def _relabel(ws: Workspace, owners: dict[tuple[str, ...], Standing]) -> None:
    """Give finished records the label of the row that owns them now: variants may have been renamed since."""
    store = RecordStore(ws.runs / "records")
    for standing in owners.values():
        at = ws.varied(standing.row.variant)
        for shot in (shot for shot, stands in standing.status.items() if stands == "done"):
            record = store.read(standing.keys[shot])
            cell = describe(at, standing.row, shot)
            if record.cell != cell:
                with suppress(InUseError), row_lock(ws, standing):  # who holds it is writing the record
                    store.write(record.model_copy(update={"cell": cell}), store.arrays(record.key))


def _check_shares(ws: Workspace, pending: Sequence[Standing], processes: int) -> None:
    """UserError where the episodes of a step cannot be divided over the processes, in a stage still to be trained."""
    for row in (standing.row for standing in pending):
        at = ws.varied(row.variant)
        config, teacher = at.suite, at.suite.teacher
        stages: list[tuple[str, EpisodicConfig, Stage]] = []
        if needs_teacher(at, row):
            for modality in teacher.modalities:
                own = modality in teacher.own and "accumulate" in teacher.own[modality].episodic
                where = f"teacher.own.{modality}.episodic" if own else "teacher.episodic"
                stages += [(where, teacher.of(modality).episodic, encoder_stage(at, modality, row.seed))]
            stages += [("teacher.fusion", teacher.fusion, fusion_stage(at, row.seed))]
        if row.model != TEACHER:
            own = row.model in config.own and "accumulate" in config.own[row.model].episodic
            where = f"own.{row.model}.episodic" if own else "episodic"
            student = student_stage(at, row.model, row.distillation, row.seed)
            stages += [(where, config.of(row.model).episodic, student)]
        for where, episodic, stage in stages:
            if episodic.accumulate % processes and not stage.done:
                raise UserError(
                    f"{where}.accumulate = {episodic.accumulate} episodes a step cannot be divided over {processes} "
                    f"processes: set a multiple of {processes} (it is part of what is trained), or start fewer"
                )


@torch.no_grad()
def _check_networks(ws: Workspace) -> None:
    """Build every network once and show it one blank clip, so that weights and sizes that do not fit are named now.

    Raises UserError or StudentError, and TeacherError for joints that cannot be flipped as the suite asks.
    """
    read = {"weights", "width", "token_norm", "patch_enrichment", "head"}
    seen = set()
    for variant, suite in ws.suite.versions():
        at, teacher = ws.varied(variant), suite.teacher
        networks = {name: partial(new_student, at, name, 0) for name in suite.students}
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


def _coordinate_encoder(at: Workspace, modality: str) -> FewShotStudent:
    at.clips(modality, at.suite.teacher.encoder)  # raises where the joints cannot be flipped
    return new_encoder(at, modality, 0)
