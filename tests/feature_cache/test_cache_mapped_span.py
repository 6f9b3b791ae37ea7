"""MappedSpan over mapped arrays: whatever rows, dtypes, files and order, what is gathered is what was asked for."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fewdistill.feature_cache.mapped_span import MappedSpan


@st.composite
def _files(draw: st.DrawFn) -> tuple[list[np.ndarray], list[tuple[int, int]]]:
    dtype = draw(st.sampled_from(["float32", "float16", "float64", "uint8", "int16"]))
    row_shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=5))
    counts = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = [rng.integers(0, 256, (count, *row_shape)).astype(dtype) for count in counts]
    rows = [(number, row) for number, count in enumerate(counts) for row in range(count)]
    return arrays, draw(st.lists(st.sampled_from(rows), min_size=1, max_size=12))


@settings(max_examples=60, deadline=None)
@given(_files())
def test_rows_of_mapped_files_come_as_asked_for(
    tmp_path_factory: pytest.TempPathFactory, files: tuple[list[np.ndarray], list[tuple[int, int]]]
) -> None:
    arrays, wanted = files
    folder: Path = tmp_path_factory.mktemp("windows")
    mapped = []
    for number, array in enumerate(arrays):
        np.save(folder / f"{number}.npy", array)
        mapped.append(np.load(folder / f"{number}.npy", mmap_mode="r"))
    windows = MappedSpan(mapped)
    found = np.empty((len(wanted), *arrays[0].shape[1:]), arrays[0].dtype)
    windows.gather([windows.places[number][row] for number, row in wanted], found)
    np.testing.assert_array_equal(found, np.stack([arrays[number][row] for number, row in wanted]))


def test_the_bits_of_a_nan_stay(tmp_path: Path) -> None:
    odd = np.array([[0x7FC00001, 0xFF800001]], np.uint32).view(np.float32)
    np.save(tmp_path / "0.npy", odd)
    windows, found = MappedSpan([np.load(tmp_path / "0.npy", mmap_mode="r")]), np.empty((1, 2), np.float32)
    windows.gather(windows.places[0], found)
    assert found.tobytes() == odd.tobytes()
