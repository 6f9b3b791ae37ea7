"""The modality clips of a suite's teachers alone, before or beside a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from fewdistill.benchmark.data.video.derivation import derive
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.feature_cache import Entry
from fewdistill.students.registry import nearest
from fewdistill.teachers.modalities import Expert


@dataclass(frozen=True)
class Derived:
    """One cache entry of clips, in numbers of videos.

    name: the modality, or modality@variant where a variant sets other options of its expert; digest: of the entry;
    videos: of the data set; there: had their clip before; made: got it now. The rest is for other parts.
    """

    name: str
    digest: str
    videos: int
    there: int
    made: int


def derive_clips(
    run: VideoRun,
    modalities: Sequence[str] | None = None,
    *,
    variants: Sequence[str] = ("",),
    part: tuple[int, int] = (1, 1),
    workers: int | None = None,
) -> list[Derived]:
    """Cache the clips of every video that the teachers of some variants read; see ``derive`` for part and workers.

    modalities: only these; default all that the teachers read from a cache. variants: of the suite, "" is the suite
    itself. Raises UserError for a modality that no teacher reads, and what ``derive`` raises.
    """
    wanted = _wanted(run, modalities, variants)
    opens = {expert: partial(_entry, run, expert) for expert in wanted}
    found = derive(run.data, run.all_videos, opens, part=part, workers=workers)
    return [
        Derived(name, run.clip_rows(expert).key.digest, len(run.all_videos), *found[expert])
        for expert, name in wanted.items()
    ]


def _entry(run: VideoRun, expert: Expert) -> Entry:
    """Named by the files' contents, which are read for it."""
    return run.clip_rows(expert).open()


def _wanted(run: VideoRun, modalities: Sequence[str] | None, variants: Sequence[str]) -> dict[Expert, str]:
    """An expert for each kind of clips that the teachers read, and what to call it."""
    found: dict[Expert, str] = {}
    read: set[str] = set()
    suites = dict(run.suite.versions())
    for variant in variants:
        teacher = suites[variant].teacher
        cached = [modality for modality in teacher.modalities if modality != "rgb"]  # which is read from its files
        read.update(cached)
        for modality in cached if modalities is None else (m for m in cached if m in modalities):
            expert = teacher.new_expert(modality)
            if any(other.clip_identity() == expert.clip_identity() for other in found):
                continue
            named = any(other.name == modality for other in found)
            found[expert] = f"{modality}@{variant}" if named else modality
    if unread := [modality for modality in modalities or () if modality not in read]:
        raise UserError(
            f"no teacher of suite {run.suite.name!r} reads {unread[0]!r} from the cache: {nearest(unread[0], read)}"
        )
    return found
