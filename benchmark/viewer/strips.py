"""The frames of videos as pictures for a page, as large as the page's size allows."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.video.transforms import resize
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.results.report.episode_page import Strip

Pixels = Callable[[str], NDArray[np.uint8]]
"""A video id to its frames, uint8 (T, H, H, 3), RGB."""

PICTURE_BYTES = 3_600_000
"""All frames of a page, as JPEG; as text they take a third more, which keeps the default page below 6 MB."""
_SIDES = (112, 96, 80, 64, 56, 48, 40, 32)  # of a frame on the page, pixels
_QUALITY = 80


def strips(ids: Sequence[str], pixels: Pixels, limit: int = PICTURE_BYTES) -> dict[str, Strip]:
    """Each video's frames in one JPEG, at the largest size at which all together stay below a limit in bytes.

    pixels: a video's frames uint8 (T, H, W, 3), RGB. UserError where they do not fit at the smallest size.
    """
    found: dict[str, list[Strip]] = {}
    own = pixels(ids[0]).shape[1]
    sides = [side for side in _SIDES if side < own]
    sides = [min(own, _SIDES[0]), *(side for side in sides if side < _SIDES[0])]
    with bar("frames of the page", "videos") as tick:
        for done, video in enumerate(ids, start=1):
            frames = pixels(video)
            found[video] = [_strip(frames if side == own else resize(frames, side)) for side in sides]
            tick(done, len(ids))
    for place in range(len(sides)):
        if sum(len(of_video[place].jpeg) for of_video in found.values()) <= limit:
            return {video: of_video[place] for video, of_video in found.items()}
    raise UserError(f"the frames of {len(ids)} videos do not fit in {limit / 1e6:.1f} MB: ask for fewer --episodes")


def _strip(frames: NDArray[np.uint8]) -> Strip:
    side_by_side = np.concatenate(list(frames), axis=1)
    done, jpeg = cv2.imencode(".jpg", side_by_side[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done  # a picture in memory
    return Strip(jpeg.tobytes(), len(frames))
