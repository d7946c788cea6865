"""Digits for tests: raw sets under MNIST's names, generators that deal out, a few uneven shards."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from fedkit.base.seeds import generator
from fedkit.data.idx import RAW_FILES
from fedkit.data.mnist import load_mnist
from fedkit.data.partition import iid
from fedkit.data.shards import Shard, as_float


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------------ raw files
def idx_bytes(array: np.ndarray) -> bytes:
    """IDX as its description has it: magic 0 0 type dimensions, big-endian sizes, values."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.tobytes()


def raw_set(folder: Path, monkeypatch: pytest.MonkeyPatch, train: int = 90, test: int = 47) -> dict:
    """A small set under MNIST's names, and the package believing that this is MNIST. Returns the arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for prefix, n in (("train", train), ("t10k", test)):
        labels = np.concatenate([np.arange(10), rng.integers(0, 10, n - 10)]).astype(np.uint8)
        rng.shuffle(labels)
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        images[:, 0, 0] = np.arange(n)  # tells one image from another
        arrays[f"{prefix}-images-idx3-ubyte"] = images
        arrays[f"{prefix}-labels-idx1-ubyte"] = labels
    for name, array in arrays.items():
        data = idx_bytes(array)
        (folder / name).write_bytes(data)
        monkeypatch.setitem(RAW_FILES, name, (array.shape, hashlib.sha256(data).hexdigest()))
    return arrays


def uneven_shards() -> tuple[list[Shard], Shard]:
    """Five uneven shards and a small test set."""
    digits = load_mnist()
    shards = iid(digits.train_images, digits.train_labels, 5, 60, generator=generator(0, "s"))
    uneven = [(x[: 60 - 7 * k], y[: 60 - 7 * k]) for k, (x, y) in enumerate(shards)]
    return uneven, (as_float(digits.test_images[::10]), digits.test_labels[::10])
