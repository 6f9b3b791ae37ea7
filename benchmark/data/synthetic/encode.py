"""Bytes of the files: JPEG, 16-bit PNG, npy, MP4 and the skeleton's TOML."""

import io
import json
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.synthetic.body import CENTRE, EDGES, JOINTS, LEFT, RIGHT
from fewdistill.benchmark.data.synthetic.camera import intrinsics

_CLIP_SECONDS = 2  # what a clip lasts when played as a video


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """An RGB picture uint8 (S, S, 3) as JPEG, quality 92."""
    return _encode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 92])


def png(depth: NDArray[np.uint16]) -> bytes:
    """Depth uint16 (S, S) in millimetres as a grey 16-bit PNG."""
    return _encode(".png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def _encode(suffix: str, picture: NDArray[np.uint8] | NDArray[np.uint16], options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, picture, options)
    assert done
    return data.tobytes()


def npy(array: NDArray[np.float32]) -> bytes:
    """An array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def mp4(clip: NDArray[np.uint8]) -> bytes:
    """A clip uint8 (T, S, S, 3) as H.264 in MP4, T frames in two seconds, nearly without loss."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        # One thread: with more, the encoder's output would depend on their number.
        options = {"crf": "10", "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(len(clip), _CLIP_SECONDS), options=options)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def skeleton_toml(size: int) -> bytes:
    """joints, edges, centre, left, right and the camera of pictures of ``size`` pixels; lengths in pixels."""
    # JSON's strings, numbers and lists are TOML's.
    graph = {"joints": JOINTS, "edges": EDGES, "centre": CENTRE, "left": LEFT, "right": RIGHT}
    lines = [f"{key} = {json.dumps(value)}" for key, value in graph.items()]
    lines += ["", "[camera]"] + [f"{key} = {json.dumps(value)}" for key, value in intrinsics(size).items()]
    return "\n".join([*lines, ""]).encode()
