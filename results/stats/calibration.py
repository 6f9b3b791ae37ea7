"""Whether a probability that a model states is the share of right answers."""

import numpy as np
from numpy.typing import ArrayLike

from fewdistill.results import ResultError
from fewdistill.results.stats.intervals import vector


def ece(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error over ``bins`` equal bins (lo, hi] of [0, 1]; source: Guo et al., ICML 2017, eq. 3.

    confidence (n,): probability given to the answer; correct (n,): whether it was right.
    """
    sure, right = vector(confidence, "confidences", 1), vector(correct, "outcomes", 1)
    if sure.shape != right.shape or sure.min() < 0 or sure.max() > 1:
        raise ResultError(f"confidences must lie in [0, 1], one for each outcome: {sure.size} for {right.size}")
    bin_of = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, weights=sure - right, minlength=bins)
    return float(np.abs(gap).sum() / len(sure))
