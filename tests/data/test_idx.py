"""MNIST's raw files: what is read as it was written, and what is refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkit.data.idx import parse_idx
from tests.support.digits import idx_bytes
from tests.support.helpers import complaint


@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_idx_round_trip(shape: list[int], seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    read = parse_idx(idx_bytes(array), "x")
    assert read.dtype == np.uint8
    assert np.array_equal(read, array)
    assert read.shape == array.shape


GOOD_IDX = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))


BAD_IDX = {
    "nothing": (b"", "magic"),
    "three bytes": (GOOD_IDX[:3], "magic"),
    "a png": (b"\x89PNG\r\n\x1a\n" + bytes(40), "magic"),
    "gzip inside": (gzip.compress(GOOD_IDX), "magic"),
    "no dimension": (b"\0\0\x08\0" + bytes(1), "magic"),
    "200 dimensions": (b"\0\0\x08\xc8" + bytes(800), "magic"),
    "floats": (b"\0\0\x0d\x02" + GOOD_IDX[4:], "magic"),
    "little-endian": (b"\x01\x08\0\0" + GOOD_IDX[4:], "magic"),
    "cut in its header": (GOOD_IDX[:9], "size"),
    "header alone": (GOOD_IDX[:12], "size"),
    "cut by one byte": (GOOD_IDX[:-1], "size"),
    "one byte more": (GOOD_IDX + b"\0", "size"),
    "sizes beyond memory": (b"\0\0\x08\x04" + b"\xff" * 16 + bytes(9), "size"),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_bad_idx(case: str) -> None:
    data, field = BAD_IDX[case]
    error = complaint(lambda: parse_idx(data, "train-images-idx3-ubyte"))
    assert error.field == field
    assert error.file == Path("train-images-idx3-ubyte")
