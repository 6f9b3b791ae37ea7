"""Suites of episodes, opened: their data read or written, and everything checked that can be before any compute."""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fewdistill.benchmark.data.skeletons.draw import stick_figures
from fewdistill.benchmark.data.skeletons.joined import joined
from fewdistill.benchmark.data.synthetic import EmbeddedSpec, generate
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.evaluation.frozen import FrozenEpisodes
from fewdistill.benchmark.graph.protocol import Row, RunOptions
from fewdistill.benchmark.protocols.episodic.cells import video_rows
from fewdistill.benchmark.protocols.episodic.precheck import check_files, check_networks
from fewdistill.benchmark.protocols.episodic.skeleton_cells import skeleton_rows
from fewdistill.benchmark.protocols.episodic.skeleton_suite import SkeletonEpisodicSuite, token_shape
from fewdistill.benchmark.protocols.episodic.skeletons import JoinedData, SkeletonRun
from fewdistill.benchmark.protocols.episodic.suite import Suite
from fewdistill.benchmark.protocols.episodic.video import VideoRun
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.probe import training_precision
from fewdistill.benchmark.runtime.progress import bar, say
from fewdistill.benchmark.suite.networks import read_clips
from fewdistill.benchmark.suite.sections import DataConfig
from fewdistill.benchmark.training.precision import resolve_bf16
from fewdistill.students.trunks import BACKBONES
from fewdistill.teachers.modalities import EXPERTS


class OpenedVideos:
    """A suite of episodes on videos, see graph.protocol.OpenedSuite."""

    def __init__(self, run: VideoRun) -> None:
        self.run = run
        self.suite = run.suite
        self.context = run.context

    def rows(self) -> Sequence[Row]:
        return self._rows

    @cached_property
    def _rows(self) -> tuple[Row, ...]:
        return tuple(video_rows(self.run))

    def check(self, pending: Sequence[Row]) -> None:
        check_files(self.run)
        check_networks(self.run)

    @property
    def frozen(self) -> FrozenEpisodes:
        """Its frozen episodes, for the viewer."""
        return self.run.frozen

    def pictures(self, video: str) -> NDArray[np.uint8]:
        """The frames of a video as RGB networks see them, uint8 (T, H, W, 3)."""
        return self.run.clips(EXPERTS["rgb"](), self.suite.teacher.encoder).pixels([video])[0]


class OpenedSkeletons:
    """A suite of episodes on skeleton clips, see graph.protocol.OpenedSuite."""

    def __init__(self, run: SkeletonRun) -> None:
        self.run = run
        self.suite = run.suite
        self.context = run.context

    def rows(self) -> Sequence[Row]:
        return self._rows

    @cached_property
    def _rows(self) -> tuple[Row, ...]:
        return tuple(skeleton_rows(self.run))

    def check(self, pending: Sequence[Row]) -> None:
        """Everything was checked when the suite was read and its clips were divided."""

    @property
    def frozen(self) -> FrozenEpisodes:
        """Its frozen episodes, for the viewer."""
        return self.run.frozen

    def pictures(self, video: str) -> NDArray[np.uint8]:
        """A clip as stick figures, one for each token of the teacher, uint8 (T', H, W, 3)."""
        data, (_, frames) = self.run.data, token_shape(self.suite.teacher, self.suite.frames)
        joints = data.batch(data.indices([video]), "joint")[0].cpu().numpy()
        return stick_figures(joints, data.skeletons.skeleton.edges, frames)


def open_videos(suite: Suite, options: RunOptions) -> OpenedVideos:
    """The suite's data (the embedded set is written when it is not there), caches and run folder."""
    _no_scores(suite.name, options)
    context = options.context(suite.name)
    folder = open_data(suite.data, options.data)
    if suite.bf16 == "auto":
        size = suite.data.image_size
        networks = dict.fromkeys(
            name for _, version in suite.versions() for name in (*version.students, version.teacher.encoder)
        )
        measures = {
            name: (f"{name.replace('/', '-')}-{size}px", partial(training_precision, name, size, context.device))
            for name in networks
            if name in BACKBONES
        }
        taken = resolve_bf16(measures, context.runs / "precision", context.device)
        suite = suite.model_copy(update={"bf16": taken})
    run = VideoRun(suite, folder, context)
    run.frozen.check_sizes(
        (where, stage.way, stage.shot + stage.query)
        for _, version in suite.versions()
        for where, stage in (
            ("teacher.episodic", version.teacher.episodic),
            ("teacher.fusion", version.teacher.fusion),
            *(("episodic", version.of(name).episodic) for name in version.students),
        )
    )
    return OpenedVideos(run)


def open_data(config: DataConfig, data: Path) -> VideoFolder:
    """The suite's data set behind its reader. data: the folder that holds the embedded set."""
    root, resize = Path(str(config.root)), config.resize
    if config.source == "embedded":
        spec, root = embedded_folder(config, data)
        with bar("embedded data set", "clips") as tick:
            generate(
                root, spec, workers=torch.get_num_threads(), progress=tick,
                waiting=lambda owner: say(f"[waiting for the embedded data set: {owner}]"),
            )  # fmt: skip
        resize = config.resize or config.image_size
    return VideoFolder(
        root, frames=config.frames, image_size=config.resize or config.image_size, resize=resize,
        list_number=config.list_number, pack=config.pack,
    )  # fmt: skip


def embedded_folder(config: DataConfig, data: Path) -> tuple[EmbeddedSpec, Path]:
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


def open_skeletons(suite: SkeletonEpisodicSuite, options: RunOptions) -> OpenedSkeletons:
    """The suite's clips, read and divided, and its run folder; DataError says what to download where there are none."""
    _no_scores(suite.name, options)
    context = options.context(suite.name)
    clips = read_clips(suite.data)
    both = clips if suite.test_data is None else joined(clips, read_clips(suite.test_data))
    data = JoinedData(both, len(clips.classes), clips.content_hash)
    run = SkeletonRun(suite, data, context)
    for _, version in suite.versions():
        stages = {"episodic": version.episodic, "teacher_episodic": version.teacher_episodic}
        run.frozen.check_sizes(
            (where, stage.way, stage.shot + stage.query) for where, stage in stages.items() if stage.episodes
        )
    if suite.bf16 == "auto":
        measures = run.data.probes(suite.every_network(), suite.stream, suite.recipe.batch)
        taken = resolve_bf16(measures, context.runs / "precision", context.device)
        run = SkeletonRun(suite.model_copy(update={"bf16": taken}), data, context)
    return OpenedSkeletons(run)


def _no_scores(name: str, options: RunOptions) -> None:
    if options.save_scores:
        raise UserError(f"--save-scores is of the supervised protocol; {name} is a suite of episodes")
