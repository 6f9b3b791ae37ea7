"""What a head computes once per video: a tuple of tensors whose first axis is the video."""

from torch import Tensor

Keys = tuple[Tensor, ...]


def split_keys(keys: Keys, support: int) -> tuple[Keys, Keys]:
    """Keys of one episode, support videos first -> (support, query), each with a leading batch axis of 1."""
    return tuple(k[None, :support] for k in keys), tuple(k[None, support:] for k in keys)


def gather_keys(keys: Keys, videos: Tensor) -> Keys:
    """Keys (V, ...) of all videos at int64 rows (B, n) -> keys (B, n, ...)."""
    return tuple(k[videos] for k in keys)
