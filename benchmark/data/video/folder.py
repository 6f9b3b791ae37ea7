"""A data set on disk: split lists, frame folders or video files, sensor depth and 3-D joints."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import FileError
from fewdistill.benchmark.data.video.content import content_hashes
from fewdistill.benchmark.data.video.frames import (
    decode,
    frame_count,
    frame_names,
    list_frames,
    read_depth_frames,
    read_frames,
    sample_indices,
)
from fewdistill.benchmark.data.video.joints import read_joints, read_skeleton
from fewdistill.benchmark.data.video.layout import find_videos, near, places
from fewdistill.benchmark.data.video.lists import VideoLists
from fewdistill.benchmark.data.video.pack_reader import Pack
from fewdistill.benchmark.data.video.splits import VIDEO_SUFFIXES, normalise_name, read_split_lists
from fewdistill.benchmark.data.video.transforms import (
    apply_crop,
    centre_crop,
    random_crop,
    resize,
    resize_depth,
    resize_for,
    resized_size,
)
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.teachers import TeacherError
from fewdistill.teachers.modalities import PosedClip, Skeleton

Ints = NDArray[np.int64]
UInt8 = NDArray[np.uint8]


class VideoFolder(VideoLists):
    """Reader of `<root>/splits`, `<root>/l8/rgb_l8` (or `<root>/l8`, or video files in `<root>`), depth and joints.

    A video id is "class/video" as the lists spell it; folders may spell it in lower case or with underscores for
    spaces. Frame folders go before video files. Clips have ``frames`` frames; they are resized to a short side of
    ``resize`` pixels (default: 256 for an ``image_size`` of 224, in proportion otherwise; equal to ``image_size``
    means no crop) and cropped to ``image_size``. ``lists`` takes the place of the list files. With ``pack``, a folder
    that `pack_writer.write` wrote, RGB is read from there instead of from the files it was made of.

    Opening lists no video folder and reads no pixel; raises DataError for a missing root, faulty lists, an
    impossible size, or a pack of other videos or sizes. A pack whose files have changed is refused when it is read.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        frames: int = 8,
        image_size: int = 224,
        resize: int | None = None,
        list_number: int = 3,
        lists: Mapping[str, Sequence[str]] | None = None,
        pack: Path | str | None = None,
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileError(self.root, "no such data set folder", "check the path")
        self.frames, self.image_size = frames, image_size
        self.resize = resize_for(image_size) if resize is None else resize
        if frames < 1 or not 1 <= image_size <= self.resize:
            raise DataError(
                f"frames={frames}, image_size={image_size}, resize={self.resize}: all must be positive and resize "
                f"at least image_size"
            )
        if lists is None:
            lists = read_split_lists(self.root / "splits", list_number)
        super().__init__(lists, f"split list of {self.root}")
        self._trees: dict[str, dict[str, str]] = {}
        self._counts: dict[Path, int] = {}
        self._hashes: dict[str, dict[str, str]] = {}
        self.pack = None if pack is None else Pack(pack)
        if self.pack is not None:
            self.pack.check_fits(self.root, self._split_of, self.resize, frames)

    def modalities(self) -> tuple[str, ...]:
        """The sources the data set carries, out of "rgb", "depth" (sensor, 16-bit PNG) and "joints"."""
        depth = next(iter(self._tree("depth").values()), None)
        first = list_frames(depth)[:1] if depth else []
        carried = {
            "rgb": bool(self._tree("rgb")),
            "depth": depth is not None and all(path.suffix.lower() == ".png" for path in first),
            "joints": bool(self._tree("joints")),
        }
        return tuple(name for name, there in carried.items() if there)

    @cached_property
    def skeleton(self) -> Skeleton:
        """Joint graph and camera of `joints/skeleton.toml`; DataError when it is missing or wrong."""
        return read_skeleton(self.root / "joints" / "skeleton.toml")

    def locate(self, video_id: str, modality: str = "rgb") -> Path:
        """Frame folder, video file or joint file of a video; DataError, naming the place, when there is none.

        ``modality`` is "rgb", "joints", or the name of an image tree `l8/<modality>_l8`.
        """
        return Path(self._place(video_id, modality))

    # --- pixels ------------------------------------------------------------------------------------------------

    def frame_count(self, video_id: str) -> int:
        """Frames of the video's RGB; counted by decoding a video file once, then remembered."""
        if self._current_pack is not None:
            self.split_of(video_id)
            return self._current_pack.count(video_id)
        path = self.locate(video_id)
        if path not in self._counts:
            self._counts[path] = len(list_frames(path)) if path.is_dir() else frame_count(path)
        return self._counts[path]

    def indices(self, video_id: str, *, train: bool = False, rng: np.random.Generator | None = None) -> Ints:
        """Frame numbers that stand for the video (see `sample_indices`); DataError when it is too short."""
        try:
            count = self.frame_count(video_id)
            if self._current_pack is not None:
                return self._current_pack.indices(video_id, self.frames, train=train, rng=rng)
            return sample_indices(count, self.frames, train=train, rng=rng)
        except DataError as error:
            if isinstance(error, FileError):
                raise
            raise FileError(self.locate(video_id), str(error), "lower `frames` or drop the video") from None

    def raw(
        self,
        video_id: str,
        modality: str = "rgb",
        *,
        train: bool = False,
        rng: np.random.Generator | None = None,
    ) -> UInt8:
        """The sampled frames, uint8 (T, H, W, 3), short side ``resize`` px, not cropped: what experts derive from.

        ``train`` draws the frame numbers from ``rng`` instead of taking the fixed ones. Raises DataError, naming
        the file, for anything missing, short, truncated or undecodable. Frames of a pack may be
        read-only.
        """
        indices = self.indices(video_id, train=train, rng=rng)
        if self._current_pack is not None and modality == "rgb":
            return self._current_pack.read(video_id, indices)
        return self.read(video_id, indices, modality)

    def read(self, video_id: str, indices: Ints, modality: str = "rgb") -> UInt8:
        """Frames of the files by their numbers, as `raw` returns them and with its errors."""
        path = self.locate(video_id, modality)
        if path.is_dir():
            self._check_count(len(list_frames(path)), path, video_id)
            return resize(read_frames(path, indices), self.resize)
        return resize(decode(path, indices), self.resize)

    def clip(
        self,
        video_id: str,
        modality: str = "rgb",
        *,
        train: bool = False,
        rng: np.random.Generator | None = None,
        flip: bool = True,
    ) -> UInt8:
        """`raw`, cropped: uint8 (T, image_size, image_size, 3).

        The centre, or with ``train`` a drawn window, mirrored half the time unless ``flip`` is off. Modalities
        with a mirror rule of their own are cropped with `transforms.apply_crop` instead. Needs ``rng`` to train.
        """
        frames = self.raw(video_id, modality, train=train, rng=rng)
        height, width = frames.shape[1:3]
        if not train:
            return apply_crop(frames, centre_crop(height, width, self.image_size))
        if rng is None:
            raise ValueError("clip(train=True) needs a generator")
        return apply_crop(frames, random_crop(height, width, self.image_size, rng, flip=flip))

    def depth(self, video_id: str) -> NDArray[np.uint16]:
        """Sensor depth at the fixed frame numbers, uint16 millimetres (T, H, W), 0 = no reading, as stored."""
        path = self.locate(video_id, "depth")
        indices = self.indices(video_id)
        self._check_count(len(list_frames(path)), path, video_id)
        return read_depth_frames(path, indices)

    def joints(self, video_id: str, *, every: bool = False) -> NDArray[np.float32]:
        """Joints at the fixed frame numbers, or at ``every`` one, float32 (T, V, 3, M) in metres, camera coordinates.

        Raises DataError, naming the file, for another dtype or shape, a frame count that differs from RGB's, and
        values that are not finite.
        """
        path = self.locate(video_id, "joints")
        array = read_joints(path)
        chosen = self._joint_indices(video_id, len(array))
        return array if every else np.ascontiguousarray(array[chosen])

    def source(self, video_id: str, requires: str) -> UInt8 | NDArray[np.uint16] | PosedClip:
        """What an expert's `derive` takes, all brought to a short side of ``resize`` px at the fixed frame numbers:

        `raw` for "rgb", `depth` for "depth" (nearest reading), a PosedClip with the camera scaled for "joints", and in
        it all frames from the first to the last of these.
        """
        if requires == "rgb":
            return self.raw(video_id)
        if requires == "depth":
            return resize_depth(self.depth(video_id), self.resize)
        if requires == "joints":
            whole = self.joints(video_id, every=True)
            chosen = self._joint_indices(video_id, len(whole))
            between = whole[chosen[0] : chosen[-1] + 1]
            try:
                return PosedClip(np.ascontiguousarray(whole[chosen]), self._scaled_skeleton, between)
            except TeacherError as error:
                raise FileError(self.locate(video_id, "joints"), str(error)) from None
        raise DataError(f"unknown source {requires!r}: the sources are rgb, depth, joints")

    # --- identity ----------------------------------------------------------------------------------------------

    def content_hashes(self, modality: str = "rgb") -> dict[str, str]:
        """sha256 (hex) of each listed video's files, ids sorted, as they are when first asked for.

        DataError for a missing video, and for RGB that differs from what the pack was made of.
        """
        if modality not in self._hashes:
            files: dict[str, Sequence[str]] = {v: [self._place(v, modality)] for v in sorted(self._split_of)}
            if os.path.isdir(next(iter(self._tree(modality).values()), "")):  # then all of the tree are folders
                files = {v: [f"{path}/{name}" for name in frame_names(path)] for v, [path] in files.items()}
            if modality == "joints":
                files[""] = [str(self.root / "joints" / "skeleton.toml")]
            try:
                found = content_hashes(files, self.root, modality)
            except OSError as error:
                raise FileError(error.filename, f"cannot be read ({error.strerror})") from None
            if modality == "rgb" and self.pack is not None:
                self.pack.check_sources(found)
            self._hashes[modality] = found
        return self._hashes[modality]

    def content_hash(self, modality: str = "rgb") -> str:
        """sha256 (hex) over the ids and file bytes of all listed videos; the same whatever the split or order.

        A pack leaves it as it is, unless the pack lacks frames that would have been read without it.
        """
        lines = "".join(f"{video}\0{digest}\n" for video, digest in self.content_hashes(modality).items())
        return hashlib.sha256((lines + self.thinned).encode()).hexdigest()

    @property
    def thinned(self) -> str:
        """How a pack that lacks frames keeps them; "" where nothing is lacking."""
        if self.pack is None or not self.pack.thins(self._split_of):
            return ""
        return f"at most {self.pack.settings.keep} evenly spaced frames a video\n"

    # --- inside ------------------------------------------------------------------------------------------------

    @cached_property
    def _current_pack(self) -> Pack | None:
        """The pack, known to be made of the files as they are."""
        if self.pack is not None:
            self.content_hashes()
        return self.pack

    def _place(self, video_id: str, modality: str) -> str:
        self.split_of(video_id)
        try:
            return self._tree(modality)[normalise_name(video_id)]
        except KeyError:
            remedy = f"add it or drop the video from the {self._split_of[video_id]} list"
            found = near(self.root, video_id) if modality == "rgb" else []
            if found:
                remedy = f"{', '.join(found)} is there; {', '.join(VIDEO_SUFFIXES)} are read"
            raise FileError(places(self.root, modality)[0] / video_id, f"no {modality} of this video", remedy) from None

    def _joint_indices(self, video_id: str, count: int) -> Ints:
        """The fixed frame numbers of a video, whose joint file has ``count`` frames: as many as RGB if there is any."""
        if "rgb" not in self.modalities():
            return sample_indices(count, self.frames)
        self._check_count(count, self.locate(video_id, "joints"), video_id)
        return self.indices(video_id)

    @cached_property
    def _scaled_skeleton(self) -> Skeleton:
        camera = self.skeleton.needed_camera()
        return replace(self.skeleton, camera=camera.scaled(*resized_size(camera.height, camera.width, self.resize)))

    def _tree(self, modality: str) -> dict[str, str]:
        """Path of every video of the listed classes by its normalised id."""
        if modality not in self._trees:
            classes = {normalise_name(video.split("/")[0]) for video in self._split_of}
            self._trees[modality] = find_videos(self.root, modality, classes)
        return self._trees[modality]

    def _check_count(self, count: int, path: Path, video_id: str) -> None:
        expected = self.frame_count(video_id)
        if count != expected:
            raise FileError(path, f"{count} frames, but the RGB of {video_id!r} has {expected}", "write it again")
