"""Gathers rows of several memory-mapped arrays with all of torch's threads, where numpy would use one."""

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 64  # bytes; what numpy aligns the data of a npy file to


class MappedSpan:
    """The rows of arrays of one dtype and row shape, seen as windows of one tensor over the memory they lie in.

    The tensor spans from the lowest address to the highest, whatever lies between; its windows begin at every common
    step of the rows' addresses, and only windows that are rows are ever read. The arrays must be C-contiguous; they
    are kept alive. Bits are copied as whole numbers, so that a NaN's stay what they are.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        import torch

        self._arrays = list(arrays)
        starts = [array.ctypes.data for array in arrays]
        first = min(starts)
        row_bytes = arrays[0][0].nbytes
        step = math.gcd(_ALIGNMENT, row_bytes, *(start - first for start in starts))
        word = np.dtype(f"i{math.gcd(8, step)}")
        last = max(start + array.nbytes for start, array in zip(starts, arrays, strict=True)) - row_bytes
        span = (ctypes.c_char * (last - first + row_bytes)).from_address(first)
        shape, strides = ((last - first) // step + 1, row_bytes // word.itemsize), (step, word.itemsize)
        self._windows = torch.from_numpy(np.ndarray(shape, word, span, strides=strides))
        self._word = word
        self.places = [
            ((start - first) // step + np.arange(len(array)) * (row_bytes // step)).tolist()
            for start, array in zip(starts, arrays, strict=True)
        ]
        """The window of every row, array by array: what ``gather`` takes."""

    def gather(self, places: Sequence[int], into: NDArray[Any]) -> None:
        """Copy the windows at these places into a C-contiguous array (len(places), *row_shape) of the arrays' dtype."""
        import torch

        target = torch.from_numpy(into.reshape(len(places), -1).view(self._word))
        torch.index_select(self._windows, 0, torch.tensor(places), out=target)
