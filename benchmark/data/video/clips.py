"""Network input from cached or decoded clips, augmented by a given generator or cropped in the middle."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fewdistill.benchmark.data.video.transforms import Norm, apply_crop, centre_crop, normalise, random_crop

Read = Callable[[str, np.random.Generator | None], NDArray[Any]]
"""A video id to its sampled, resized clip, uint8 (T, R, R', C); a generator asks for training frame sampling. Clips of
coordinates are float32 (T', V, 3, M), and the same in training."""

_READERS = 4


class Clips(ABC):
    """One modality of a data set as network input."""

    def frames(
        self, videos: Sequence[str], rng: np.random.Generator | None = None, keep: NDArray[np.int64] | None = None
    ) -> Tensor:
        """What the network reads of the videos, on the device: `network_input` of `pixels`."""
        return self.network_input(self.pixels(videos, rng, keep))

    @abstractmethod
    def pixels(
        self,
        videos: Sequence[str],
        rng: np.random.Generator | None = None,
        keep: NDArray[np.int64] | None = None,
        share: slice = slice(None),
    ) -> Any:
        """Clips (N, ...), read and cut: what can be prepared in the background.

        With ``rng`` the training transform, one for all frames of a clip. ``keep``: int64 (N, T') chooses frames of
        each clip, where the network reads them one by one. share: only these of the clips, cut as among all of them.
        """

    @abstractmethod
    def network_input(self, pixels: Any) -> Tensor:
        """Clips as ``pixels`` gives them, as the network reads them, on the device."""


class StoredClips(Clips):
    """Clips that are read, cut and augmented one by one, without torch."""

    def pixels(
        self,
        videos: Sequence[str],
        rng: np.random.Generator | None = None,
        keep: NDArray[np.int64] | None = None,
        share: slice = slice(None),
    ) -> NDArray[Any]:
        """See Clips."""
        rngs = (rng.spawn(len(videos)) if rng is not None else [None] * len(videos))[share]
        kept = (list(keep) if keep is not None else [None] * len(videos))[share]
        videos = videos[share]
        first = self._one(videos[0], rngs[0], kept[0])
        batch = np.empty((len(videos), *first.shape), first.dtype)
        batch[0] = first
        rest = (videos[1:], rngs[1:], kept[1:], batch[1:])
        if len(videos) > _READERS:
            with ThreadPoolExecutor(_READERS) as pool:
                list(pool.map(self._one, *rest))
        else:
            list(map(self._one, *rest))
        return batch

    @abstractmethod
    def _one(
        self,
        video: str,
        rng: np.random.Generator | None,
        keep: NDArray[np.int64] | None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """One clip, put into ``out`` if it is given."""


@dataclass(frozen=True)
class ImageClips(StoredClips):
    """Clips of images: frames float32 (N * T, C, H, W), channels last, normalised by ``norm`` (transforms.normalise).

    In training a random crop and flip, else the middle crop. mirror_channels, mirror_swap: the modality's rule for a
    left-right flip (see transforms.mirror).
    """

    read: Read
    image_size: int
    flip: bool
    norm: Norm | None
    device: torch.device
    mirror_channels: tuple[int, ...] = ()
    mirror_swap: tuple[int, int] | None = None

    def network_input(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Pixels uint8 (N, T, H, W, C) as frames, float32 (N * T, C, H, W), channels last, on the device."""
        return normalise(torch.from_numpy(pixels).to(self.device), self.norm)

    def _one(
        self,
        video: str,
        rng: np.random.Generator | None,
        keep: NDArray[np.int64] | None,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        clip = self.read(video, rng)
        height, width = clip.shape[1:3]
        if rng is None:
            crop = centre_crop(height, width, self.image_size)
        else:
            crop = random_crop(height, width, self.image_size, rng, flip=self.flip)
        return apply_crop(
            clip, crop, keep=keep, mirror_channels=self.mirror_channels, mirror_swap=self.mirror_swap, out=out
        )


def cached_reader(read: Read, limit_bytes: int) -> Read:
    """A reader that keeps test-sampled clips in memory, up to ``limit_bytes``, and reads the others each time.

    For sources whose training sampling equals the test sampling (clips stored with just the frames used).
    """
    kept: dict[str, NDArray[Any]] = {}
    used = 0

    def cached(video: str, rng: np.random.Generator | None) -> NDArray[Any]:
        nonlocal used
        clip = kept.get(video)
        if clip is None:
            clip = read(video, None)
            if used + clip.nbytes <= limit_bytes:
                kept[video] = clip
                used += clip.nbytes
        return clip

    return cached
