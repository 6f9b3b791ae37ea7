"""A suite's rows: planned, skipped when their records stand, resumed, recorded when they fail."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from benchmark.config import Suite
from benchmark.data.check import check
from benchmark.data.synthetic import EmbeddedSpec, generate
from benchmark.data.video_folder import VideoFolder
from benchmark.errors import DataError, RunError, UserError
from benchmark.precision import settled
from benchmark.progress import bar, say
from benchmark.scoring import TEACHER, Row, describe, provenance, record_identity, rows, score_student, score_teacher
from benchmark.sections import DataConfig
from benchmark.student_stages import new_student, reads_teacher, train_student
from benchmark.teacher_stages import Teacher, new_encoder, teacher_key, train_teacher
from benchmark.train import Diverged
from benchmark.workspace import Workspace
from feature_cache import CacheError, run_lock
from results import ResultError
from results.record import Record, key_of
from results.store import RecordStore
from teachers.modalities import EXPERTS

_LISTED = 10  # problems named before a run gives up


def open_workspace(
    suite: Suite, runs: Path, data: Path, device: str = "auto", compile_trunks: bool = False
) -> Workspace:
    """The suite's data (the embedded set is written when it is not there), caches and run folder.

    runs: run folders, one a suite; data: the embedded set and the caches. device: auto, cpu or cuda. compile_trunks:
    with torch.compile, where the device is CUDA.
    """
    on = torch.device(_device(device))
    folder = open_data(suite, data)
    suite = settled(suite, runs / suite.name / "precision", on)
    ws = Workspace(suite, folder, runs / suite.name, data / "cache", on, compile_trunks)
    _check_sizes(ws)
    return ws


def _device(asked: str) -> str:
    if asked not in ("auto", "cpu", "cuda"):
        raise UserError(f"no device {asked!r}: choose auto, cpu or cuda")
    if asked == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device here: use --device cpu, or auto")
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def open_data(suite: Suite, data: Path) -> VideoFolder:
    """The suite's data set behind its reader."""
    config = suite.data
    if config.source == "embedded":
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
        root = (
            data / f"embedded-v{spec.version}-s{spec.seed}-{spec.size}px-{spec.frames}f-{spec.clips_per_class}c-"
            f"{spec.train_classes}-{spec.val_classes}-{spec.test_classes}"
        )
        with bar("embedded data set", "clips") as tick:
            generate(root, spec, workers=torch.get_num_threads(), progress=tick)
        return _reader(root, config, config.resize or config.image_size)
    return _reader(Path(str(config.root)), config, config.resize)


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
    wanted = [
        (f"{where}.way", "train", stage.way, stage.shot + stage.query)
        for _, version in suite.versions()
        for where, stage in (
            ("teacher.episodic", version.teacher.episodic),
            ("teacher.fusion", version.teacher.fusion),
            *(("episodic", version.of(name).episodic) for name in version.students),
        )
    ]
    evaluate = suite.evaluate
    wanted += [("evaluate.way", "val", evaluate.way, evaluate.val_shot + evaluate.query)]
    wanted += [("evaluate.way", "test", evaluate.way, shot + evaluate.query) for shot in evaluate.shots]
    for where, split, way, videos in wanted:
        by_class = ws.folder.by_class(split)
        if way > len(by_class):
            raise UserError(
                f"{where} = {way} is larger than the {split} split's {len(by_class)} classes: choose a smaller way"
            )
        name, rows_ = min(by_class.items(), key=lambda item: len(item[1]))
        if videos > len(rows_):
            raise UserError(f"shot + query = {videos}, but class {name!r} of the {split} split has {len(rows_)} videos")


def _check_files(ws: Workspace) -> None:
    """Decode a user's data set once, before any training; DataError names the first files that cannot be used."""
    data = ws.suite.data
    packed = "-packed" if data.pack else ""  # its RGB was decoded when it was packed
    mark = ws.runs / "checked" / f"{ws.content_hash[:16]}-{data.frames}frames{packed}"
    if data.source == "embedded" or mark.exists():
        return
    modalities = {modality for _, version in ws.suite.versions() for modality in version.teacher.modalities}
    sources = {"rgb", *(EXPERTS[modality].requires for modality in modalities)} - ({"rgb"} if packed else set())
    with bar("check the videos", "videos") as tick:
        problems = check(
            ws.folder.root, way=1, shot=1, query=0, frames=data.frames, list_number=data.list_number,
            sources=sources, progress=tick,
        )  # fmt: skip
    if problems:
        listed = "\n".join(str(problem) for problem in problems[:_LISTED])
        more = f"\nand {len(problems) - _LISTED} more; `fewdistill data check {ws.folder.root}` lists them all"
        raise DataError(listed + (more if len(problems) > _LISTED else ""))
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


@dataclass(frozen=True)
class Standing:
    """A row, and by shot its records' keys and status: done, failed, diverged, or missing."""

    row: Row
    keys: dict[int, str]
    status: dict[int, str]

    @property
    def records(self) -> tuple[str, ...]:
        """The keys of all its records: rows that share them are one thing in two variants."""
        return tuple(self.keys.values())

    @property
    def done(self) -> bool:
        """Whether every shot has its record."""
        return all(status == "done" for status in self.status.values())


def status(ws: Workspace, only: Sequence[str] = ()) -> list[Standing]:
    """Every row of the suite (or those whose name matches a pattern) and what stands of it."""
    store = RecordStore(ws.runs / "records")
    found = []
    for row in rows(ws):
        if only and not any(fnmatch.fnmatch(row.name, pattern) for pattern in only):
            continue
        at = ws.varied(row.variant)
        keys = {shot: key_of(record_identity(at, row, shot)) for shot in ws.suite.evaluate.shots}
        found.append(Standing(row, keys, {shot: _status(store, key) for shot, key in keys.items()}))
    if only and not found:
        raise UserError(f"no row matches {' or '.join(only)}; rows are called {', '.join(r.name for r in rows(ws))}")
    return found


def _status(store: RecordStore, key: str) -> str:
    """A done record without its sound arrays is as good as missing."""
    if key not in store:
        return "missing"
    status = store.read(key).status
    if status == "done":
        try:
            store.arrays(key)
        except ResultError:
            return "missing"
    return status


def run(ws: Workspace, only: Sequence[str] = (), overwrite: bool = False) -> list[Standing]:
    """Run what is missing, row by row, each recorded as soon as it is scored; returns the standing at the end.

    Done rows are skipped and failed ones tried again. A row that fails is recorded with its reason and the others
    go on. Two runs on one folder: the second is refused.
    """
    store = RecordStore(ws.runs / "records")
    failed: set[tuple[str, ...]] = set()
    with run_lock(ws.runs):
        _check_files(ws)
        owners = _owners(status(ws))
        _relabel(ws, owners, store)
        teachers: dict[str, Teacher] = {}
        asked = [s for s in status(ws, only) if overwrite or not s.done]
        pending = [owners[records] for records in dict.fromkeys(s.records for s in asked)]
        if pending:  # a finished suite asks for no weights again
            _check_networks(ws)
        for number, standing in enumerate(pending, start=1):
            row = standing.row
            at = ws.varied(row.variant)
            say(f"[{number}/{len(pending)}] {row.name}")
            try:
                teacher = None
                if row.model == TEACHER or reads_teacher(at, row.model, row.distillation):
                    key = teacher_key(at, row.seed)
                    teachers = teachers if key in teachers else {key: train_teacher(at, row.seed)}
                    teacher = teachers[key]
                _run_row(at, row, teacher, store)
            except (RunError, CacheError, torch.OutOfMemoryError) as error:
                _record_failure(at, standing, store, error)
                failed.add(standing.records)
                say(f"  {row.name}: {error}")
    # a finished record outlives the failure of its second scoring, but this run did not finish its row
    return [
        replace(s, status=dict.fromkeys(s.status, "failed")) if s.records in failed else s for s in status(ws, only)
    ]


def _owners(standings: list[Standing]) -> dict[tuple[str, ...], Standing]:
    """The row that records are labelled by: the first of those, in any variant, that are the same thing."""
    return {standing.records: standing for standing in reversed(standings)}


def _relabel(ws: Workspace, owners: dict[tuple[str, ...], Standing], store: RecordStore) -> None:
    """Give finished records the label of the row that owns them now: variants may have been renamed since."""
    for standing in owners.values():
        at = ws.varied(standing.row.variant)
        for shot in (shot for shot, status in standing.status.items() if status == "done"):
            record = store.read(standing.keys[shot])
            cell = describe(at, standing.row, shot)
            if record.cell != cell:
                store.write(record.model_copy(update={"cell": cell}), store.arrays(record.key))


@torch.no_grad()
def _check_networks(ws: Workspace) -> None:
    """Build every network once and show it one black frame, so that weights and sizes that do not fit are named now.

    Raises UserError or StudentError.
    """
    read = {"weights", "width", "token_norm", "patch_enrichment", "head"}
    seen = set()
    for variant, suite in ws.suite.versions():
        at, frame = ws.varied(variant), torch.zeros(1, 3, suite.data.image_size, suite.data.image_size)
        networks = {name: partial(new_student, at, name, 0) for name in suite.students}
        networks[f"teacher {suite.teacher.encoder} {suite.teacher.weights}"] = partial(new_encoder, at, "rgb", 0)
        for name, build in networks.items():
            settings = f"{name} {suite.data.input_norm} {suite.model_dump_json(include=read)}"
            if settings not in seen:
                build().encoder.eval()(frame)
                seen.add(settings)


def _run_row(ws: Workspace, row: Row, teacher: Teacher | None, store: RecordStore) -> None:
    if row.model == TEACHER:
        assert teacher is not None
        scored = score_teacher(ws, row, teacher)
    else:
        scored = score_student(ws, row, train_student(ws, row.model, row.distillation, row.seed, teacher))
    for record, arrays in scored:
        store.write(record, arrays)
        assert record.metrics is not None
        half = (record.metrics.closed_high - record.metrics.closed_low) / 2
        say(
            f"  {record.cell.shot}-shot {record.metrics.accuracy:.2%} ± {half:.2%} ({record.metrics.episodes} episodes)"
        )


def _record_failure(ws: Workspace, standing: Standing, store: RecordStore, error: Exception) -> None:
    """The reason, at every shot that has no finished record."""
    row = standing.row
    for shot in (shot for shot, status in standing.status.items() if status != "done"):
        record_of = record_identity(ws, row, shot)
        store.write(
            Record(
                key=key_of(record_of),
                identity=record_of,
                status="diverged" if isinstance(error, Diverged) else "failed",
                reason=str(error),
                cell=describe(ws, row, shot),
                provenance=provenance(ws, row),
            )
        )
