"""Freed memory kept by the process instead of handed back to the system, where the C library is glibc."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # names of glibc's malloc.h
_KEEP = 2**31 - 1
_PAD = 256 << 20


def tune_malloc() -> bool:
    """Stop glibc from unmapping every large tensor and paying the page faults again for the next; True if it did.

    A training step on a CPU frees and takes gigabytes. The process stays at its largest size until it ends. Other C
    libraries lack the call and go on as they are.
    """
    if sys.platform == "win32":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(name, value) for name, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEEP), (_TOP_PAD, _PAD)))
